"""From rows to batches: which pairs are to be done, and which of them together.

Plain functions that a test calls without Beam; `transforms` wires them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from nst_core.canvas import Size, canvas_size, content_size
from nst_core.config import SETTINGS, URI_SETTINGS, StyleConfig, names_file, unknown_setting
from nst_core.errors import (
    ConfigError,
    DuplicateId,
    JobError,
    OptionsInvalid,
    PairError,
    WeightsError,
)
from pipeline import records, storage
from pipeline.inputs import Headers
from pipeline.manifest import Pair, Row, parse_pair
from pipeline.pairs import (
    POSTPONED,
    SKIPPED,
    Batch,
    Outcome,
    RowNumber,
    Task,
    failed_pair,
    failed_row,
    finished_pair,
)
from pipeline.schemes import check_option, check_sources
from pipeline.spelling import names_in
from pipeline.weights import weights_identity

OnExisting = Literal["skip", "redo", "error"]

# Folders of files whose names end with the fingerprint, and their extensions.
_MARKED = {"records": "json", "checkpoints": "npz"}

# A batch holds at most this many canvas pixels, so that its features fit into memory.
BATCH_PIXELS = 4 * 512 * 512


@dataclasses.dataclass(frozen=True)
class Existing:
    """A file of an earlier run, and what there is of it in its folder besides its pair's id.

    Kinds `records` and `checkpoints` with the fingerprint, `images` and `animations` with the
    suffix, `snapshots` with the file's name.
    """

    kind: str
    mark: str


def plan_row(
    row: Row, manifest_uri: str, config: StyleConfig, schemes: Sequence[str]
) -> Task | Outcome:
    """The task that a row asks for, naming files of these schemes, or why it is none."""
    try:
        pair = parse_pair(row, manifest_uri)
    except PairError as error:
        return failed_row(row, manifest_uri, error)
    number = RowNumber(manifest_uri, row.number)
    try:
        check_sources(pair, schemes)
        own = row_config(pair, config, manifest_uri, schemes)
        mark = records.fingerprint(pair, own, weights_identity(own.weights))
    except PairError as error:
        return failed_pair(number, pair, error)
    return Task(number, pair, own, mark, names=names_in(row, manifest_uri))


def row_config(
    pair: Pair, config: StyleConfig, manifest_uri: str, schemes: Sequence[str]
) -> StyleConfig:
    """The job's configuration with the row's own options.

    Raises:
        OptionsInvalid: an option is unknown, has an unusable value, names missing weights, or a
            file of another scheme than these.
    """
    if not pair.options:
        return config
    options = dict(pair.options)
    for key in options:
        if key not in SETTINGS:
            raise OptionsInvalid(f"options.{key}: {unknown_setting(key)}.")
    for key in URI_SETTINGS:
        if names_file(options.get(key), key):
            options[key] = storage.resolve(options[key], manifest_uri)
            # Before anything reads it: weights are identified by their bytes.
            check_option(key, options[key], schemes)
    try:
        own = config.updated(options)
        if "weights" in options:
            weights_identity(own.weights)
    except (ConfigError, WeightsError) as error:
        raise OptionsInvalid(f"options of {pair.id}: {error}") from error
    return own


def list_existing(output: str) -> Iterator[tuple[str, Existing]]:
    """Id and file of every file of a pair below the output, by listing, not by look-ups."""
    for folder in ("records", "checkpoints", "images", "snapshots", "animations"):
        root = storage.join(output, folder)
        for uri in storage.list_uris(root):
            name = uri[len(root) :].lstrip("/")
            if extension := _MARKED.get(folder):
                if parsed := records.parse_record_name(name, extension):
                    yield parsed[0], Existing(folder, parsed[1])
            else:
                pair_id, _, mark = name.rpartition("/" if folder == "snapshots" else ".")
                yield pair_id, Existing(folder, mark)


def resolve_id(
    rows: Iterable[Task | Outcome],
    existing: Iterable[Existing],
    output: str,
    on_existing: OnExisting,
) -> Iterator[Task | Outcome]:
    """What becomes of the rows with one id: the first is done or skipped, the others fail.

    The first counts also where it has failed already: once mended, it is done under this id.

    Raises:
        JobError: with `on_existing` `error`, something of this id is already there.
    """
    first, *later = sorted(rows, key=lambda row: row.number)
    yield from (_duplicate(other, first.number) for other in later)
    if isinstance(first, Outcome):
        yield first
        return
    every = list(existing)
    # What was interrupted is no result.
    found = [file for file in every if file.kind != "checkpoints"]
    if found and on_existing == "error":
        raise JobError(
            f"{first.pair.id!r} already has a result in {output}; "
            "choose another output, or --on-existing skip or redo."
        )
    marks = {file.mark for file in found if file.kind == "records"}
    there = {_uri(file, first.pair.id, output) for file in found if file.kind != "records"}
    image = records.image_uri(output, first.pair.id, first.config)
    wanted = [image]
    if first.config.snapshot_every:
        wanted += records.snapshot_place(output, first.pair.id).certain(first.config)
    in_place = there.issuperset(wanted)
    # Two records of one image: runs with other settings met here, and one of them is wrong.
    if on_existing == "skip" and marks == {first.fingerprint} and in_place:
        yield finished_pair(first.number, first.pair, SKIPPED, where_it_is(first, output))
        return
    stale = sorted(records.record_uri(output, first.pair.id, mark) for mark in marks)
    images = storage.join(output, "images", "")
    old = sorted(uri for uri in there if not uri.startswith(images))
    others = sorted(
        records.checkpoint_uri(output, first.pair.id, file.mark)
        for file in every
        if file.kind == "checkpoints" and file.mark != first.fingerprint
    )
    yield dataclasses.replace(
        first,
        stale_records=tuple(stale),
        stale_snapshots=tuple(old),
        stale_checkpoints=tuple(others),
    )


def _uri(file: Existing, pair_id: str, output: str) -> str:
    separator = "/" if file.kind == "snapshots" else "."
    return storage.join(output, file.kind, f"{pair_id}{separator}{file.mark}")


def id_of(row: Task | Outcome) -> str | None:
    """The id of a row; None where it never became a pair."""
    return row.id if isinstance(row, Outcome) else row.pair.id


def _duplicate(row: Task | Outcome, first: RowNumber) -> Outcome:
    pair_id = id_of(row)
    elsewhere = "" if row.number.manifest == first.manifest else f" of {first.manifest}"
    error = DuplicateId(
        f"Row {row.number.row} has the id {pair_id!r} of row {first.row}{elsewhere}; "
        "give it an id of its own."
    )
    if isinstance(row, Outcome):
        return dataclasses.replace(row, status=error.status, error=str(error))
    return failed_pair(row.number, row.pair, error)


def where_it_is(task: Task, output: str) -> dict[str, Any]:
    """The URIs of a pair's image, loss log and record, and its fingerprint."""
    return {
        "image": records.image_uri(output, task.pair.id, task.config),
        "losses": records.losses_uri(output, task.pair.id),
        "record": records.record_uri(output, task.pair.id, task.fingerprint),
        "fingerprint": task.fingerprint,
    }


