"""The command line: what may be said, and its translation into options; starts nothing."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from nst_core.config import PRESETS, StyleConfig
from nst_core.errors import ConfigError
from nst_core.setting_text import URI_SETTINGS
from pipeline import command_options, storage
from pipeline.command_options import Commands, Parser, add_command
from pipeline.job import gpus
from pipeline.job.budget import MaxFailures
from pipeline.job.options import (
    JOB_COMMANDS,
    RunOptions,
    check_beam_arguments,
    check_option_names,
    check_run_id,
    from_here,
    load_config,
    require_utf8,
)
from pipeline.manifest.reading import STANDARD_INPUT
from pipeline.manifest.values import LEAST_WEIGHT, MOST_WEIGHT, WEIGHTS
from pipeline.pairs.row_settings import parse_allowed
from pipeline.pairs.schemes import parse_schemes
from pipeline.settings_help import settings_help

NO_MASK = "-"
DESCRIPTION = "Neural style transfer for whole catalogs of images."


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = Parser(prog="nst", description=DESCRIPTION, allow_abbrev=False)
    top.add_argument(
        "--version",
        action=command_options.Version,
        help="this program's version, Beam's, TensorFlow's and Python's, and exit",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_plan(commands)
    command_options.add_status(commands)
    _add_stylize(commands)
    command_options.add_manifest(commands)
    command_options.add_report(commands)
    command_options.add_export(commands)
    command_options.add_demo(commands)
    command_options.add_weights(commands)
    return top


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The parsed command line; what a job's commands do not know is kept for Beam, checked.

    Raises:
        ConfigError: an option that neither this program nor Beam knows, what is not UTF-8, or the
            name of a file that nobody means.
    """
    top = parser()
    command, options = next(iter(arguments), ""), arguments[1:]
    actions = _actions_of(top, command)
    if own := [name for action in actions for name in action.option_strings]:
        # Before argparse looks: a misspelt --manifest is misspelt, not missing.
        check_option_names(options, command, own)
    known, rest = top.parse_known_args(arguments)
    if known.command in (*JOB_COMMANDS, "stylize"):
        for argument in arguments:
            require_utf8(argument)
    if known.command in JOB_COMMANDS:
        check_beam_arguments(rest)
    elif rest:
        top.error(f"{rest[0]!r} is not an option of nst {known.command}")
    command_options.check_names(actions, known)
    known.beam_arguments = tuple(rest)
    return known


def config_of(arguments: argparse.Namespace) -> StyleConfig:
    """The configuration that `--config`, `--set` and `--weights` make.

    Raises:
        ConfigError: with what is wrong.
    """
    weights = arguments.weights
    config = load_config(arguments.config, arguments.set, {"weights": weights})
    changes = {
        key: from_here(getattr(config, key))
        for key, names in URI_SETTINGS.items()
        if getattr(config, key) not in names
    }
    return config.updated(changes)


def style_masks(arguments: argparse.Namespace) -> list[str | None]:
    """The masks of the first styles of `nst stylize`, in their order.

    Raises:
        ConfigError: there are more than styles.
    """
    masks, styles = arguments.style_mask, arguments.styles
    if len(masks) > len(styles):
        raise ConfigError(
            f"--style-mask is given {len(masks)} times for {len(styles)} styles; "
            "give it at most once for each, in their order."
        )
    return [None if mask == NO_MASK else mask for mask in masks]


def style_weights(arguments: argparse.Namespace) -> list[float]:
    """The weights of the styles of `nst stylize`, in their order.

    Raises:
        ConfigError: there are some, but not one for each, or one is unusable.
    """
    weights: list[float] = arguments.style_weight
    styles = arguments.styles
    if weights and len(weights) != len(styles):
        raise ConfigError(
            f"--style-weight is given {len(weights)} times for {len(styles)} styles; "
            "give it once for each, in their order, or leave it out."
        )
    for weight in weights:
        if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
            raise ConfigError(f"--style-weight is {weight:g}; give {WEIGHTS}.")
    return weights or [1.0] * len(styles)


