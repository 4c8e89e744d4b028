"""The work on one batch, with an engine that is told what to answer."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nst_core.config import StyleConfig
from nst_core.errors import Diverged, JobError, WeightsError
from nst_core.imaging import encoding
from nst_core.results import Progress
from pipeline import storage
from pipeline.console import events
from pipeline.job import planning
from pipeline.job.options import RunOptions
from pipeline.manifest.columns import Row
from pipeline.records import records
from pipeline.records.tasks import Batch, Outcome, Task
from pipeline.worker import work
from pipeline.worker.work import BatchWorker
from tests.pipeline.fake_engine import Engines, FakeEngine, result

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

CONFIG = StyleConfig(weights="procedural", image_size=64, scales=(1,), steps=2)


def all_good(names: list[str]) -> list[Any]:
    """One result for each."""
    return [result() for _ in names]


@pytest.fixture
def prepare(catalog: Catalog) -> Iterator[Callable[..., tuple[BatchWorker, FakeEngine, Batch]]]:
    """A worker, its engine, and a batch of the pictures a, b, … with changes to their row."""
    studios = []

    def make(
        answer: Callable[[list[str]], list[Any]] = all_good,
        count: int = 2,
        run: str = "run1",
        since: str = "",
        **columns: Any,
    ) -> tuple[BatchWorker, FakeEngine, Batch]:
        catalog.picture("s.png")
        rows = []
        for number in range(1, count + 1):
            name = "abcdef"[number - 1]
            catalog.picture(f"{name}.png")
            cells = {"id": name, "content": f"{name}.png", "style": "s.png", **columns}
            rows.append(Row(number, cells))
        uri = catalog.uri("pairs.csv")
        options = RunOptions(uri, "/out", CONFIG)
        tasks = [planning.plan_row(row, uri, options) for row in rows]
        engine = FakeEngine(answer)
        worker = BatchWorker(catalog.uri("out"), run, Engines(engine), since=since)
        studios.append(worker)
        return worker, engine, Batch(tuple(t for t in tasks if isinstance(t, Task)))

    yield make
    for worker in studios:
        worker.close()


Prepare = Callable[..., tuple[BatchWorker, FakeEngine, Batch]]


def outcomes_of(worker: BatchWorker, *batches: Batch) -> list[Outcome]:
    """Everything that becomes of batches."""
    found = [outcome for batch in batches for outcome in worker.process(batch)]
    return [*found, *worker.finish()]


def ended(worker: BatchWorker, batch: Batch) -> dict[str, str]:
    """The status of each pair, by id."""
    outcomes = outcomes_of(worker, batch)
    statuses = {str(outcome.id): outcome.status for outcome in outcomes}
    assert len(statuses) == len(outcomes) == len(batch.tasks)
    return statuses


def test_a_batch_is_optimised_together_and_every_pair_written(
    prepare: Prepare, catalog: Catalog
) -> None:
    worker, engine, batch = prepare(count=3)
    assert ended(worker, batch) == dict.fromkeys("abc", "ok")
    assert engine.asked == [["a.png", "b.png", "c.png"]]
    assert catalog.names("out/images") == {"a.png", "b.png", "c.png"}
    assert catalog.names("out/losses") == {"a.csv", "b.csv", "c.csv"}
    assert catalog.records().keys() == {"a", "b", "c"}


def test_image_and_loss_log_are_there_before_the_record(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    for name in ("write_bytes", "create_bytes"):
        real = getattr(storage, name)

        def note(uri: str, *rest: Any, real: Any = real) -> Any:
            written.append(uri.rpartition("/out/")[2].partition("/")[0])
            return real(uri, *rest)

        monkeypatch.setattr(storage, name, note)
    worker, _, batch = prepare(count=1)
    assert ended(worker, batch) == {"a": "ok"}
    assert written[-1] == "records"
    assert {"images", "losses", "thumbnails", "source_thumbnails"} <= {*written[:-1]}


def test_stale_records_are_gone_before_the_new_image_is_there(
    prepare: Prepare, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = catalog.write("out/records/a.0123456789abcdef.json", b"{}")
    worker, _, batch = prepare(count=1)
    task = dataclasses.replace(batch.tasks[0], stale_records=(old,))
    real = storage.write_bytes

    def check(uri: str, *rest: Any) -> None:
        assert not storage.exists(old)
        real(uri, *rest)

    monkeypatch.setattr(storage, "write_bytes", check)
    assert ended(worker, Batch((task,))) == {"a": "ok"}
    assert len(catalog.names("out/records")) == 1


def test_one_diverged_pair_does_not_fail_its_batch(prepare: Prepare, catalog: Catalog) -> None:
    def answer(names: list[str]) -> list[Any]:
        return [Diverged(f"{n} ran away.") if n == "b.png" else result() for n in names]

    worker, _, batch = prepare(answer, count=3)
    assert ended(worker, batch) == {"a": "ok", "b": "diverged", "c": "ok"}
    assert catalog.records().keys() == {"a", "c"}
    assert catalog.names("out/images") == {"a.png", "c.png"}


def test_an_error_nobody_foresaw_fails_only_the_pair_it_belongs_to(
    prepare: Prepare, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(names: list[str]) -> list[Any]:
        if "b.png" in names:
            raise ZeroDivisionError("of all things")
        return all_good(names)

    worker, engine, batch = prepare(answer, count=3)
    outcomes = {outcome.id: outcome for outcome in outcomes_of(worker, batch)}
    assert {key: one.status for key, one in outcomes.items()} == {
        "a": "ok",
        "b": "internal",
        "c": "ok",
    }
    assert "ZeroDivisionError (of all things)" in str(outcomes["b"].error)
    assert "Traceback" in caplog.text
    assert engine.asked == [["a.png", "b.png", "c.png"], ["a.png"], ["b.png"], ["c.png"]]


def test_pairs_that_are_tried_alone_go_on_from_their_checkpoints_and_leave_none(
    prepare: Prepare, catalog: Catalog
) -> None:
    found: list[list[bool]] = []

    def answer(names: list[str]) -> list[Any]:
        found.append([arrays is not None for arrays in engine.given["checkpoints"]])
        for index in range(len(names)):
            engine.given["save"](index, {"steps": np.zeros(3)}.items())
        raise ZeroDivisionError("of all things")

    worker, engine, batch = prepare(answer, **{"options.checkpoint_seconds": "1"})
    assert ended(worker, batch) == dict.fromkeys("ab", "internal")
    assert found == [[False, False], [True], [True]]
    assert catalog.names("out/checkpoints") == set()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (None, "input_not_found"),
        (b"text", "input_unreadable"),
    ],
)
def test_an_unusable_content_fails_alone(
    prepare: Prepare, catalog: Catalog, data: bytes | None, status: str
) -> None:
    worker, engine, batch = prepare()
    storage.delete(catalog.uri("b.png"))
    if data:
        catalog.write("b.png", data)
    assert ended(worker, batch) == {"a": "ok", "b": status}
    assert engine.asked == [["a.png"]]


def test_an_unusable_style_fails_all_that_want_it_and_loads_no_network(
    prepare: Prepare, catalog: Catalog
) -> None:
    worker, engine, batch = prepare()
    storage.delete(catalog.uri("s.png"))
    assert ended(worker, batch) == {"a": "input_not_found", "b": "input_not_found"}
    assert engine.asked == []


def test_trouble_that_is_not_the_pair_s_stops_the_job(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise storage.StorageError("The disk is full; free space.")

    worker, _, batch = prepare()
    monkeypatch.setattr(storage, "write_bytes", full)
    with pytest.raises(JobError, match="disk is full"):
        outcomes_of(worker, batch)


def test_weights_that_a_row_brought_fail_the_row_and_the_job_s_own_the_job(
    prepare: Prepare, catalog: Catalog
) -> None:
    def refuse(*_: Any) -> Any:
        raise WeightsError("The weights are damaged; fetch them anew.")

    worker, _, batch = prepare()
    worker.engines.engine_for = refuse  # type: ignore[method-assign]
    with pytest.raises(WeightsError, match="damaged"):
        outcomes_of(worker, batch)
    catalog.write("own.h5", b"damaged")
    worker, _, batch = prepare(**{"options.weights": "own.h5"})
    worker.engines.engine_for = refuse  # type: ignore[method-assign]
    assert ended(worker, batch) == {"a": "options_invalid", "b": "options_invalid"}


def test_a_bundle_tried_again_finds_what_its_first_try_had_finished(
    prepare: Prepare, catalog: Catalog
) -> None:
    worker, _, batch = prepare()
    first = {outcome.id: outcome for outcome in outcomes_of(worker, batch)}
    before = catalog.files()
    again, engine, _ = prepare()
    second = {outcome.id: outcome for outcome in outcomes_of(again, batch)}
    assert engine.asked == []
    assert second == first
    assert catalog.files() == before


def test_what_another_run_has_done_since_the_planning_is_skipped(prepare: Prepare) -> None:
    other, _, batch = prepare(count=2, run="run0")
    assert ended(other, Batch(batch.tasks[:1])) == {"a": "ok"}
    worker, engine, _ = prepare(count=2)
    assert ended(worker, batch) == {"a": "skipped", "b": "ok"}
    assert engine.asked == [["b.png"]]


def test_what_is_to_be_redone_is_done_though_its_record_is_there(
    prepare: Prepare, catalog: Catalog
) -> None:
    other, _, batch = prepare(count=1, run="run0")
    assert ended(other, batch) == {"a": "ok"}
    (record,) = catalog.names("out/records")
    stale = (catalog.uri(f"out/records/{record}"),)
    again = Batch((dataclasses.replace(batch.tasks[0], stale_records=stale),))
    worker, engine, _ = prepare(lambda _: [result(10.0)], count=1)
    assert ended(worker, again) == {"a": "ok"}
    assert engine.asked == [["a.png"]]
    assert catalog.records()["a"]["run"] == "run1"
    assert catalog.pixels("a.png").max() == 10
    # Once: where Beam tries its bundle again, the run's own record has the same name.
    worker, engine, _ = prepare(count=1)
    assert ended(worker, again) == {"a": "ok"}
    assert engine.asked == []


def test_another_try_of_a_run_redoes_what_its_first_one_had_done_before_it_was_planned(
    prepare: Prepare, catalog: Catalog
) -> None:
    begun = records.now()
    first, _, batch = prepare(count=1)
    assert ended(first, batch) == {"a": "ok"}
    (record,) = catalog.names("out/records")
    stale = (catalog.uri(f"out/records/{record}"),)
    again = Batch((dataclasses.replace(batch.tasks[0], stale_records=stale),))
    for since, asked in ((begun, []), (records.now(), [["a.png"]])):
        worker, engine, _ = prepare(count=1, since=since)
        assert ended(worker, again) == {"a": "ok"}
        assert engine.asked == asked


def test_a_record_is_no_proof_without_its_image_or_if_it_is_broken(
    prepare: Prepare, catalog: Catalog
) -> None:
    other, _, batch = prepare(count=2, run="run0")
    ended(other, batch)
    storage.delete(catalog.uri("out/images/a.png"))
    (name,) = (name for name in catalog.names("out/records") if name.startswith("b."))
    record = catalog.uri(f"out/records/{name}")
    storage.write_bytes(record, b'{"id"', "application/json")
    worker, engine, _ = prepare(count=2)
    assert ended(worker, batch) == {"a": "ok", "b": "ok"}
    assert engine.asked == [["a.png", "b.png"]]
    assert catalog.names("out/images") == {"a.png", "b.png"}
    assert {record["run"] for record in catalog.records().values()} == {"run1"}


@pytest.mark.parametrize("place", ["local", "gs"])
def test_of_two_runs_that_finish_a_pair_at_once_one_takes_the_result_of_the_other(
    prepare: Prepare,
    catalog: Catalog,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    if place == "gs":
        catalog.root = request.getfixturevalue("bad_bucket").uri("catalog")
    both, create = threading.Barrier(2), storage.create_bytes

    def create_together(*arguments: Any) -> bool:
        both.wait()
        return create(*arguments)

    monkeypatch.setattr(storage, "create_bytes", create_together)
    studios = [prepare(count=1, run=run) for run in ("run0", "run1")]
    with ThreadPoolExecutor() as threads:
        ends = list(threads.map(lambda one: ended(one[0], one[2])["a"], studios))
    assert sorted(ends) == ["ok", "skipped"]
    assert catalog.records()["a"]["run"] == f"run{ends.index('ok')}"


def test_a_run_that_was_overtaken_replaces_nothing(prepare: Prepare, catalog: Catalog) -> None:
    other, _, batch = prepare(lambda _: [result(10.0)], count=1, run="run0")

    def overtaken(_: list[str]) -> list[Any]:
        assert ended(other, batch) == {"a": "ok"}
        return [result(90.0)]

    worker, _, _ = prepare(overtaken, count=1)
    assert ended(worker, batch) == {"a": "skipped"}
    assert catalog.pixels("a.png").max() == 10
    assert catalog.records()["a"]["run"] == "run0"


def test_a_style_is_read_once_for_all_batches(prepare: Prepare, catalog: Catalog) -> None:
    worker, _, batch = prepare(count=2)
    ended(worker, Batch(batch.tasks[:1]))
    storage.delete(catalog.uri("s.png"))
    assert ended(worker, Batch(batch.tasks[1:])) == {"b": "ok"}


def test_the_start_that_a_row_names_is_read_and_given(prepare: Prepare, catalog: Catalog) -> None:
    catalog.picture("start.png", (20, 30))
    worker, engine, batch = prepare(**{"options.init": "start.png"})
    assert ended(worker, batch) == {"a": "ok", "b": "ok"}
    assert [start.shape for start in engine.given["inits"]] == [(30, 20, 3), (30, 20, 3)]
    worker, engine, batch = prepare(**{"options.init": "none.png"})
    assert ended(worker, batch) == {"a": "input_not_found", "b": "input_not_found"}


def test_each_content_brings_its_own_masks_and_what_stays(
    prepare: Prepare, catalog: Catalog
) -> None:
    catalog.grey("left.png", [[255, 0]])
    catalog.grey("face.png", [[0], [255]])
    styles = [{"uri": "s.png", "mask": "left.png"}, "s.png"]
    worker, engine, batch = prepare(style=styles, **{"options.keep": "face.png"})
    plain = dataclasses.replace(
        batch.tasks[1].pair,
        styles=tuple(one._replace(mask=None) for one in batch.tasks[1].pair.styles),
    )
    second = dataclasses.replace(batch.tasks[1], pair=plain, config=CONFIG)
    assert ended(worker, Batch((batch.tasks[0], second))) == {"a": "ok", "b": "ok"}
    (first, none), (keep, no_keep) = engine.given["masks"], engine.given["keeps"]
    assert first[0][:, :20].min() == 1
    assert first[0][:, -20:].max() == 0
    assert (first[1], none, no_keep) == (None, (None, None), None)
    assert keep[:10].max() == 0
    assert keep[-10:].min() == 1
    record = catalog.records()["a"]
    assert record["sources"]["styles"][0]["mask"] == catalog.uri("left.png")
    assert record["config"]["keep"] == catalog.uri("face.png")
    assert "mask" not in catalog.records()["b"]["sources"]["styles"][0]


def test_counters_tell_pairs_bytes_batches_style_passes_and_times(
    prepare: Prepare, catalog: Catalog
) -> None:
    worker, _, batch = prepare()
    ended(worker, batch)
    entries = list(worker.tally.take())
    counts: dict[str, int] = {}
    for name, amount, is_distribution in entries:
        if not is_distribution:
            counts[name] = counts.get(name, 0) + amount
    read = sum(len(catalog.read(name)) for name in ("a.png", "b.png", "s.png"))
    folders = ("images", "losses", "records")
    files = [f"out/{folder}/{n}" for folder in folders for n in catalog.names(f"out/{folder}")]
    assert counts == {
        "pairs_ok": 2,
        "batches": 1,
        "style_passes": 1,
        "bytes_read": read,
        "bytes_written": sum(len(catalog.read(name)) for name in files),
    }
    measured = {name for name, _, is_distribution in entries if is_distribution}
    assert measured == {
        "steps",
        "read_milliseconds",
        "optimize_milliseconds",
        "write_milliseconds",
    }
    assert ("optimize_milliseconds", round(1000 * result().seconds), True) in entries
    assert list(worker.tally.take()) == []


def test_whoever_watches_hears_of_steps_and_ends(prepare: Prepare) -> None:
    heard: list[Any] = []
    events.listen(heard.append)
    try:
        worker, _, batch = prepare(count=1)
        (outcome,) = outcomes_of(worker, batch)
    finally:
        events.listen(None)
    assert heard == [
        events.PairBegun("a"),
        events.Steps("a", Progress(1, 2, 1.0, (3.0,))),
        events.PairEnded(outcome, True, was_begun=True),
    ]


def test_a_record_says_how_its_image_was_made(prepare: Prepare, catalog: Catalog) -> None:
    worker, _, batch = prepare(count=1, price="9")
    (outcome,) = outcomes_of(worker, batch)
    record = catalog.records()["a"]
    assert outcome.details["record"].endswith(f"/a.{record['fingerprint']}.json")
    assert record["columns"] == outcome.columns == {"price": "9"}
    assert record["weights"] == {"name": "procedural", "sha256": "ab" * 32}
    assert record["canvas"] == {"width": 64, "height": 64}
    assert (record["width"], record["height"], record["steps"]) == (64, 48, 2)
    assert record["terms"]["first"]["total"] == 6.0
    assert record["terms"]["final"]["total"] == outcome.details["total"] == 4.0
    assert record["seconds"].keys() == {"read", "optimize", "write"}
    assert record["quality"] == {"gram_errors": {"block1_conv1": 0.25}, "ssim": 0.75}
    assert record["device"] == "fake"


def test_a_picture_says_what_it_is(prepare: Prepare, catalog: Catalog) -> None:
    worker, _, batch = prepare(count=1)
    ended(worker, batch)
    metadata = encoding.read_metadata(catalog.read("out/images/a.png"))
    assert metadata["nst:id"] == "a"
    assert metadata["nst:fingerprint"] == catalog.records()["a"]["fingerprint"]
    assert json.loads(metadata["nst:sources"]) == {
        "content": "a.png",
        "styles": [{"uri": "s.png", "weight": 1.0}],
    }


def test_an_unforeseen_error_is_one_line_however_long_its_message() -> None:
    error = work.unforeseen(ValueError("a\nb" + "x" * 5000))
    assert "\n" not in str(error)
    assert len(str(error)) < 700
