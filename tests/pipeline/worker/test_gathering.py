"""Batches that fill a device, and several devices."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.errors import DeviceError, JobError, OutOfMemory
from pipeline import storage
from pipeline.records.tasks import Batch, Outcome
from pipeline.worker import engine_cache, work
from pipeline.worker.work import BatchWorker
from tests.pipeline.fake_engine import Engines, FakeEngine
from tests.pipeline.worker.bench import NAMES, SECONDS, Bench, all_good, wait_for


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

    def test_each_has_threads_that_read_and_write_for_it(
        self, bench: Bench, cards: tuple[FakeEngine, FakeEngine], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(work, "READING_THREADS", 1)
        monkeypatch.setattr(work, "WRITING_THREADS", 1)
        bench.worker.close()
        bench.worker = BatchWorker(bench.catalog.uri("out"), "run1", Engines(*cards))
        together = threading.Barrier(2)
        real = storage.create_bytes

        def create(*rest: Any) -> bool:
            together.wait(SECONDS)
            return real(*rest)

        monkeypatch.setattr(storage, "create_bytes", create)
        assert set(bench.run(bench.batches(8)).values()) == {"ok"}

    def test_two_batches_of_each_may_wait_to_be_written(
        self, bench: Bench, cards: tuple[FakeEngine, FakeEngine], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(work, "PAIRS_BESIDE", 2)
        real = storage.create_bytes

        def create(*rest: Any) -> bool:
            # Four wait for this, and a card has the next; of one card's, two or three would.
            wait_for(lambda: sum(len(card.asked) for card in cards) >= 5)
            return real(*rest)

        monkeypatch.setattr(storage, "create_bytes", create)
        assert set(bench.run(bench.batches(len(NAMES))).values()) == {"ok"}

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

    def test_what_one_card_has_in_work_while_another_stops_the_job_is_written(
        self, bench: Bench, cards: tuple[FakeEngine, FakeEngine]
    ) -> None:
        begun = threading.Event()

        def stops(_: list[str]) -> list[Any]:
            assert begun.wait(SECONDS)
            raise JobError("The device is gone; start it again.")

        def goes_on(names: list[str]) -> list[Any]:
            begun.set()
            wait_for(lambda: bench.worker._failure is not None)
            return all_good(names)

        cards[0].answer, cards[1].answer = stops, goes_on
        with pytest.raises(JobError, match="device is gone"):
            bench.run(bench.batches(2))
        ((name,),) = cards[1].asked
        assert bench.catalog.records().keys() == {name[0]}

    def test_what_no_card_has_memory_for_is_said_of_the_pair(
        self, bench: Bench, cards: tuple[FakeEngine, FakeEngine]
    ) -> None:
        for card in cards:
            card.answer = lambda names: [OutOfMemory("a.png is too large.") for _ in names]
        assert bench.run(bench.batches(4)) == dict.fromkeys("abcd", "out_of_memory")
        # Neither has failed with what the other has done: both stay.
        assert [len(card.asked) for card in cards] == [4, 4]

    def test_what_one_card_has_memory_for_no_other_does_again(
        self, bench: Bench, cards: tuple[FakeEngine, FakeEngine]
    ) -> None:
        for card in cards:
            card.answer = lambda names: [OutOfMemory("a.png is too large."), *all_good(names[1:])]
        several = Batch(tuple(task for one in bench.batches(2) for task in one.tasks))
        outcomes = [*bench.worker.process(several), *bench.worker.finish()]
        assert {one.id: one.status for one in outcomes} == {"a": "out_of_memory", "b": "ok"}
        assert sum(len(card.asked) for card in cards) == 1

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


def test_a_batch_gets_a_device_that_is_left_out_while_it_waits_for_that_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = "/GPU:0", "/GPU:1"
    monkeypatch.setattr(engine_cache, "devices_of", lambda _: (first, second))
    monkeypatch.setattr(engine_cache, "load_engine", lambda _, device: device)
    cache, config = engine_cache.EngineCache(), StyleConfig()
    taken: list[Any] = []

    def wait() -> None:
        with cache.lent(config, {first}) as engine:
            taken.append(engine)

    waiting = threading.Thread(target=wait, daemon=True)
    with cache.lent(config, {first}) as engine:
        assert engine == second
        waiting.start()
        for _ in range(engine_cache.MOST_FAILURES):
            cache.worked(first, {second})
        assert cache.devices(config) == [first]
    waiting.join(SECONDS)
    assert taken == [second]
