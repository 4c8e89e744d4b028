"""Whether the host keeps up: `nst run` over photographs, with a stand-in for the device alone.

Photographs of 12 megapixels, JPEG of 3 to 5 MB, are read, decoded, resized, recoloured, measured,
encoded and written as in any run of `default`; only the network is next to nothing, and a step
takes a set time and no processor (see `idle_device`). Core-seconds are those of all processes of
the run, per pair, by the difference of a large and a small catalog, so that start-up counts for
nothing: of the decoding processes, of the threads that read, call the engine (without the
device) and write, of what is left (Beam, other threads), and all together.
"In steps" and "in graphs" are shares of the time from the device's first step to its last: in the
other graphs, which here the processors compute that also do all else, a card spends next to no
time. `busy` is the share of its steps in what is left without them. Memory is the most that all
processes had resident together, shared pages by their share.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence

import numpy as np
from PIL import Image

from benchmarks import idle_device
from benchmarks.options import Options

ROOT = pathlib.Path(__file__).parents[1]
MIB = 2**20
SIZE = (4000, 3000)
# Different photographs; a catalog has more names for them.
PHOTOGRAPHS = 3
FEW, MANY = 16, 192
STEPS = 100
DECODING = "nst_core.decoding.process"
SAMPLE_SECONDS = 0.05
# Calls that note what their thread took of the processor.
STAGES = ("reading", "engine", "writing")


@dataclasses.dataclass(frozen=True)
class Case:
    """A catalog and how it is run; seconds of the device for each pair."""

    name: str
    device_seconds: float
    styles: int = 1
    one_content: bool = False
    arguments: tuple[str, ...] = ()


PARALLEL = (
    "--runner=DirectRunner",
    "--direct_running_mode=multi_processing",
    "--direct_num_workers=2",
)
SMALL = ("--set", "image_size=128")
JPEG = ("--set", "output_format=jpeg")
CASES = (
    Case("in this process, PNG", 0.4),
    Case("in this process, PNG, a faster device", 0.1),
    Case("in this process, JPEG", 0.1, arguments=JPEG),
    Case("multi_processing, two devices", 0.8, arguments=PARALLEL),
    Case("canvases of 128 px", 0.05, arguments=SMALL),
    Case("a style for each pair, one content", 0.1, styles=MANY, one_content=True),
)


def write_photographs(folder: pathlib.Path) -> list[pathlib.Path]:
    """Photographs as people have them, made of noise that is the coarser the stronger it is."""
    generator = np.random.default_rng(0)
    width, height = SIZE
    found = []
    for index in range(PHOTOGRAPHS):
        picture = np.zeros((height, width, 3), np.float32)
        side = 2
        while side < width:
            shape = (max(2, side * height // width), side, 3)
            coarse = generator.normal(0, 1, shape).astype(np.float32)
            for channel in range(3):
                layer = Image.fromarray(coarse[..., channel])
                smooth = layer.resize((width, height), Image.Resampling.BICUBIC)
                picture[..., channel] += np.asarray(smooth) * 70 / side**0.3
            side *= 2
        pixels = np.clip(np.rint(picture + 127), 0, 255).astype(np.uint8)
        path = folder / f"photograph{index}.jpg"
        Image.fromarray(pixels).save(path, quality=92)
        if not 3 * MIB <= path.stat().st_size <= 5 * MIB:
            raise RuntimeError(f"{path} has {path.stat().st_size} bytes, not 3 to 5 MiB")
        found.append(path)
    return found


def write_catalog(
    folder: pathlib.Path, photographs: Sequence[pathlib.Path], case: Case, pairs: int
) -> pathlib.Path:
    """The manifest of so many pairs; every one has files of its own name."""
    folder.mkdir()
    rows = []
    for index in range(pairs):
        content = "content0" if case.one_content else f"content{index}"
        style = f"style{index % case.styles}"
        rows.append({"id": f"p{index:03d}", "content": f"{content}.jpg", "style": f"{style}.jpg"})
        for name in (content, style):
            path = folder / f"{name}.jpg"
            if not path.exists():
                path.hardlink_to(photographs[(index + len(name)) % len(photographs)])
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


@dataclasses.dataclass(frozen=True)
class Measured:
    """One run: seconds of processors by part; of the device, by process; bytes."""

    seconds: dict[str, float]
    in_steps: float
    in_graphs: float
    pairs_per_second: float
    peak: float


def measure(case: Case, photographs: Sequence[pathlib.Path], pairs: int) -> Measured:
    """Run a catalog of so many pairs to its end."""
    with tempfile.TemporaryDirectory(dir=photographs[0].parent) as name:
        folder = pathlib.Path(name)
        manifest = write_catalog(folder / "in", photographs, case, pairs)
        notes = folder / "notes.jsonl"
        notes.touch()
        (folder / "site").mkdir()
        site = idle_device.site(folder / "site")
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), site]),
            idle_device.NOTES: str(notes),
            idle_device.SECONDS: str(case.device_seconds / STEPS),
        }
        command = [sys.executable, "-m", "benchmarks.idle_device", "run", "--weights", "procedural"]
        command += ["--manifest", str(manifest), "--output", str(folder / "out"), *case.arguments]
        with (folder / "said").open("wb") as said:
            run = subprocess.Popen(
                command, env=environment, cwd=ROOT, stdout=said, stderr=subprocess.STDOUT
            )
            watcher = Watcher(run.pid)
            status = run.wait()
            watcher.stop()
        if status:
            raise RuntimeError((folder / "said").read_text(encoding="utf-8")[-2000:])
        noted = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    stages = {
        stage: sum(one["seconds"] for one in noted if one["what"] == stage) for stage in STAGES
    }
    calls = [one for one in noted if one["what"] == "device"]
    graphs = [one for one in noted if one["what"] == "graph"]
    in_steps, in_graphs, rate = [], [], 0.0
    for pid in {one["pid"] for one in calls}:
        own = [one for one in calls if one["pid"] == pid]
        worked = sum(one["ended"] - one["started"] for one in own)
        first, last = min(one["started"] for one in own), max(one["ended"] for one in own)
        span = last - first
        besides = sum(
            one["ended"] - one["started"]
            for one in graphs
            if one["pid"] == pid and first <= one["started"] and one["ended"] <= last
        )
        in_steps.append(worked / span)
        in_graphs.append(besides / span)
        rate += worked / case.device_seconds / span
    seconds = {**watcher.seconds, **stages}
    shares = float(np.mean(in_steps)), float(np.mean(in_graphs))
    return Measured(seconds, *shares, rate, watcher.peak)


class Watcher:
    """Follows a process and all that it starts, on a thread: processor time and memory."""

    def __init__(self, pid: int) -> None:
        self.peak = 0.0
        self._pid = pid
        self._ticks: dict[tuple[int, bool], int] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    @property
    def seconds(self) -> dict[str, float]:
        """Of processors: of decoding, and of all."""
        tick = os.sysconf("SC_CLK_TCK")
        decoding = sum(ticks for (_, decodes), ticks in self._ticks.items() if decodes)
        return {"decoding": decoding / tick, "all": sum(self._ticks.values()) / tick}

    def stop(self) -> None:
        """Once the process has ended."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        turn = 0
        while not self._ended.wait(SAMPLE_SECONDS):
            family = self._family()
            for pid, ticks in family.items():
                command = _read(pid, "cmdline")
                if command:
                    self._ticks[pid, DECODING in command] = ticks
            if turn % 10 == 0:
                self.peak = max(self.peak, sum(map(_proportional, family)))
            turn += 1

    def _family(self) -> dict[int, int]:
        """The process and those it has started, with their processor time in ticks."""
        parents: collections.defaultdict[int, list[int]] = collections.defaultdict(list)
        ticks = {}
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc"))):
            fields = _read(pid, "stat").rpartition(")")[2].split()
            if fields:
                parents[int(fields[1])].append(pid)
                ticks[pid] = int(fields[11]) + int(fields[12])
        found, waiting = {}, [self._pid]
        while waiting:
            pid = waiting.pop()
            if pid in ticks:
                found[pid] = ticks[pid]
            waiting += parents[pid]
        return found


