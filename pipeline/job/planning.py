"""From rows to batches: which pairs are to be done, and which of them together.

Plain functions that a test calls without Beam; the `*_transforms` modules wire them.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from nst_core.canvas import Size, canvas_size, content_size
from nst_core.config import SETTINGS, StyleConfig, unknown_setting
from nst_core.errors import ConfigError, OptionsInvalid, PairError, WeightsError
from nst_core.setting_text import URI_SETTINGS, names_file
from pipeline import storage
from pipeline.job.options import RunOptions
from pipeline.manifest.columns import Row
from pipeline.manifest.rows import find_manifests, read_rows
from pipeline.pairs.blanks import trimmed
from pipeline.pairs.parsing import Pair, parse_pair
from pipeline.pairs.row_settings import check_allowed
from pipeline.pairs.schemes import check_option, check_sources
from pipeline.pairs.spelling import names_in
from pipeline.records.fingerprints import recipe
from pipeline.records.tasks import (
    POSTPONED,
    Batch,
    Outcome,
    RowNumber,
    Task,
    failed_pair,
    failed_row,
    finished_pair,
)
from pipeline.worker.inputs import Headers
from pipeline.worker.weights import weights_identity

# What travels as one: small enough that all workers get their share, and that what is done again
# after an interruption is little. Workers put several together where their devices take more.
BATCH_PIXELS = 4 * 512 * 512
MOST_IN_A_BATCH = 4
# Of rows with options of their own.
CONFIGS_KEPT = 1024


def rows_of(options: RunOptions) -> Iterator[tuple[str, Row]]:
    """Every row of a run's manifests, in their order, with the URI of its manifest.

    Raises:
        ManifestError: as of `find_manifests` and `read_rows`.
    """
    for manifest in find_manifests(options.manifest):
        for row in read_rows(manifest, options.reading):
            yield manifest, row


def plan_row(row: Row, manifest_uri: str, options: RunOptions) -> Task | Outcome:
    """The task that a row of a run's manifest asks for, or why it is none."""
    number = RowNumber(manifest_uri, row.number)
    beside = options.reading.base or manifest_uri
    schemes, absolute_ids = options.schemes, options.absolute_ids
    row = trimmed(row, beside, schemes)
    try:
        pair = parse_pair(row, beside, absolute_ids=absolute_ids)
    except PairError as error:
        return failed_row(number, row, beside, error, absolute_ids=absolute_ids)
    try:
        check_sources(pair, schemes)
        own = row_config(pair, options.config, beside, schemes, options.allow_options)
        of_pair = recipe(pair, own, weights_identity(own.weights))
    except PairError as error:
        return failed_pair(number, pair, error)
    return Task(number, pair, own, of_pair, names=names_in(row, pair))


def row_config(
    pair: Pair,
    config: StyleConfig,
    manifest_uri: str,
    schemes: Sequence[str],
    allowed: Sequence[str] | None = None,
) -> StyleConfig:
    """The job's configuration with the row's own options.

    Raises:
        OptionsInvalid: an option is unknown, has an unusable value, is not one of those that are
            allowed, names missing weights, or a file of another scheme than these.
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
        own = _updated(config, options)
        check_allowed(options, own, config, allowed)
        if "weights" in options:
            weights_identity(own.weights)
    except (ConfigError, WeightsError) as error:
        raise OptionsInvalid(f"options of {pair.id}: {error}") from error
    return own


_shared: dict[tuple[str, str], StyleConfig] = {}


def _updated(config: StyleConfig, options: Mapping[str, Any]) -> StyleConfig:
    """The configuration with these options: one object for all rows that share them."""
    # As they are written, since 1 and True are equal and no list is a key.
    key = (config.changes(), repr(options))
    found = _shared.get(key)
    if found is None:
        if len(_shared) >= CONFIGS_KEPT:
            _shared.clear()
        found = _shared[key] = config.updated(options)
    return found


def postponed(task: Task) -> Outcome:
    """The outcome of a task beyond `--limit`: a later run does it."""
    return finished_pair(task.number, task.pair, POSTPONED, {})


def batch_key(task: Task, headers: Headers, *, on_gpu: bool = True) -> str | Outcome:
    """Equal for tasks that can be optimised together; reads the content's header.

    The failure's outcome where the content cannot be read or does not fit. `on_gpu` is as in
    `canvas_size`; a job does not know, and leaves it to the engine to tell a CPU's finer canvases
    apart.
    """
    try:
        source = headers.read_size(task.pair.content, task.config)
        content = content_size(source, task.config, task.pair.content)
    except PairError as error:
        return failed_pair(task.number, task.pair, error)
    # The canvas comes first: `canvas_of` reads it from there.
    canvas = canvas_size(content, task.config, on_gpu=on_gpu)
    return f"{canvas} {_shared_settings(task.config.changes())}"


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


def most_in_a_batch(key: str, batch_size: int | None) -> int:
    """How many tasks with this key travel as one: at most `batch_size`, or fewer large canvases."""
    canvas = canvas_of(key)
    most = batch_size or MOST_IN_A_BATCH
    return max(1, min(most, BATCH_PIXELS // (canvas.width * canvas.height)))


def batch_of(key: str, tasks: Iterable[Task]) -> Batch:
    """Tasks of one key as one batch."""
    return Batch(tuple(tasks), key, canvas_of(key))


def batches(key: str, tasks: Iterable[Task], batch_size: int | None) -> Iterator[Batch]:
    """Tasks of one key, cut into batches."""
    size = most_in_a_batch(key, batch_size)
    remaining = iter(tasks)
    while chunk := tuple(itertools.islice(remaining, size)):
        yield batch_of(key, chunk)
