"""`nst export`: the results of an output for other programs."""

from __future__ import annotations

import argparse
import datetime
import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console

from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.console.notices import without_notices
from pipeline.export import SHARD_PAIRS, WORST_OF_TENSORBOARD
from pipeline.export.exporting import Format
from pipeline.export.exporting import export as export_results
from pipeline.export.results import list_results
from pipeline.export.selection import Selection
from pipeline.job.options import HERE
from pipeline.records.output_files import KINDS
from pipeline.runs import run_states
from pipeline.runs.catalog_state import catalog_of

EXIT_OK = 0
EXIT_LEFT_OUT = 3
# What other formats have for an option that one has for itself.
_ONLY = {"shard_pairs": "webdataset", "link": "imagefolder"}
# Below an output, where runs and reports look for their own.
_OWN_FOLDERS = (*KINDS, "source_thumbnails", "report")


def export(arguments: argparse.Namespace) -> int:
    """Export the results that the command line asks for; the exit status.

    Raises:
        ConfigError: options that do not go together, nothing to export, or a destination that
            holds something already.
        ManifestError: the marks cannot be read.
        JobError: the output cannot be read, or the destination written.
    """
    output = storage.resolve(arguments.output, HERE)
    destination = _destination(arguments, output)
    selection = _selection(arguments)
    made = _format(arguments, output, destination)
    console = Console(stderr=True)
    with console.status("Listing records…") as status:
        names = list_results(output)
        if not names:
            raise ConfigError(
                f"{output} has no results, so there is nothing to export; give the folder that "
                "nst run has as --output."
            )
        chosen = selection.choose(names, output)
        if destination and arguments.format != "csv":
            # Of an export that was killed before it had a file.
            storage.sweep(destination)
        with made as target:
            done = export_results(
                chosen,
                output,
                target,
                is_remote=any(map(storage.scheme, (output, target.made))),
                holds_images=arguments.format == "webdataset",
                told=lambda pairs: status.update(f"{pairs:,} of {len(chosen):,} pairs…"),
            )
    which = ""
    if selection.worst and not arguments.worst and len(chosen) < len(names):
        which = ", the farthest from others of their style; --ids, --marks and --worst choose"
    said = f"{target.made}: {done.pairs} of {len(names)} results{which}"
    print(said, *done.sentences, *_failed_sentences(output), sep="\n")
    return EXIT_LEFT_OUT if done.gone or done.unreadable else EXIT_OK


def _failed_sentences(output: str) -> Iterator[str]:
    """That pairs have failed, which have no results, as the runs' own accounts have it."""
    runs = run_states.read_runs(output, datetime.datetime.now(datetime.UTC))
    catalog = catalog_of(runs)
    if catalog.failed and catalog.to_retry:
        pairs = "1 pair has" if catalog.failed == 1 else f"{catalog.failed} pairs have"
        yield (
            f"{pairs} failed and may be missing here: the last reasons are in "
            f"{storage.join(output, 'runs', catalog.to_retry[0].run, 'failures.csv')}; "
            f"{shlex.join(['nst', 'status', output])} says how to go on."
        )


def _selection(arguments: argparse.Namespace) -> Selection:
    for name, chosen in _ONLY.items():
        if getattr(arguments, name) and arguments.format != chosen:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(
                f"{flag} is for --format {chosen}, and {arguments.format} has no use for it; leave "
                "it out."
            )
    for flag, number in (("--worst", arguments.worst), ("--shard-pairs", arguments.shard_pairs)):
        if number is not None and number < 1:
            raise ConfigError(f"{flag} is {number}; give at least 1.")
    if arguments.marked and not arguments.marks:
        raise ConfigError(
            "--marked chooses by the marks of a file; give that too, with --marks FILE."
        )
    worst = arguments.worst
    if arguments.format == "tensorboard" and not (arguments.ids or arguments.marks or worst):
        worst = WORST_OF_TENSORBOARD
    marks = arguments.marks and storage.resolve(arguments.marks, HERE)
    return Selection(tuple(arguments.ids), marks, tuple(arguments.marked), worst)


def _destination(arguments: argparse.Namespace, output: str) -> str | None:
    """Where the export goes, at which there is nothing yet; None for the runs' own folders."""
    if arguments.destination is None:
        if arguments.format == "tensorboard":
            return None
        what = "a file that ends with .csv" if arguments.format == "csv" else "an empty folder"
        raise ConfigError(f"--format {arguments.format} needs a destination; give -o, {what}.")
    found = storage.resolve(arguments.destination, HERE)
    below = found.removeprefix(output.rstrip("/") + "/")
    if below != found and below.partition("/")[0] in _OWN_FOLDERS:
        raise ConfigError(
            f"-o {found} lies among the output's own {below.partition('/')[0]}, where it would be "
            "taken for results; give a place elsewhere."
        )
    if arguments.format == "csv":
        if not found.lower().endswith(".csv"):
            raise ConfigError(f"-o {found} is no name of a CSV file; let it end with .csv.")
        if storage.exists(found):
            raise ConfigError(f"{found} is there already; remove it, or give another name.")
    elif (there := next(iter(storage.list_uris(found)), None)) or storage.exists(found):
        raise ConfigError(
            f"{found} holds files already (such as {there or found}); remove it, or give an empty "
            "or new folder."
        )
    return found


def _format(
    arguments: argparse.Namespace, output: str, destination: str | None
) -> AbstractContextManager[Format[Any]]:
    """The format. Each is imported only when it is wanted."""
    if arguments.format == "tensorboard":
        with without_notices():
            from pipeline.export.event_files import EventFiles

        return EventFiles(output, destination)
    assert destination is not None
    if arguments.format == "csv":
        from pipeline.export.csv_table import CsvTable

        return CsvTable(destination)
    if arguments.format == "imagefolder":
        from pipeline.export.image_folder import ImageFolder

        return ImageFolder(destination, link=arguments.link)
    from pipeline.export.tar_shards import TarShards

    return TarShards(destination, arguments.shard_pairs or SHARD_PAIRS)
