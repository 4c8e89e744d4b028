"""Checkpoints as files: whole or ignored, of any storage, and gone when their pair is done."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import io
import math
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.imaging import images
from nst_core.results import Snapshot
from pipeline import storage
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.records.tasks import Outcome, Task
from pipeline.worker import checkpoints
from pipeline.worker.checkpoints import Checkpoints, find
from pipeline.worker.inputs import Inputs
from pipeline.worker.snapshots import SnapshotFiles, Snapshots

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

MARK, OTHER = "0" * 16, "1" * 16
ARRAYS = {
    "rows": np.array([7, 3]),
    "retried": np.array(False),
    "state/x": np.arange(3 * 64 * 64, dtype=np.float32).reshape(64, 64, 3),
    "state/moves/0": np.full((64, 64, 3), np.pi, np.float32),
}
OFTEN = ("--set", "checkpoint_seconds=1e-9")


def entry(**changes: Any) -> tuple[Task, Inputs]:
    """A task and what was read for it."""
    pair = Pair("dir/a", "/c/a.png", (StyleReference("/s/s.png"),), {}, {}, {})
    config = StyleConfig().updated(changes)
    picture = images.Picture(np.zeros((48, 64, 3), np.uint8), None)
    return Task(1, pair, config, "recipe", MARK), Inputs(picture, picture.rgb, None, (None,), None)


Opened = Callable[..., Checkpoints]


@pytest.fixture
def opened() -> Iterator[Opened]:
    """`opened(output, entry)`: the checkpoints of a batch of this one entry."""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        several = []

        def start(output: str, one: tuple[Task, Inputs] | None = None) -> Checkpoints:
            one = one or entry()
            snapshots = Snapshots([one], threads).__enter__()
            there = [find(one[0], output)]
            found = Checkpoints([one[0]], output, snapshots, there).__enter__()
            several.extend([found, snapshots])
            return found

        yield start
        for one in several:
            one.__exit__()


def assert_found(found: Checkpoints, arrays: dict[str, np.ndarray]) -> None:
    """These arrays are found, in these types."""
    (one,) = found.arrays
    assert one is not None
    assert set(one) == set(arrays)
    for name, array in arrays.items():
        assert one[name].dtype == array.dtype
        np.testing.assert_array_equal(one[name], array)


def test_what_is_saved_is_found_again(opened: Opened, catalog: Catalog) -> None:
    output = catalog.uri("out")
    first = opened(output)
    assert first.arrays == [None]
    first.save(0, {"rows": np.array([1])}.items())
    first.save(0, ARRAYS.items())
    assert catalog.names("out") == {f"checkpoints/dir/a.{MARK}.npz"}
    assert_found(opened(output), ARRAYS)
    with np.load(io.BytesIO(catalog.read(f"out/checkpoints/dir/a.{MARK}.npz"))) as file:
        assert set(file) == set(ARRAYS)


def test_what_is_saved_in_a_bucket_is_found_again(opened: Opened, gcs: EmulatedBucket) -> None:
    first = opened(gcs.uri("out"))
    first.save(0, ARRAYS.items())
    again = opened(gcs.uri("out"))
    assert_found(again, ARRAYS)
    again.end(0, ok(entry()[0]))
    assert list(storage.list_uris(gcs.uri("out"))) == []


def ok(task: Task) -> Outcome:
    """The outcome of a pair that is done."""
    return Outcome(1, task.pair.id, "ok", None, {}, {}, {})


def flipped(data: bytes, place: int, bits: int) -> bytes:
    """The data with these bits of one byte changed."""
    return data[:place] + bytes([data[place] ^ bits]) + data[place + 1 :]


@pytest.mark.parametrize(
    "damage", ["empty", "text", "short", "shorter", "flipped", "encrypted", "packed", "array"]
)
def test_a_damaged_file_is_ignored_and_replaced(
    opened: Opened, catalog: Catalog, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    output, name = catalog.uri("out"), f"out/checkpoints/dir/a.{MARK}.npz"
    opened(output).save(0, ARRAYS.items())
    data = catalog.read(name)
    middle, entry_at = len(data) // 2, data.index(b"PK\x01\x02")
    array = io.BytesIO()
    np.save(array, np.zeros(9))
    damaged = {
        "empty": b"",
        "text": b"This is a text.\n" * 99,
        "short": data[:-1],
        "shorter": data[:middle],
        "flipped": flipped(data, middle, 1),
        "encrypted": flipped(data, entry_at + 8, 1),
        "packed": flipped(data, entry_at + 10, 14),
        "array": array.getvalue(),
    }
    catalog.write(name, damaged[damage])
    found = opened(output)
    assert found.arrays == [None]
    assert f"a.{MARK}.npz is damaged" in caplog.text
    found.save(0, ARRAYS.items())
    assert_found(opened(output), ARRAYS)


def test_of_another_fingerprint_or_without_the_setting_none_is_found(
    opened: Opened, catalog: Catalog
) -> None:
    output = catalog.uri("out")
    opened(output).save(0, ARRAYS.items())
    task, inputs = entry()
    assert opened(output, (dataclasses.replace(task, fingerprint=OTHER), inputs)).arrays == [None]
    assert opened(output, entry(checkpoint_seconds=0)).arrays == [None]


def test_snapshots_are_kept_with_it_also_those_that_wait_to_be_encoded(
    opened: Opened, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, one = catalog.uri("out"), entry(snapshot_every=2, animation="gif")
    first = opened(output, one)
    add = SnapshotFiles.add
    monkeypatch.setattr(SnapshotFiles, "add", lambda *taken: (time.sleep(0.1), add(*taken)))
    for step in (2, 4):
        image = np.full((48, 64, 3), 10 * step, np.float32)
        first._snapshots.take(Snapshot(0, step, image))
    first.save(0, ARRAYS.items())
    again = opened(output, one)
    files = first._snapshots.files[0], again._snapshots.files[0]
    assert files[0] is not None
    assert files[1] is not None
    assert dict(files[1].parts()) == dict(files[0].parts())
    assert [step for step, _ in files[1].parts()] == [2, 4]
    # An optimisation that begins again begins with its first snapshot.
    again._snapshots.take(Snapshot(0, 2, np.zeros((48, 64, 3), np.float32)))
    again._snapshots.settle()
    assert [step for step, _ in files[1].parts()] == [2]


@pytest.mark.parametrize(
    ("status", "stays"),
    [
        ("ok", False),
        ("diverged", False),
        ("internal", False),
        ("deadline_exceeded", True),
        ("out_of_memory", True),
    ],
)
def test_it_goes_with_its_pair_s_end(
    opened: Opened, catalog: Catalog, status: str, stays: bool
) -> None:
    output = catalog.uri("out")
    task, inputs = entry()
    other = catalog.write(f"out/checkpoints/dir/a.{OTHER}.npz", b"of other settings")
    task = dataclasses.replace(task, stale_checkpoints=(other,))
    found = opened(output, (task, inputs))
    found.save(0, ARRAYS.items())
    found.end(0, dataclasses.replace(ok(task), status=status))
    name = f"a.{MARK}.npz"
    assert (f"dir/{name}" in catalog.names("out/checkpoints")) is stays
    assert storage.exists(other) is (status != "ok")


def test_an_output_that_is_full_costs_the_checkpoint_and_not_the_pair(
    opened: Opened,
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: Any) -> Any:
        raise storage.StorageError("out/a cannot be written, disk full: free space there.")

    found = opened(catalog.uri("out"))
    monkeypatch.setattr(storage, "open_writer", full)
    found.save(0, ARRAYS.items())
    assert "disk full: free space there. The pair goes on" in caplog.text


def test_a_run_removes_those_of_pairs_that_are_done_and_no_others(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run() == 0
    (record,) = catalog.names("out/records")
    catalog.write(f"out/checkpoints/{record.removesuffix('.json')}.npz", b"left by a kill")
    others = (f"a.{OTHER}.npz", f"b.{MARK}.npz", "notes.txt")
    for name in others:
        catalog.write(f"out/checkpoints/{name}", b"x")
    assert catalog.run("--on-existing", "skip") == 0
    assert catalog.statuses() == ["skipped"]
    assert catalog.names("out/checkpoints") == set(others)
    # Once the pair is done again, those of its other settings are of no use.
    assert catalog.run("--on-existing", "redo") == 0
    assert catalog.names("out/checkpoints") == set(others[1:])


def test_an_interrupted_pair_is_no_result(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.write(f"out/checkpoints/a.{MARK}.npz", b"x")
    assert catalog.run("--on-existing", "error") == 0
    assert catalog.statuses() == ["ok"]


def test_a_pair_goes_on_with_its_snapshots(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nst_core.engine.checkpoints.MOST_TIME", math.inf)
    catalog.pairs(("a.png",))
    settings = ("steps=12", "snapshot_every=3", "animation=webp")
    options = ("--no-report", *(text for one in settings for text in ("--set", one)))
    assert catalog.run(*options) == 0
    kept = {name: data for name, data in catalog.files().items() if "out/" in name}
    for name in kept:
        os.remove(catalog.uri(name))

    real = checkpoints.Checkpoints.save

    def save_and_stop(self: Any, content: int, arrays: Any) -> None:
        real(self, content, arrays)
        if self._snapshots.files[0].last_step >= 3:
            raise storage.StorageError("The machine has gone.")

    monkeypatch.setattr(checkpoints.Checkpoints, "save", save_and_stop)
    assert catalog.run(*options, *OFTEN) == 1
    assert catalog.names("out/records") == set()
    monkeypatch.setattr(checkpoints.Checkpoints, "save", real)
    assert catalog.run(*options, *OFTEN) == 0
    assert catalog.records()["a"]["resumed_at_step"] >= 3
    after = catalog.files()
    for name, data in kept.items():
        if not name.startswith(("out/runs/", "out/records/", "out/losses/")):
            assert after[name] == data, name
    assert catalog.names("out/checkpoints") == set()
