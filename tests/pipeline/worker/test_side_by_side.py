"""Reading, optimising and writing beside each other: when each works, what an error does."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.decoding import decoder
from nst_core.errors import DeviceError, JobError, OutOfMemory
from nst_core.imaging.images import Picture
from nst_core.results import Progress
from pipeline import storage
from pipeline.job import planning
from pipeline.manifest.columns import Row
from pipeline.records.identities import Identity
from pipeline.records.tasks import Batch, Outcome, Task
from pipeline.worker import work
from pipeline.worker.inputs import ReadImage
from pipeline.worker.picture_cache import PictureCache
from pipeline.worker.work import BatchWorker
from tests.pipeline.fake_engine import Engines, FakeEngine, result

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

CONFIG = StyleConfig(weights="procedural", image_size=64, scales=(1,), steps=2)
NAMES = "abcdefghi"
SECONDS = 60.0


def all_good(names: list[str]) -> list[Any]:
    """One result for each."""
    return [result() for _ in names]


class Bench:
    """A worker whose engine answers as told, and batches of one pair each."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.answer: Callable[[list[str]], list[Any]] = all_good
        self.engine = FakeEngine(lambda names: self.answer(names))
        self.worker = BatchWorker(catalog.uri("out"), "run1", Engines(self.engine))

    def batches(self, count: int, **columns: Any) -> list[Batch]:
        """Batches of the pictures a, b, … with changes to their rows, each with its own files."""
        self.catalog.picture("s.png")
        found = []
        for number, name in enumerate(NAMES[:count], start=1):
            self.catalog.picture(f"{name}.png")
            cells = {"id": name, "content": f"{name}.png", "style": "s.png"}
            cells |= {key: value.format(name=name) for key, value in columns.items()}
            uri = self.catalog.uri("pairs.csv")
            task = planning.plan_row(Row(number, cells), uri, CONFIG, ("file",))
            assert isinstance(task, Task)
            found.append(Batch((task,)))
        return found

    def long_steps(self, names: list[str]) -> list[Any]:
        """An answer that takes long, and tells of its steps meanwhile."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            self.engine.given["progress"](Progress(1, 2, 1.0, (3.0,)))
            time.sleep(0.005)
        return all_good(names)

    def run(self, batches: list[Batch]) -> dict[str, str]:
        """The status of every pair, by id, each once."""
        outcomes: list[Outcome] = []
        for batch in batches:
            outcomes += self.worker.process(batch)
        outcomes += self.worker.finish()
        statuses = {str(outcome.id): outcome.status for outcome in outcomes}
        assert len(statuses) == len(outcomes) == len(batches)
        return statuses


@pytest.fixture
def bench(catalog: Catalog) -> Iterator[Bench]:
    one = Bench(catalog)
    yield one
    one.worker.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from here on, by name."""
    found: list[str] = []
    real = storage.read_version

    def note(uri: str, **more: Any) -> tuple[bytes, storage.Version]:
        found.append(uri.rpartition("/")[2])
        return real(uri, **more)

    monkeypatch.setattr(storage, "read_version", note)
    return found


def read_image() -> ReadImage:
    """A picture that was read."""
    picture = Picture(result().image.astype("uint8"), None)
    return ReadImage(picture, Identity("/c/a.png", 3, "modified:1", "", ""))