def run_options(arguments: argparse.Namespace) -> RunOptions:
    """The options of `nst run` and `nst plan`, with absolute URIs; rows: see `commands.sources`.

    Raises:
        ConfigError: with what is wrong.
    """
    for name in ("batch_size", "results_shards", "limit", "workers"):
        given = getattr(arguments, name, None)
        if given is not None and given < 1:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} is {given}; give at least 1.")
    if arguments.run_id is not None:
        check_run_id(arguments.run_id)
    most, schemes, cache = arguments.max_failures, arguments.allow_schemes, arguments.program_cache
    allowed = arguments.allow_options
    return RunOptions(
        manifest=from_here(arguments.manifest or STANDARD_INPUT),
        output=_folder("--output", arguments.output),
        config=config_of(arguments),
        on_existing=arguments.on_existing,
        inputs=arguments.inputs,
        batch_size=arguments.batch_size,
        results_shards=arguments.results_shards,
        results_format=arguments.results_format,
        limit=arguments.limit,
        max_failures=None if most is None else MaxFailures.parse(most),
        allow_schemes=() if schemes is None else parse_schemes(schemes),
        allow_options=None if allowed is None else parse_allowed(allowed),
        allow_private_hosts=arguments.allow_private_hosts,
        run_id=arguments.run_id,
        lock=arguments.lock,
        report=not arguments.no_report,
        gpu=None if arguments.gpu is None else gpus.find(arguments.gpu),
        use_nvidia_mps=arguments.use_nvidia_mps,
        program_cache=cache and _folder("--program-cache", cache),
        beam_arguments=arguments.beam_arguments,
    )


def gpu_workers(arguments: argparse.Namespace) -> tuple[int, float | None]:
    """How many workers with a GPU `nst plan` reckons with, and an hour's price; None: not said.

    Raises:
        ConfigError: one of them is given without a GPU, or the price is none.
    """
    workers, price = arguments.workers, arguments.gpu_price
    if price is not None and not 0 <= price < math.inf:
        raise ConfigError(
            f"--gpu-price is {price:g}, which is no price; give what one GPU costs in an hour, "
            "such as 0.71."
        )
    for flag, given in (("--workers", workers), ("--gpu-price", price)):
        if given is not None and arguments.gpu is None:
            raise ConfigError(
                f"{flag} is {given:g}, and no GPU is named that it is about; add --gpu, one of "
                f"{', '.join(gpus.NAMES)}."
            )
    return workers or 1, price


def _folder(flag: str, given: str) -> str:
    uri = from_here(given)
    try:
        storage.check_scheme(uri, writing=True)
    except storage.NoFilesystem as error:
        raise ConfigError(f"{flag}: {error}") from error
    return uri


def options_of(command: str) -> list[argparse.Action]:
    """The options of a command; none where there is no such command."""
    return [action for action in _actions_of(parser(), command) if action.option_strings]


def _actions_of(top: argparse.ArgumentParser, command: str) -> list[argparse.Action]:
    (commands,) = (a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    chosen = commands.choices.get(command)
    return chosen._actions if chosen else []


def _add_settings(command: argparse._ActionsContainer) -> None:
    command.add_argument(
        "--config", metavar="FILE", help=f"YAML file or URI, or a preset: {', '.join(PRESETS)}"
    )
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="one setting, in place of that of --config; may be given several times",
    )
    command.add_argument(
        "--weights", metavar="W", help="imagenet, procedural, or a Keras VGG19 .h5 (path or URI)"
    )


def _add_run(commands: Commands) -> None:
    run = add_command(commands, "run", "Stylize every pair of a manifest that is not done yet.")
    _add_job(run)
    run.epilog = (
        "Every other option goes to Beam, such as --runner=DataflowRunner.\n"
        "Without --runner the job runs in this process.\n"
        "Exit status: 0 all pairs done; 1 the job failed; 2 wrong usage; 3 some pairs failed;\n"
        "4 another run holds the lock; 130 stopped by Ctrl-C, 143 by SIGTERM, in either case with\n"
        "what was done.\n\n"
        f"{run.epilog}"
    )


