"""`nst plan`: what `nst run` would do and what it would cost; writes nothing."""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from nst_core.canvas import Size, content_size
from nst_core.errors import PairError, WeightsError, harmless
from pipeline.console.verdict import duration
from pipeline.job import gpus, planning
from pipeline.job.checking import RecordCheck
from pipeline.job.estimate import STEPS, Sample, measure
from pipeline.job.options import RunOptions
from pipeline.job.resolving import Families, id_of
from pipeline.manifest.rows import check_manifests
from pipeline.records.output_files import list_existing, list_readings
from pipeline.records.tasks import NO_FAILURES, POSTPONED, SKIPPED, Outcome, Task
from pipeline.runs import catalog_file
from pipeline.runs.reasons import reason_line
from pipeline.runs.statistics import Statistics
from pipeline.worker.engine_cache import computes_on_gpu, load_engine
from pipeline.worker.inputs import Headers
from pipeline.worker.weights import check_weights, warn_of_small_features

HEADER_THREADS = 16
HEADERS_AT_ONCE = 1024
# Pairs whose images are tried until one can be measured.
TRIES = 5


def plan(
    options: RunOptions, *, as_json: bool, workers: int = 1, gpu_price: float | None = None
) -> int:
    """Print the plan, with `gpu` for so many workers that have one; the exit status.

    Args:
        gpu_price: of an hour of one GPU, in any currency.

    Raises:
        ManifestError: the manifest as a whole cannot be used.
        JobError: `nst run` would fail at once, by these words.
    """
    for note in check_manifests(options.manifest, options.reading):
        print(harmless(note), file=sys.stderr)
    check_weights(options.config.weights)
    warn_of_small_features(options.config)
    absolute = catalog_file.has_absolute_ids(options.output)
    found = Catalog(dataclasses.replace(options, absolute_ids=absolute))
    if found.groups:
        print(f"Measuring {STEPS} steps…", file=sys.stderr, flush=True)
    foreseen = found.costs(sample_of(found.groups.values(), options))
    work = list(found.work())
    foreseen["shapes"] = gpus.shapes(work, compiled=bool(work) and found.on_gpu)
    foreseen["gpu"] = options.gpu and gpus.plan(options.gpu, workers, work, gpu_price)
    if as_json:
        print(json.dumps(foreseen, indent=2, ensure_ascii=False))
    else:
        show(foreseen)
    return 0


