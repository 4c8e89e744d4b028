"""The command line: what may be said, and its translation into options; starts nothing."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Sequence

from nst_core.config import PRESETS, SETTINGS, StyleConfig
from nst_core.errors import ConfigError
from nst_core.setting_text import URI_SETTINGS
from pipeline import command_options, storage
from pipeline.command_options import Commands, Parser, add_command
from pipeline.job import gpus
from pipeline.job.budget import MaxFailures
from pipeline.job.options import (
    HERE,
    JOB_COMMANDS,
    RunOptions,
    check_beam_arguments,
    check_option_names,
    check_run_id,
    load_config,
)
from pipeline.manifest.schemes import parse_schemes

NO_MASK = "-"
DESCRIPTION = "Neural style transfer for whole catalogs of images."


def parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    top = Parser(prog="nst", description=DESCRIPTION, allow_abbrev=False)
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
        ConfigError: an option that neither this program nor Beam knows.
    """
    top = parser()
    command, options = next(iter(arguments), ""), arguments[1:]
    if own := [name for action in options_of(command) for name in action.option_strings]:
        # Before argparse looks: a misspelt --manifest is misspelt, not missing.
        check_option_names(options, command, own)
    known, rest = top.parse_known_args(arguments)
    if known.command in JOB_COMMANDS:
        check_beam_arguments(rest)
    elif rest:
        top.error(f"{rest[0]!r} is not an option of nst {known.command}")
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
        key: storage.resolve(getattr(config, key), HERE)
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


def run_options(arguments: argparse.Namespace) -> RunOptions:
    """The options of `nst run` and `nst plan`, with absolute URIs.

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
    most, schemes = arguments.max_failures, arguments.allow_schemes
    return RunOptions(
        manifest=storage.resolve(arguments.manifest, HERE),
        output=storage.resolve(arguments.output, HERE),
        config=config_of(arguments),
        on_existing=arguments.on_existing,
        inputs=arguments.inputs,
        batch_size=arguments.batch_size,
        results_shards=arguments.results_shards,
        results_format=arguments.results_format,
        limit=arguments.limit,
        max_failures=None if most is None else MaxFailures.parse(most),
        allow_schemes=() if schemes is None else parse_schemes(schemes),
        run_id=arguments.run_id,
        lock=arguments.lock,
        report=not arguments.no_report,
        gpu=None if arguments.gpu is None else gpus.find(arguments.gpu),
        use_nvidia_mps=arguments.use_nvidia_mps,
        program_cache=_program_cache(arguments.program_cache),
        beam_arguments=arguments.beam_arguments,
    )


def _program_cache(given: str | None) -> str | None:
    if given is None:
        return None
    uri = storage.resolve(given, HERE)
    try:
        storage.check_scheme(uri)
    except storage.NoFilesystem as error:
        raise ConfigError(f"--program-cache: {error}") from error
    return uri


def options_of(command: str) -> list[argparse.Action]:
    """The options of a command; none where there is no such command."""
    (commands,) = (a for a in parser()._actions if isinstance(a, argparse._SubParsersAction))
    chosen = commands.choices.get(command)
    return [action for action in chosen._actions if action.option_strings] if chosen else []


def _settings_help() -> str:
    lines = ["settings (--set key=value, a YAML file for --config, options.KEY in a manifest):"]
    default = StyleConfig().to_dict()
    for key, doc in SETTINGS.items():
        text = f"{doc} (default {default[key]})".replace("`", "")
        lines += textwrap.wrap(text, 96, initial_indent=f"  {key}: ", subsequent_indent="      ")
    return "\n".join(lines)


def _add_settings(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", metavar="FILE", help=f"YAML file or URI, or a preset: {', '.join(PRESETS)}"
    )
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="one setting; may be given several times",
    )
    command.add_argument(
        "--weights", metavar="W", help="imagenet, procedural, or a Keras VGG19 .h5 (path or URI)"
    )
    command.epilog = _settings_help()


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
        default=1,
        metavar="N",
        help="with --gpu: how many workers will share the pairs (default 1)",
    )
    plan.add_argument("--json", action="store_true", help="print the plan as JSON")
    plan.epilog = (
        "Takes every option of run, Beam's too; those that say how it is run change no plan.\n"
        "Exit status: 0; 1 run would fail at once; 2 wrong usage.\n\n"
        f"{plan.epilog}"
    )


def _add_job(command: argparse.ArgumentParser) -> None:
    """What `run` does, and `plan` foretells."""
    add = command.add_argument
    add(
        "--manifest",
        required=True,
        metavar="M",
        help="CSV, JSON Lines or Parquet; a quoted glob for several",
    )
    add("--output", required=True, metavar="O", help="folder: local or gs://…")
    _add_settings(command)
    add(
        "--on-existing",
        choices=("skip", "redo", "error"),
        default="skip",
        help="what to do with pairs that are done already (default skip)",
    )
    add(
        "--inputs",
        choices=("check", "trust"),
        default="check",
        help="whether images of pairs that are done are looked at: changed ones are done again "
        "(default check)",
    )
    add(
        "--batch-size",
        type=int,
        metavar="N",
        help="most pairs optimised together (default: as many as pay on the device)",
    )
    add(
        "--limit",
        type=int,
        metavar="N",
        help="do only the first N pairs of the manifest that are to be done",
    )
    add(
        "--max-failures",
        metavar="N",
        help="stop once more pairs have failed: a count, or a share such as 5%%",
    )
    add(
        "--results-shards",
        type=int,
        default=1,
        metavar="N",
        help="files that the results are spread over (default 1)",
    )
    add(
        "--results-format",
        choices=("jsonl", "parquet"),
        default="jsonl",
        help="JSON Lines or Parquet (default jsonl)",
    )
    add(
        "--allow-schemes",
        metavar="S",
        help="schemes that rows may name, such as gs,s3,file (default: the manifest's, the "
        "output's and gs; file: local paths)",
    )
    add("--run-id", metavar="ID", help="name of the run's folder (default: the time)")
    add(
        "--lock",
        action="store_true",
        help="end at once, with status 4, while another run with --lock works on the output",
    )
    add("--no-report", action="store_true", help="leave out the pages in O/report at the end")
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
    add("--verbose", action="store_true", help="log every pair, and Beam's own lines")
    add(
        "--log-format",
        choices=("text", "json"),
        default="text",
        help="json: one object in a line, with Cloud Logging's field names (default text)",
    )


def _add_stylize(commands: Commands) -> None:
    stylize = add_command(
        commands, "stylize", "Stylize one image, without Beam: to try settings out."
    )
    stylize.add_argument("content", metavar="CONTENT", help="image: path or gs://…")
    stylize.add_argument("styles", metavar="STYLE", nargs="+", help="one or more style images")
    stylize.add_argument(
        "-o", "--output", required=True, metavar="IMAGE", help=".png, .jpg, .webp or .tiff"
    )
    stylize.add_argument(
        "--style-mask",
        metavar="MASK",
        action="append",
        default=[],
        help="grey image that is white where the style applies: once for each style, in their "
        "order; - for none",
    )
    _add_settings(stylize)
