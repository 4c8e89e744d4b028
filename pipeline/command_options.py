"""Options: which pairs a job has; all of the commands that run none, such as status and export."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import re
from collections.abc import Sequence
from typing import Any, NoReturn, TypeAlias

from nst_core.errors import ConfigError
from pipeline.export import SHARD_PAIRS, WORST_OF_TENSORBOARD
from pipeline.manifest.values import MARKS
from pipeline.storage.hints import DRIVE

# What names files, and of it what is written.
_WRITTEN = ("output", "destination", "to", "program_cache")
_FILES = (
    *("manifest", "contents", "styles", "content", "style_mask", "config", "weights", "marks"),
    *_WRITTEN,
)


class Parser(argparse.ArgumentParser):
    """argparse, with this program's errors."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong as a ConfigError."""
        raise ConfigError(f"{message}; see {self.prog} --help.")


class Version(argparse.Action):
    """`--version`: prints versions as packages' metadata have them, for importing them is slow."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**{**given, "dest": argparse.SUPPRESS, "nargs": 0})

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        """Print them, and exit with status 0."""
        found = {name: _version(name) for name in ("nst-catalog", "apache-beam", "tensorflow")}
        found["Python"] = platform.python_version()
        print("\n".join(f"{name} {version}" for name, version in found.items()))
        parser.exit()


def check_names(actions: Sequence[argparse.Action], known: argparse.Namespace) -> None:
    """Refuse names of files that nobody means: no name at all, and `~` where something is written.

    Raises:
        ConfigError: an empty one, which would be the current folder, as of a variable without a
            value; a `~` that no shell has replaced.
    """
    for action in actions:
        if action.dest not in _FILES:
            continue
        given = getattr(known, action.dest, None)
        called = action.option_strings[-1] if action.option_strings else action.metavar
        names = given if isinstance(given, list) else [given]
        for name in (one for one in names if isinstance(one, str)):
            if not name.strip():
                raise ConfigError(
                    f"{called} is empty; give a name, or set the variable that it is taken from."
                )
            if action.dest in _WRITTEN and (problem := _not_to_be_written(name)):
                raise ConfigError(f"{called} is {name}, {problem}.")


def _not_to_be_written(name: str) -> str | None:
    """Why a path is hardly the place that was meant, as a phrase that follows it."""
    if re.match("~(/|$)", name):
        return (
            "where ~ would be a folder of that name, since the shell has not replaced it; write "
            "the path out"
        )
    if DRIVE.match(name):
        return (
            "a path of Windows, which would be a name within the current folder here; write the "
            "path as this system has it"
        )
    return None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


class Once(argparse.Action):
    """An option of one value: of two, one would be lost without a word."""

    def __call__(self, *given: Any) -> None:
        """Keep the value."""
        _, known, value, name = given
        before = getattr(known, self.dest, None)
        if before is not None:
            raise ConfigError(
                f"{name} is given twice, as {before} and as {value}, and only one can count; leave "
                "one out, or name several files by one quoted glob."
            )
        setattr(known, self.dest, value)


# In quotes, since argparse's own class takes no type outside annotations.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def add_command(commands: Commands, name: str, doc: str) -> Parser:
    """A command of this name, whose options are yet to come."""
    return commands.add_parser(
        name,
        help=doc,
        description=doc,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_pictures(
    command: argparse._ActionsContainer, name: str, more: str = "", *, required: bool = False
) -> None:
    command.add_argument(
        f"--{name}",
        required=required,
        nargs="+",
        action="extend",
        default=[],
        metavar="GLOB",
        help=f"{name[:-1]} images: globs, quoted or not, or folders, local or gs://…{more}",
    )


def add_allowed(command: argparse._ActionsContainer) -> None:
    """What a manifest's rows may name and set."""
    command.add_argument(
        "--allow-schemes",
        metavar="S",
        help="schemes that rows may name, such as gs,s3,https,file (default: the manifest's, the "
        "output's and gs; file: local paths; https: images on the web)",
    )
    command.add_argument(
        "--allow-options",
        metavar="KEYS",
        help="settings that rows may change, such as steps,style_weight; none: no setting "
        "(default: all)",
    )


def add_private_hosts(command: argparse._ActionsContainer) -> None:
    """Whether URLs may lead to addresses that only this machine reaches."""
    command.add_argument(
        "--allow-private-hosts",
        action="store_true",
        help="let URLs lead to this machine and the network around it, and by the environment's "
        "proxies: for the servers of an intranet",
    )


def add_status(commands: Commands) -> None:
    """What `nst status` takes."""
    status = add_command(commands, "status", "Tell how the runs of an output go; starts nothing.")
    status.add_argument("output", metavar="O", help="the --output of run: local or gs://…")
    status.add_argument("--run", metavar="ID", help="only this run")
    status.add_argument(
        "--watch", action="store_true", help="every 5 s anew, until no run is at work"
    )
    status.add_argument(
        "--count", action="store_true", help="count the records too, which lists all"
    )
    status.add_argument("--json", action="store_true", help="print it as JSON")
    status.epilog = (
        "Exit status: 0 all done; 1 it cannot be read; 2 wrong usage, or no runs; 3 pairs have\n"
        "failed; 5 a run is at work; 6 a run has ended before its end (died, failed or stopped),\n"
        "or left pairs for later (--limit)."
    )