class Catalog:
    """The manifest and the output as they are: what is to be done, and what has ended.

    By the functions of the job, in its order, with the tasks in memory. `groups` are the tasks
    that can be optimised together, by `planning.batch_key`; `ended` counts all other rows.
    `changed` counts what is done again, by what has changed.
    """

    def __init__(self, options: RunOptions) -> None:
        self.options = options
        self.headers = Headers()
        self.ended = Statistics()
        self.changed: collections.Counter[str] = collections.Counter()
        self.groups: dict[str, list[Task]] = {}
        tasks = sorted(self._still_tasks(self._resolved()), key=lambda task: task.number)
        limit = len(tasks) if options.limit is None else options.limit
        self.ended.statuses[POSTPONED] += len(tasks[limit:])
        self._group(tasks[:limit])

    def _still_tasks(self, rows: Iterable[Task | Outcome]) -> Iterator[Task]:
        for row in rows:
            if isinstance(row, Task):
                if row.changed:
                    self.changed[row.changed] += 1
                yield row
            else:
                self.ended.add(row)

    def _resolved(self) -> Iterator[Task | Outcome]:
        options = self.options
        families = Families()
        for pair_id, file in list_existing(options.output):
            families.add(pair_id, file)
        for manifest, row in planning.rows_of(options):
            planned = planning.plan_row(row, manifest, options)
            named = id_of(planned)
            if named is None:
                yield planned
                continue
            families.add(named, planned)
            for pair_id, reading in list_readings(planned, options.output):
                families.add(pair_id, reading)
        check = RecordCheck(options.output, options.inputs, renews=False)
        yield from families.resolve(options.on_existing, check)

    @functools.cached_property
    def on_gpu(self) -> bool:
        """Whether GPUs will optimise the pairs: those of `--gpu`, or one of this machine.

        Raises:
            DeviceError: a GPU is demanded and there is none.
        """
        return self.options.gpu is not None or computes_on_gpu(self.options.config)

    def _group(self, tasks: list[Task]) -> None:
        if not tasks:
            return
        key_of = functools.partial(planning.batch_key, headers=self.headers, on_gpu=self.on_gpu)
        remaining = iter(tasks)
        with concurrent.futures.ThreadPoolExecutor(HEADER_THREADS) as threads:
            while some := list(itertools.islice(remaining, HEADERS_AT_ONCE)):
                for task, key in zip(some, threads.map(key_of, some), strict=True):
                    if isinstance(key, Outcome):
                        self.ended.add(key)
                    else:
                        self.groups.setdefault(key, []).append(task)

    def work(self) -> Iterator[gpus.Work]:
        """What is to be done."""
        for key, tasks in self.groups.items():
            yield tasks[0].config, planning.canvas_of(key), len(tasks)

    def costs(self, sample: Sample | None) -> dict[str, Any]:
        """The plan as JSON can hold it; without a sample, counts alone."""
        canvases: dict[Size, Canvas] = collections.defaultdict(Canvas)
        for key, tasks in self.groups.items():
            batches = list(planning.batches(key, tasks, self.options.batch_size))
            one = canvases[planning.canvas_of(key)]
            one.pairs += len(tasks)
            one.batches += len(batches)
            if sample:
                self._add_costs(one, planning.canvas_of(key), tasks, len(batches[0].tasks), sample)
        statuses, ended = self.ended.statuses, self.ended.to_dict(None)
        called = self.options.reading.name
        to_do = sum(one.pairs for one in canvases.values())
        return {
            "manifest": self.options.manifest_name,
            "output": self.options.output,
            "pairs": to_do + statuses.total(),
            "to_do": to_do,
            "changed": dict(sorted(self.changed.items())),
            "done": statuses[SKIPPED],
            "postponed": statuses[POSTPONED],
            "invalid": {k: n for k, n in sorted(statuses.items()) if k not in NO_FAILURES},
            "reasons": ended["reasons"],
            "first_failures": [
                {**one, "manifest": called or one["manifest"]} for one in ended["first_failures"]
            ],
            "canvases": [canvases[size].to_dict(size, sample) for size in sorted(canvases)],
            "seconds": sample and sum(one.seconds for one in canvases.values()),
            "memory_bytes": sample and max(one.memory_bytes for one in canvases.values()),
            "bytes_to_write": sample and sum(one.bytes_to_write for one in canvases.values()),
            "measured": sample and sample.to_dict(),
        }

    def _add_costs(
        self, total: Canvas, canvas: Size, tasks: list[Task], batch: int, sample: Sample
    ) -> None:
        config = tasks[0].config
        total.seconds += len(tasks) * sample.seconds(config, canvas)
        total.memory_bytes = max(total.memory_bytes, sample.memory(config, canvas, batch))
        for task in tasks:
            size = self.headers.read_size(task.pair.content, config)
            if config.output_size == "canvas":
                size = content_size(size, config, task.pair.content)
            total.bytes_to_write += sample.written(config, size)


@dataclasses.dataclass
class Canvas:
    """The pairs of one canvas: how many, and what all of them will cost."""

    pairs: int = 0
    batches: int = 0
    seconds: float = 0.0
    memory_bytes: float = 0.0
    bytes_to_write: float = 0.0

    def to_dict(self, canvas: Size, sample: Sample | None) -> dict[str, Any]:
        """As a plan has it."""
        return {
            "canvas": str(canvas),
            "pairs": self.pairs,
            "batches": self.batches,
            "seconds_per_pair": sample and round(self.seconds / self.pairs, 3),
            "memory_bytes": sample and round(self.memory_bytes),
            "bytes_to_write": sample and round(self.bytes_to_write),
        }


def sample_of(groups: Iterable[list[Task]], options: RunOptions) -> Sample | None:
    """Measured on a pair of the largest group; None where the images of none can be used."""
    largest_first: list[list[Task]] = sorted(groups, key=len, reverse=True)
    tasks = itertools.chain.from_iterable(largest_first)
    for task in itertools.islice(tasks, TRIES):
        try:
            return measure(task, options.output, load_engine(task.config))
        except (PairError, WeightsError) as error:
            print(f"{task.pair.id} cannot be measured: {error}", file=sys.stderr)
    return None