def postponed(task: Task) -> Outcome:
    """The outcome of a task beyond `--limit`: a later run does it."""
    return finished_pair(task.number, task.pair, POSTPONED, {})


def batch_key(task: Task, headers: Headers) -> str | Outcome:
    """Equal for tasks that can be optimised together; reads the content's header.

    The failure's outcome where the content cannot be read or does not fit.
    """
    try:
        source = headers.read_size(task.pair.content, task.config)
        content = content_size(source, task.config, task.pair.content)
    except PairError as error:
        return failed_pair(task.number, task.pair, error)
    canvas = canvas_size(content, task.config)
    styles = "|".join(f"{style.weight!r} {style.uri}" for style in task.pair.styles)
    stretched_to = content if task.config.style_fit == "stretch" else ""
    # The canvas comes first: `canvas_of` reads it from there.
    return f"{canvas} {stretched_to} {styles} {_shared_settings(task.config.changes())}"


@functools.lru_cache(maxsize=1024)
def _shared_settings(changes: str) -> str:
    """A configuration without what each content of a batch brings for itself."""
    own = json.loads(changes)
    own.pop("keep", None)
    if own.get("init", "content") not in URI_SETTINGS["init"]:
        own["init"] = "an image"
    return json.dumps(own)


def canvas_of(key: str) -> Size:
    """The canvas of the tasks with this key."""
    return Size(*map(int, key.partition(" ")[0].split("x")))


def most_in_a_batch(key: str, batch_size: int) -> int:
    """How many tasks with this key make a batch: at most `batch_size`, or fewer large canvases."""
    canvas = canvas_of(key)
    return max(1, min(batch_size, BATCH_PIXELS // (canvas.width * canvas.height)))


def batches(key: str, tasks: Iterable[Task], batch_size: int) -> Iterator[Batch]:
    """Tasks of one key, cut into batches."""
    size = most_in_a_batch(key, batch_size)
    remaining = iter(tasks)
    while chunk := tuple(itertools.islice(remaining, size)):
        yield Batch(chunk)
