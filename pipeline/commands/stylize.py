"""`nst stylize`: one pair, without Beam, to try settings out."""

from __future__ import annotations

import concurrent.futures
import itertools
import pathlib
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, PairError
from nst_core.imaging.encoding import CONTENT_TYPES, EXTENSIONS
from nst_core.results import Progress, Style, StyleResult
from pipeline import storage
from pipeline.console import events
from pipeline.job.options import HERE, from_here
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.pairs.spelling import spelled
from pipeline.records.fingerprints import recipe
from pipeline.records.output_files import inputs_of
from pipeline.records.records import SnapshotPlace
from pipeline.records.tasks import RowNumber, Task
from pipeline.worker.engine_cache import load_engine
from pipeline.worker.inputs import Inputs
from pipeline.worker.output import encode_image, metadata_of, output_size
from pipeline.worker.picture_cache import PictureCache
from pipeline.worker.reading import Reader
from pipeline.worker.snapshots import SnapshotFiles, Snapshots, write_snapshots
from pipeline.worker.tally import Tally
from pipeline.worker.weights import warn_of_small_features, weights_identity

if TYPE_CHECKING:
    from nst_core.engine.style_engine import StyleEngine

FORMATS = {
    **{f".{extension}": name for name, extension in EXTENSIONS.items()},
    ".jpeg": "jpeg",
    ".tif": "tiff",
}
SNAPSHOT = re.compile(rf".*/\d{{6,}}\.({'|'.join(EXTENSIONS.values())})")


def stylize(
    content: str,
    styles: Sequence[str],
    output: str,
    config: StyleConfig,
    masks: Sequence[str | None] = (),
    weights: Sequence[float] = (),
) -> int:
    """Write one stylized image; the exit status.

    Args:
        masks: of the first styles, in their order.
        weights: of the first styles, in their order; 1 for the others.

    Raises:
        ConfigError: the output's extension is no image format, the output is an input, or a name
            is not UTF-8.
        PairError, JobError: the pair cannot be stylized, or nothing can.
    """
    target = from_here(output)
    task = _task(
        from_here(content),
        _references(styles, masks, weights),
        config.updated({"output_format": _format(target)}),
        spelled([content, *styles, *filter(None, masks)], HERE),
    )
    _spare_inputs(task, target)
    storage.check_writable(storage.directory(target))
    warn_of_small_features(config)
    read = Reader(Tally(), PictureCache()).read(task)
    if isinstance(read, PairError):
        raise read
    task, inputs, given = read.task, read.inputs, read.styles
    engine = load_engine(task.config)
    with (
        concurrent.futures.ThreadPoolExecutor() as threads,
        Snapshots([(task, inputs)], threads) as snapshots,
    ):
        result = _optimized(engine, inputs, given, task.config, snapshots)
        _write_snapshots(snapshots.files[0], result, target)
    encoded = encode_image(result.image, inputs, task.config, metadata_of(task))
    storage.write_bytes(target, encoded, CONTENT_TYPES[task.config.output_format])
    size = output_size(result.image, inputs.picture, task.config)
    total = result.losses.terms(-1)["total"]
    print(
        f"{target}: {size} px, {result.steps} steps in {result.seconds:.1f} s "
        f"({result.precision} on {engine.device_name}), loss {total:.4g}"
    )
    return 0


def _optimized(
    engine: StyleEngine,
    inputs: Inputs,
    styles: list[Style],
    config: StyleConfig,
    snapshots: Snapshots,
) -> StyleResult:
    """The result, with a line on the terminal meanwhile."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as bar:
        shown = bar.add_task("starting")

        def report(now: Progress) -> None:
            text = f"step {now.step} of {now.steps}, loss {now.totals[0]:.4g}"
            bar.update(shown, description=text)

        def tell(event: events.Event) -> None:
            if isinstance(event, events.Compilation):
                bar.update(shown, description=str(event.programs))
                if bar.disable:
                    print(f"nst: {event.programs}", file=sys.stderr, flush=True)

        events.listen(tell)
        try:
            result = engine.stylize(
                inputs.seen,
                styles,
                config,
                init=inputs.init,
                masks=inputs.masks,
                keep=inputs.keep,
                progress=report,
                snapshots=snapshots.take,
            )
        finally:
            events.listen(None)
    snapshots.settle()
    return result


def _write_snapshots(kept: SnapshotFiles | None, result: StyleResult, target: str) -> None:
    """Beside the image: `NAME.snapshots/000050.png` …, `NAME.animation.webp`."""
    if kept is None:
        return
    place = _snapshot_place(target)
    before = {uri for uri in storage.list_uris(place.folder) if SNAPSHOT.fullmatch(uri)}
    written, _ = write_snapshots(kept, result, place)
    for stale in before.difference(written["snapshots"]):
        storage.delete(stale)


def _snapshot_place(target: str) -> SnapshotPlace:
    stem = target.rpartition(".")[0]
    return SnapshotPlace(f"{stem}.snapshots", f"{stem}.animation")


def _spare_inputs(task: Task, target: str) -> None:
    written = [target]
    place = _snapshot_place(target)
    snapshots = storage.real_uri(storage.join(place.folder, ""))
    if task.config.snapshot_every and task.config.animation != "none":
        written.append(place.animation(task.config))
    for uri in inputs_of(task):
        real = storage.real_uri(uri)
        is_snapshot = real.startswith(snapshots) and SNAPSHOT.fullmatch(real)
        met = next((file for file in written if storage.is_same_file(uri, file)), None)
        if met or (task.config.snapshot_every and is_snapshot):
            raise ConfigError(
                f"{met or real} would be written over, and it is read as {uri}; "
                "name another file with -o."
            )


def _references(
    styles: Sequence[str], masks: Sequence[str | None], weights: Sequence[float]
) -> tuple[StyleReference, ...]:
    return tuple(
        StyleReference(from_here(style), weight or 1.0, mask and from_here(mask))
        for style, mask, weight in itertools.zip_longest(styles, masks, weights)
    )


def _task(
    content: str,
    styles: tuple[StyleReference, ...],
    config: StyleConfig,
    names: dict[str, str],
) -> Task:
    pair = Pair(storage.stem(content), content, styles, {}, {}, {})
    of_pair = recipe(pair, config, weights_identity(config.weights))
    return Task(RowNumber("", 1), pair, config, of_pair, names=names)


def _format(target: str) -> str:
    suffix = pathlib.PurePosixPath(target).suffix.lower()
    if suffix not in FORMATS:
        raise ConfigError(f"{target} ends with {suffix!r}; end it with {', '.join(FORMATS)}.")
    return FORMATS[suffix]