def show(foreseen: dict[str, Any]) -> None:
    """The plan for people."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    counts = Table()
    counts.add_column("pairs")
    counts.add_column("", justify="right")
    counts.add_row("to do", str(foreseen["to_do"]))
    for what, count in foreseen["changed"].items():
        counts.add_row(f"  again: {what} changed", str(count))
    counts.add_row("done already", str(foreseen["done"]))
    if foreseen["postponed"]:
        counts.add_row("postponed by --limit", str(foreseen["postponed"]))
    for status, count in foreseen["invalid"].items():
        counts.add_row(status, str(count))
    counts.add_row("all", str(foreseen["pairs"]), style="bold")
    console.print(counts)
    for one in foreseen["reasons"]:
        console.print(reason_line(one))
    if foreseen["canvases"]:
        console.print(_canvases(foreseen["canvases"]))
        console.print(_shapes_sentence(foreseen["shapes"]))
    if foreseen["measured"]:
        console.print(_sentence(foreseen))
    if foreseen["gpu"]:
        console.print(_gpu_sentence(foreseen["gpu"]))
        if foreseen["gpu"]["price"] is not None:
            console.print(_price_sentence(foreseen["gpu"]))
    if foreseen["to_do"] and not foreseen["measured"]:
        console.print("No pair could be measured: time, memory and bytes are not known.")


def _canvases(canvases: list[dict[str, Any]]) -> Table:
    table = Table()
    table.add_column("canvas, px")
    for name in ("pairs", "batches", "s per pair", "GiB", "MiB to write"):
        table.add_column(name, justify="right")
    for one in canvases:
        cells = [one["canvas"], str(one["pairs"]), str(one["batches"])]
        if one["seconds_per_pair"] is not None:
            cells += [
                f"{one['seconds_per_pair']:.1f}",
                f"{one['memory_bytes'] / 2**30:.1f}",
                f"{one['bytes_to_write'] / 2**20:.1f}",
            ]
        table.add_row(*cells)
    return table


def _shapes_sentence(shapes: dict[str, Any]) -> str:
    counts = _counted(shapes["canvases"], "canvas", "canvases")
    text = f"{counts} in {_counted(shapes['scales'], 'scale', 'scales')}"
    if not shapes["programs"]:
        return f"{text}."
    programs = _counted(shapes["programs"], "program", "programs")
    seconds = shapes["compile_seconds"]
    return f"{text}: {programs} to compile on a GPU, about {seconds:.0f} s."


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _sentence(foreseen: dict[str, Any]) -> str:
    measured = foreseen["measured"]
    return (
        f"About {duration(foreseen['seconds'])} in one process, "
        f"{foreseen['memory_bytes'] / 2**30:.1f} GiB of memory beside the network, "
        f"{foreseen['bytes_to_write'] / 2**20:.1f} MiB to write.\n"
        f"Measured: {measured['steps']} steps on {measured['canvas']} px "
        f"({measured['seconds_per_step']:.3f} s each, {measured['precision']} on "
        f"{measured['device']}); other canvases in proportion to the pixels that pass the network, "
        "files by the image after these steps, memory by the engine's own prediction."
    )


def _gpu_sentence(gpu: dict[str, Any]) -> str:
    return (
        f"On {gpu['workers']} × {gpu['gpu']}: about {duration(3600 * gpu['hours'])} and "
        f"{gpu['gpu_hours']:.1f} GPU hours, {gpu['seconds_per_pair']:.2g} s per pair "
        f"({gpu['source']} from the steps' operations, see docs/running.md)."
    )


def _price_sentence(gpu: dict[str, Any]) -> str:
    per_pair = f", {gpu['price_per_pair']:.2g} for each pair" if gpu["price_per_pair"] else ""
    return (
        f"At {gpu['price_per_gpu_hour']:g} for a GPU hour: about {gpu['price']:.2f}{per_pair}; "
        "without storage, traffic and the workers that have no GPU."
    )
