"""Reading, optimising and writing beside each other: when each works, what an error does."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.decoding import decoder
from nst_core.errors import JobError
from pipeline import storage
from pipeline.records.tasks import Batch
from pipeline.worker import work
from tests.pipeline.worker.bench import NAMES, SECONDS, Bench, all_good, wait_for

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def test_two_batches_are_read_while_one_is_optimised_and_no_more(
    bench: Bench, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "PAIRS_BESIDE", 2)
    seen = []

    def answer(names: list[str]) -> list[Any]:
        # Those behind it are read meanwhile: it waits for that.
        first = NAMES.index(names[0][0])
        ahead = {f"{name}.png" for name in NAMES[first : first + 3] if name < "g"}
        wait_for(lambda: ahead <= {*read})
        seen.append({*read} - {"s.png"} == {f"{name}.png" for name in NAMES[: first + 3][:6]})
        return all_good(names)

    bench.answer = answer
    assert bench.run(bench.batches(6)) == dict.fromkeys("abcdef", "ok")
    assert seen == [True] * 6


def test_of_batches_of_one_pair_eight_are_read_while_one_is_optimised(
    bench: Bench, read: list[str]
) -> None:
    def answer(names: list[str]) -> list[Any]:
        wait_for(lambda: len({*read}) == 1 + len(NAMES))
        return all_good(names)

    bench.answer = answer
    assert bench.run(bench.batches(len(NAMES))) == dict.fromkeys(NAMES, "ok")


def test_what_was_optimised_is_written_while_the_next_is_optimised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    written: list[str] = []
    real = storage.create_bytes

    def create(uri: str, *rest: Any) -> bool:
        assert gate.wait(SECONDS)
        written.append(uri)
        return real(uri, *rest)

    monkeypatch.setattr(storage, "create_bytes", create)

    def answer(names: list[str]) -> list[Any]:
        if names == ["c.png"]:
            # Two batches wait to be written, and this one is on the device all the same.
            assert not written
            gate.set()
            wait_for(lambda: len(written) == 2)
        return all_good(names)

    bench.answer = answer
    assert bench.run(bench.batches(5)) == dict.fromkeys("abcde", "ok")
    assert bench.catalog.records().keys() == {*"abcde"}


def test_a_batch_that_waits_to_be_written_keeps_none_from_the_device(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "WRITING_THREADS", 1)
    bench = Bench(catalog)
    on_device = threading.Event()
    real = storage.create_bytes

    def create(*rest: Any) -> bool:
        assert on_device.wait(SECONDS)
        return real(*rest)

    def answer(names: list[str]) -> list[Any]:
        if names == ["b.png"]:
            on_device.set()
        return all_good(names)

    monkeypatch.setattr(storage, "create_bytes", create)
    bench.answer = answer
    assert bench.run(bench.batches(2)) == dict.fromkeys("ab", "ok")
    bench.worker.close()


def test_no_more_than_two_batches_wait_to_be_written(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "PAIRS_BESIDE", 2)
    writing = optimised = 0
    lock = threading.Lock()
    real = storage.create_bytes

    def create(uri: str, *rest: Any) -> bool:
        nonlocal writing
        done = real(uri, *rest)
        time.sleep(0.05)
        with lock:
            writing += 1
        return done

    def answer(names: list[str]) -> list[Any]:
        nonlocal optimised
        with lock:
            assert optimised - writing <= 2
            optimised += 1
        return all_good(names)

    monkeypatch.setattr(storage, "create_bytes", create)
    bench.answer = answer
    assert bench.run(bench.batches(len(NAMES))) == dict.fromkeys(NAMES, "ok")


def test_a_large_result_is_written_before_the_next_is_optimised(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BYTES_BESIDE", 1)
    written: list[str] = []
    waiting: list[int] = []
    real = storage.create_bytes

    def create(uri: str, *rest: Any) -> bool:
        time.sleep(0.05)
        written.append(uri)
        return real(uri, *rest)

    def answer(names: list[str]) -> list[Any]:
        waiting.append(NAMES.index(names[0][0]) - len(written))
        return all_good(names)

    monkeypatch.setattr(storage, "create_bytes", create)
    bench.answer = answer
    assert bench.run(bench.batches(4)) == dict.fromkeys("abcd", "ok")
    assert waiting == [0] * 4


def test_of_large_pictures_one_batch_is_read_ahead_and_no_more(
    bench: Bench, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BYTES_BESIDE", 1)
    most = 0

    def answer(names: list[str]) -> list[Any]:
        nonlocal most
        first = NAMES.index(names[0][0])
        wait_for(lambda: first == 3 or f"{NAMES[first + 1]}.png" in read)
        time.sleep(0.1)  # So that more would be.
        most = max(most, len({*read} - {"s.png"}) - first)
        return all_good(names)

    bench.answer = answer
    batches = bench.batches(4)
    # Once its pixels are there, the next batch has to wait for them.
    statuses: dict[str, str] = {}
    for batch in batches:
        ended = list(bench.worker.process(batch))
        wait_for(lambda: all(one.done() for r in bench.worker._reading for one in r.found))
        ended += bench.worker.process(Batch(()))
        statuses |= {str(outcome.id): outcome.status for outcome in ended}
    statuses |= {str(outcome.id): outcome.status for outcome in bench.worker.finish()}
    assert statuses == dict.fromkeys("abcd", "ok")
    assert most == 2


def test_one_bad_image_among_those_read_ahead_fails_alone(bench: Bench) -> None:
    batches = bench.batches(5)
    bench.catalog.write("c.png", b"no image")
    assert bench.run(batches) == {**dict.fromkeys("abde", "ok"), "c": "input_unreadable"}


def test_a_decoder_that_dies_while_the_next_batch_is_read_loses_nothing(bench: Bench) -> None:
    killed = 0

    def answer(names: list[str]) -> list[Any]:
        nonlocal killed
        for pid in decoder().pids:
            os.kill(pid, signal.SIGKILL)
            killed += 1
        return all_good(names)

    bench.answer = answer
    assert bench.run(bench.batches(len(NAMES))) == dict.fromkeys(NAMES, "ok")
    assert killed


def test_what_goes_wrong_while_writing_stops_the_batch_on_the_device(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.write_bytes
    on_device = threading.Event()

    def full(uri: str, *rest: Any) -> None:
        if "/images/a." in uri:
            assert on_device.wait(SECONDS)
            raise storage.StorageError("The disk is full; free space.")
        real(uri, *rest)

    monkeypatch.setattr(storage, "write_bytes", full)

    def answer(names: list[str]) -> list[Any]:
        if names == ["a.png"]:
            return all_good(names)
        on_device.set()
        return bench.long_steps(names)

    bench.answer = answer
    with pytest.raises(JobError, match="disk is full"):
        bench.run(bench.batches(6))
    # No other was begun, and nothing half-written is there.
    assert bench.engine.asked == [["a.png"], ["b.png"]]
    assert bench.catalog.names("out") == set()


def test_what_goes_wrong_while_reading_stops_the_batch_on_the_device(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = storage.read_version

    def refused(uri: str, **more: Any) -> tuple[bytes, storage.Version]:
        if uri.endswith("c.png"):
            raise storage.StorageError("The storage is gone; try again later.")
        return real(uri, **more)

    monkeypatch.setattr(storage, "read_version", refused)

    bench.answer = bench.long_steps
    with pytest.raises(JobError, match="storage is gone"):
        bench.run(bench.batches(6))
    assert bench.engine.asked == [["a.png"]]


def test_what_was_optimised_before_an_error_is_written(bench: Bench) -> None:
    def answer(names: list[str]) -> list[Any]:
        if names == ["c.png"]:
            raise JobError("The device is gone; start it again.")
        return all_good(names)

    bench.answer = answer
    with pytest.raises(JobError, match="device is gone"):
        bench.run(bench.batches(6))
    assert bench.catalog.records().keys() == {"a", "b"}