def _add_id(command: argparse._ActionsContainer, where: str = "") -> None:
    command.add_argument(
        "--id",
        metavar="TEMPLATE",
        help=f"{where}ids such as '{{content}}-{{style}}', also of {{number}} and {{hash}} "
        "(default: none, and the run makes '{content}--{style}-{hash}')",
    )


def add_sources(command: argparse._ActionsContainer) -> None:
    """What tells a job which pairs there are."""
    command.add_argument(
        "--manifest",
        action=Once,
        metavar="M",
        help="CSV, JSON Lines or Parquet; a quoted glob for several; a folder with "
        "metadata.jsonl; - for standard input",
    )
    command.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="NAMES",
        help="the manifest's own names of columns, such as content=image_url,style=look,id=sku",
    )
    for name, more in (
        ("contents", "every one with every style, in place of --manifest"),
        ("styles", "also for the rows of a manifest that have none"),
    ):
        _add_pictures(command, name, f"; {more}")
    _add_id(command, "with --contents: ")


def add_pair(stylize: argparse.ArgumentParser) -> None:
    """What tells `nst stylize` its one pair."""
    stylize.add_argument("content", metavar="CONTENT", help="image: path, gs://… or https://…")
    stylize.add_argument("styles", metavar="STYLE", nargs="+", help="one or more style images")
    stylize.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="IMAGE",
        help="the extension is the format: .png, .jpg, .webp, .tiff or .avif",
    )
    stylize.add_argument(
        "--style-mask",
        metavar="MASK",
        action="append",
        default=[],
        help="grey image that is white where the style applies: once for each style, in their "
        "order; - for none",
    )
    stylize.add_argument(
        "--style-weight",
        type=float,
        metavar="N",
        action="append",
        default=[],
        help="how much the style counts beside the others: once for each style, in their order "
        "(default 1 for all)",
    )


def add_manifest(commands: Commands) -> None:
    """What `nst manifest` takes."""
    manifest = add_command(
        commands, "manifest", "Write a manifest of every content with every style."
    )
    for name in ("contents", "styles"):
        _add_pictures(manifest, name, required=True)
    manifest.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="M",
        help="the extension is the format: .csv, .tsv, .jsonl (or with .gz), .parquet",
    )
    _add_id(manifest)


def add_report(commands: Commands) -> None:
    """What `nst report` takes."""
    report = add_command(commands, "report", "Make the pages that show the results of an output.")
    report.add_argument("output", metavar="O", help="the output of nst run: folder or gs://…")


def add_export(commands: Commands) -> None:
    """What `nst export` takes."""
    export = add_command(commands, "export", "Give an output's results to other programs.")
    add = export.add_argument
    add("output", metavar="O", help="the output of nst run: folder or gs://…")
    add(
        "--format",
        required=True,
        choices=("csv", "imagefolder", "webdataset", "tensorboard"),
        help="csv: one flat table; imagefolder: images and metadata.jsonl, as Hugging Face's "
        "datasets loads them; webdataset: shards of images and JSON; tensorboard: loss curves and "
        "images",
    )
    add(
        "-o",
        "--destination",
        metavar="DEST",
        help="the .csv, or an empty or new folder, local or gs://… (tensorboard, default: "
        "O/runs/<run>/tensorboard, in place of what is there)",
    )
    add(
        "--ids",
        nargs="+",
        default=[],
        metavar="ID",
        help="only these pairs; * stands for any text, also in a quoted 'shoes/*'",
    )
    add(
        "--marks",
        metavar="FILE",
        help="the marks saved from the report: without the pairs marked reject",
    )
    add(
        "--marked",
        nargs="+",
        default=[],
        choices=MARKS,
        metavar="MARK",
        help=f"with --marks: only the pairs marked so ({', '.join(MARKS)})",
    )
    add(
        "--worst",
        type=int,
        metavar="N",
        help="only the N farthest from others of their style and settings, as the report sorts "
        f"them (tensorboard, default: {WORST_OF_TENSORBOARD})",
    )
    add(
        "--shard-pairs",
        type=int,
        metavar="N",
        help=f"webdataset: most pairs in a shard (default {SHARD_PAIRS})",
    )
    add(
        "--link",
        action="store_true",
        help="imagefolder: hard links instead of copies, where one local disk holds both",
    )
    export.epilog = (
        "Exit status: 0; 1 something cannot be read or written; 2 wrong usage; 3 some pairs are\n"
        "left out, since their files are gone."
    )


def add_demo(commands: Commands) -> None:
    """What `nst demo` takes."""
    demo = add_command(commands, "demo", "Stylize the sample images of the package.")
    demo.add_argument("--output", default="out/demo", metavar="DIR", help="default out/demo")
    demo.add_argument(
        "--weights",
        metavar="W",
        help="as for run (default: imagenet where they are cached, or fetched within 45 s, else "
        "procedural)",
    )


def add_weights(commands: Commands) -> None:
    """What `nst weights` takes."""
    weights = add_command(commands, "weights", "Fetch or verify the network's weights.")
    weights.add_argument(
        "action",
        choices=("fetch", "verify"),
        help="fetch: have the file here, and check it; verify: load the weights, as a run would",
    )
    weights.add_argument(
        "--weights", default="imagenet", metavar="W", help="as for run (default imagenet)"
    )
    weights.add_argument(
        "--to", metavar="URI", help="fetch: copy the file here, for workers without internet"
    )