def _add_plan(commands: Commands) -> None:
    plan = add_command(
        commands, "plan", "Tell what run would do, and at what cost; writes nothing."
    )
    _add_job(plan)
    plan.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="with --gpu: how many workers will share the pairs (default 1)",
    )
    plan.add_argument(
        "--gpu-price",
        type=float,
        metavar="PRICE",
        help="with --gpu: what an hour of one such GPU costs you, with its machine, in any "
        "currency; tells what all of them will cost",
    )
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.epilog = (
        "Takes every option of run, Beam's too; those that say how it is run change no plan.\n"
        "Exit status: 0; 1 run would fail at once; 2 wrong usage.\n\n"
        f"{plan.epilog}"
    )


def _add_job(command: argparse.ArgumentParser) -> None:
    """What `run` does, and `plan` foretells."""
    first = command.add_argument_group("what, where to, and the look")
    command_options.add_sources(first)
    first.add_argument("--output", required=True, metavar="O", help="folder: local or gs://…")
    _add_settings(first)
    command.epilog = settings_help()
    pairs = command.add_argument_group("which pairs are done, and from where")
    add = pairs.add_argument
    add(
        "--on-existing",
        choices=("skip", "redo", "error"),
        default="skip",
        help="pairs that are done already: skip or redo them, or end with status 1 before any work "
        "(default skip)",
    )
    add(
        "--inputs",
        choices=("check", "trust"),
        default="check",
        help="check: look whether images of done pairs have changed, and do those again; trust: "
        "do not look (default check)",
    )
    add(
        "--limit",
        type=int,
        metavar="N",
        help="do only the first N pairs of the manifest that are to be done (default: all)",
    )
    add(
        "--max-failures",
        metavar="N",
        help="stop once more pairs have failed: a count, or a share such as 5%% (default: never)",
    )
    command_options.add_allowed(pairs)
    command_options.add_private_hosts(pairs)
    add = command.add_argument_group("results and messages").add_argument
    add(
        "--results-shards",
        type=int,
        default=1,
        metavar="N",
        help="number of files that the results are spread over (default 1)",
    )
    add(
        "--results-format",
        choices=("jsonl", "parquet"),
        default="jsonl",
        help="of the results: JSON Lines or Parquet (default jsonl)",
    )
    add("--run-id", metavar="ID", help="name of the run's folder (default: the time)")
    add("--no-report", action="store_true", help="leave out the pages in O/report at the end")
    add("--verbose", action="store_true", help="log every pair, and Beam's own lines")
    add(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="json: one object in a line, with Cloud Logging's field names (default text)",
    )
    add = command.add_argument_group("how it runs").add_argument
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="most pairs optimised together (default: as many as pay on the device)",
    )
    add(
        "--lock",
        action="store_true",
        help="end at once, with status 4, while another run with --lock works on the output",
    )
    add(
        "--gpu",
        metavar="TYPE",
        help=f"on Dataflow, a GPU for each worker that stylizes: {', '.join(gpus.NAMES)}",
    )
    add(
        "--use-nvidia-mps",
        action="store_true",
        help="with --gpu: a worker's processes, one for each vCPU, share its GPU (not measured)",
    )
    add(
        "--program-cache",
        metavar="URI",
        help="folder in which GPU workers share what they have compiled: a path that all reach, "
        "or gs://…",
    )


def _add_stylize(commands: Commands) -> None:
    stylize = add_command(
        commands, "stylize", "Stylize one image, without Beam: to try settings out."
    )
    command_options.add_pair(stylize)
    command_options.add_private_hosts(stylize)
    _add_settings(stylize)
    stylize.epilog = (
        "Exit status: 0; 1 the image could not be made; 2 wrong usage; 130 stopped by Ctrl-C.\n\n"
        f"{settings_help()}"
    )