def _read(pid: int, name: str) -> str:
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _proportional(pid: int) -> float:
    for line in _read(pid, "smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return 1024.0 * int(line.split()[1])
    return 0.0


def row(case: Case, photographs: Sequence[pathlib.Path]) -> list[str]:
    """One row of the table."""
    few, many = (measure(case, photographs, pairs) for pairs in (FEW, MANY))
    each = {part: (many.seconds[part] - few.seconds[part]) / (MANY - FEW) for part in many.seconds}
    parts = ("decoding", *STAGES)
    rest = each["all"] - sum(each[part] for part in parts)
    return [
        case.name,
        f"{case.device_seconds:g}",
        f"{many.pairs_per_second:.2f}",
        f"{many.in_steps:.1%}",
        f"{many.in_graphs:.1%}",
        f"{many.in_steps / (1 - many.in_graphs):.1%}",
        *(f"{each[part]:.3f}" for part in ("all", *parts)),
        f"{rest:.3f}",
        f"{many.peak / MIB:.0f}",
    ]


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows."""
    header = ["run", "device s", "pairs/s", "in steps", "in graphs", "busy", "core-s per pair"]
    header += ["of it decoding", *STAGES, "the rest", "peak MiB"]
    chosen = [case for case in CASES if options.feed in case.name]
    with tempfile.TemporaryDirectory() as folder:
        photographs = write_photographs(pathlib.Path(folder))
        return header, [row(case, photographs) for case in chosen]