def wait_for(condition: Callable[[], Any]) -> None:
    """Until it holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


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


def test_of_large_pictures_one_batch_is_read_ahead_and_no_more(
    bench: Bench, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "BYTES_BESIDE", 1)
    most = 0

    def answer(names: list[str]) -> list[Any]:
        nonlocal most
        most = max(most, len({*read} - {"s.png"}) - NAMES.index(names[0][0]))
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


class TestShared:
    """What several pairs have in common."""

    def test_a_content_of_many_styles_and_a_style_of_many_contents_are_read_once(
        self, bench: Bench, read: list[str]
    ) -> None:
        assert bench.run(bench.batches(6)) == dict.fromkeys("abcdef", "ok")
        assert sorted(read) == [*(f"{name}.png" for name in "abcdef"), "s.png"]
        read.clear()
        bench.catalog.picture("one.png")
        batches = bench.batches(6, id="{name}2", content="one.png", style="{name}.png")
        assert set(bench.run(batches).values()) == {"ok"}
        assert read.count("one.png") == 1

    def test_a_style_that_cannot_be_read_is_tried_once_and_before_any_content(
        self, bench: Bench, read: list[str]
    ) -> None:
        batches = bench.batches(6, style="none.png")
        assert bench.run(batches) == dict.fromkeys("abcdef", "input_not_found")
        assert read == ["none.png"]
        assert bench.engine.asked == []


class TestPictureCache:
    def test_it_keeps_what_was_wanted_last_up_to_its_bytes(self) -> None:
        picture = read_image()
        cache = PictureCache(3 * picture.picture.rgb.nbytes)
        read: list[str] = []

        def get(key: str) -> None:
            cache.get(key, lambda: read.append(key) or picture)  # type: ignore[func-returns-value]

        for key in "abcabcdbcda":
            get(key)
        assert "".join(read) == "abcda"

    def test_the_job_s_trouble_is_not_remembered(self) -> None:
        cache = PictureCache()

        def fail() -> Any:
            raise JobError("The network is away; wait.")

        picture = read_image()
        with pytest.raises(JobError):
            cache.get("a", fail)
        assert cache.get("a", lambda: picture) is picture


class TestGathering:
    """Batches that fill a device, of several that came one by one."""

    def keyed(self, bench: Bench, keys: str) -> list[Batch]:
        """Batches of one pair each, with these keys."""
        return [
            Batch(one.tasks, key, Size(64, 64))
            for key, one in zip(keys, bench.batches(len(keys)), strict=True)
        ]

    def asked(self, bench: Bench) -> list[str]:
        """The names of the pairs of each batch that the engine was given."""
        return ["".join(name[0] for name in names) for names in bench.engine.asked]

    def test_a_device_is_given_as_many_pairs_of_one_key_as_pay_there(self, bench: Bench) -> None:
        bench.engine.size = 2
        assert bench.run(self.keyed(bench, "xyxyxyzxy")) == dict.fromkeys(NAMES, "ok")
        # The first two that fill it; the rest is what is left.
        assert self.asked(bench)[:4] == ["ac", "bd", "eh", "fi"]
        assert sorted(self.asked(bench)[4:]) == ["g"]

    def test_no_more_than_was_asked_for(self, bench: Bench) -> None:
        bench.engine.size, bench.worker.most = 8, 3
        assert set(bench.run(self.keyed(bench, "xxxxxxxx")).values()) == {"ok"}
        assert self.asked(bench) == ["abc", "def", "gh"]

    def test_what_fills_no_device_goes_there_once_much_is_read(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(work, "BATCHES_GATHERED", 2)
        bench.engine.size = 3
        batches = self.keyed(bench, "vwxxyz")
        outcomes: list[Outcome] = []
        for batch in batches:
            outcomes += bench.worker.process(batch)
        # Six pairs are there, of five keys, and none fills it: the most of one key have begun.
        wait_for(lambda: bench.engine.asked)
        assert self.asked(bench) == ["cd"]
        outcomes += bench.worker.finish()
        assert sorted(str(one.id) for one in outcomes) == [*"abcdef"]

    def test_batches_without_a_key_are_never_one(self, bench: Bench) -> None:
        bench.engine.size = 4
        assert set(bench.run(bench.batches(3)).values()) == {"ok"}
        assert self.asked(bench) == ["a", "b", "c"]


class TestSeveralDevices:
    """Each with a queue of its own; what one cannot do another tries."""

    @pytest.fixture
    def cards(self, bench: Bench) -> tuple[FakeEngine, FakeEngine]:
        """Two of them instead of the one."""
        one, other = FakeEngine(all_good), FakeEngine(all_good)
        one.device, other.device = "/GPU:0", "/GPU:1"
        bench.worker.close()
        bench.worker = BatchWorker(bench.catalog.uri("out"), "run1", Engines(one, other))
        return one, other

    def test_both_work_at_once(self, bench: Bench, cards: tuple[FakeEngine, FakeEngine]) -> None:
        together = threading.Barrier(2)

        def answer(names: list[str]) -> list[Any]:
            together.wait(SECONDS)
            return all_good(names)

        for card in cards:
            card.answer = answer
        assert set(bench.run(bench.batches(8)).values()) == {"ok"}
        assert [len(card.asked) for card in cards] == [4, 4]

    def test_a_card_that_fails_costs_its_batches_another_try_and_is_left_out(
        self,
        bench: Bench,
        cards: tuple[FakeEngine, FakeEngine],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        def lost(_: list[str]) -> list[Any]:
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

        cards[0].answer = lost
        assert bench.run(bench.batches(len(NAMES))) == dict.fromkeys(NAMES, "ok")
        assert 2 <= len(cards[0].asked) <= 3
        assert len(cards[1].asked) == len(NAMES)
        assert "GPU:0 has failed with 2 batches that others have done" in caplog.text

    def test_what_no_card_has_memory_for_is_said_of_the_pair(
        self, bench: Bench, cards: tuple[FakeEngine, FakeEngine]
    ) -> None:
        for card in cards:
            card.answer = lambda names: [OutOfMemory("a.png is too large.") for _ in names]
        assert bench.run(bench.batches(1)) == {"a": "out_of_memory"}
        assert [len(card.asked) for card in cards] == [1, 1]

    def test_a_pair_that_fails_everywhere_fails_alone(
        self, bench: Bench, cards: tuple[FakeEngine, FakeEngine]
    ) -> None:
        def answer(names: list[str]) -> list[Any]:
            if names == ["c.png"]:
                raise RuntimeError("nobody foresaw this")
            return all_good(names)

        for card in cards:
            card.answer = answer
        expected = {**dict.fromkeys("abdef", "ok"), "c": "internal"}
        assert bench.run(bench.batches(6)) == expected

    def test_the_last_card_that_computes_nothing_any_more_stops_the_job(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(_: list[str]) -> list[Any]:
            raise RuntimeError("CUDA_ERROR_ILLEGAL_ADDRESS")

        bench.answer = lost
        monkeypatch.setattr(bench.engine, "works", lambda: False)
        with pytest.raises(DeviceError, match="fake does not compute any more"):
            bench.run(bench.batches(3))
        assert bench.catalog.records() == {}
