"""A manifest of several waves ends as one of a single wave does, and a run is one run over all."""

from __future__ import annotations

import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.scale import InstantEngines
from benchmarks.stand_in import StandIn
from pipeline import storage
from pipeline.console import watch
from pipeline.job import planning, waves

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

IN_ONE = 20_000


class Engines(InstantEngines):
    """Engines that tell when a batch is done, and how many caches of them there were."""

    caches = 0
    happened: Callable[[list[str]], None] | None = None

    def __init__(self) -> None:
        super().__init__()
        Engines.caches += 1

    def engine_for(self, _: Any, device: str | None = None) -> StandIn:  # noqa: ARG002
        """One that answers at once."""
        engine = StandIn()
        real = engine.stylize_batch

        def stylize_batch(*given: Any, names: list[str], **more: Any) -> Any:
            if Engines.happened:
                Engines.happened([name.rpartition("/")[2] for name in names])
            return real(*given, **more)

        engine.stylize_batch = stylize_batch  # type: ignore[method-assign]
        return engine


@pytest.fixture(autouse=True)
def small_waves(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Waves of five rows, and an engine that answers at once."""
    del catalog  # Its own engines give way to these.
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", Engines)
    monkeypatch.setattr(waves, "WAVE_ROWS", 5)
    Engines.caches, Engines.happened = 0, None
    yield
    Engines.happened = None


def simple(catalog: Catalog, count: int = 12) -> list[str]:
    """A manifest of so many good rows, `p01` and so on; their ids."""
    ids = [f"p{number:02d}" for number in range(1, count + 1)]
    catalog.pairs([f"{one}.png" for one in ids])
    return ids


def entangled(catalog: Catalog) -> list[str]:
    """23 rows that concern each other across waves of five; the statuses that they end with."""
    catalog.picture("s.png")
    rows: list[dict[str, str]] = []
    expected: list[str] = []

    def add(status: str, name: str | None = None, **more: str) -> None:
        content = f"c{len(rows) + 1}.png"
        catalog.picture(content)
        row = {"id": name or f"p{len(rows) + 1:02d}", "content": content, "style": "s.png"}
        rows.append({**row, "sku": f"A-{len(rows)}", **more})
        expected.append(status)

    add("ok", "first")
    add("ok", "a")
    add("options_invalid", "bad", **{"options.steps": "many"})
    add("manifest_invalid", "read")  # by row 17
    add("ok")
    add("duplicate_id", "first")
    add("duplicate_id", "a.png/b")  # beside a
    add("duplicate_id", "bad")
    add("input_not_found", content="none.png")
    add("ok", "c.png/d")
    add("duplicate_id", "a.png/b")  # though the one before it failed
    add("manifest_invalid", content="")
    add("ok", "A")
    add("duplicate_id", "c")  # beside c.png/d
    add("ok")
    add("ok")
    add("ok", content="out/images/read.png")
    add("duplicate_id", "first")
    add("duplicate_id", "c")
    add("options_invalid", "worse", **{"options.nothing": "1"})
    add("ok")
    add("duplicate_id", "worse")
    add("ok", "last")
    catalog.picture("out/images/read.png")
    catalog.manifest(rows)
    return expected


def outcome(catalog: Catalog) -> tuple[list[dict[str, Any]], list[dict[str, str]], dict[str, int]]:
    """What a run said: results and failures, in the manifest's order, and the summary's counts."""
    kept = ("row", "id", "status", "error", "columns", "image", "record", "fingerprint")
    results = [{key: one[key] for key in kept} for one in catalog.results()]
    failures = sorted(catalog.failures(), key=lambda row: int(row["sku"][2:]))
    return results, failures, catalog.summary()["statuses"]


@pytest.mark.parametrize("more", [(), ("--results-shards=3",), ("--on-existing=redo",)])
def test_many_waves_end_as_one_does(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, more: tuple[str, ...]
) -> None:
    expected = entangled(catalog)
    picture = catalog.read("out/images/read.png")
    found = []
    for rows in (5, 1, 7, IN_ONE):
        monkeypatch.setattr(waves, "WAVE_ROWS", rows)
        for _ in range(2):  # The second time, what can be done is done.
            assert catalog.run(*more) == 3
            found.append(outcome(catalog))
            assert catalog.read("out/images/read.png") == picture
        assert len(catalog.records()) == expected.count("ok")
        shutil.rmtree(catalog.uri("out"))
        catalog.write("out/images/read.png", picture)
    results, failures, counts = found[0]
    assert [one["row"] for one in results] == list(range(1, 24))
    assert [one["status"] for one in results] == expected
    assert counts == {status: expected.count(status) for status in sorted({*expected})}
    assert [row["status"] for row in failures] == [one for one in expected if one != "ok"]
    assert failures[2]["sku"] == "A-5"
    assert "of row 1;" in failures[2]["error"]
    assert found[2:] == found[:2] * 3
    again = "ok" if more == ("--on-existing=redo",) else "skipped"
    assert [one["status"] for one in found[1][0]] == [
        again if status == "ok" else status for status in expected
    ]


def test_parquet_results_and_json_lines_are_of_all_waves(catalog: Catalog) -> None:
    import pyarrow.parquet

    ids = simple(catalog)
    assert catalog.run("--results-format=parquet", "--results-shards=2") == 0
    found = [
        one["id"]
        for uri in catalog.summary()["results"]
        for one in pyarrow.parquet.read_table(io.BytesIO(storage.read_bytes(uri))).to_pylist()
    ]
    assert sorted(found) == ids


def test_several_manifests_are_one_in_the_order_of_their_names(catalog: Catalog) -> None:
    ids = simple(catalog, 8)
    rows = [{"id": one, "content": f"{one}.png", "style": "s.png"} for one in ids]
    catalog.manifest(rows[4:] + rows[:1], "in/b.jsonl")
    catalog.manifest(rows[:4], "in/a.jsonl")
    for name in (*ids, "s"):
        catalog.write(f"in/{name}.png", catalog.read(f"{name}.png"))
    assert catalog.run(manifest="in/*.jsonl") == 3
    assert sorted(one["id"] for one in catalog.results()) == sorted([*ids, ids[0]])
    (failure,) = catalog.failures()
    assert f"of row 1 of {catalog.uri('in/a.jsonl')}" in failure["error"]


def test_a_limit_is_of_the_whole_manifest(catalog: Catalog) -> None:
    simple(catalog)
    assert catalog.run("--limit=7") == 0
    assert catalog.statuses() == ["ok"] * 7 + ["postponed"] * 5
    os.remove(catalog.uri("out/images/p02.png"))
    assert catalog.run("--limit=3") == 0
    skipped = ["skipped"]
    assert catalog.statuses() == [*skipped, "ok", *skipped * 5, "ok", "ok", *["postponed"] * 3]
    assert catalog.run("--limit=100") == 0
    assert catalog.statuses() == skipped * 9 + ["ok"] * 3


def test_failures_are_counted_over_all_waves_and_what_is_done_stays_done(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = simple(catalog, 15)
    for name in ("p01", "p06", "p11"):
        os.remove(catalog.uri(f"{name}.png"))
    assert catalog.run("--max-failures=2") == 1
    assert "3 pairs have failed, more than --max-failures 2" in capsys.readouterr().err
    assert sorted(catalog.records()) == [one for one in ids[:10] if one not in ("p01", "p06")]
    assert [name for name in catalog.names("out/runs") if "spill-" in name] == []
    assert catalog.run("--max-failures=3") == 3
    assert catalog.summary()["statuses"] == {"input_not_found": 3, "ok": 4, "skipped": 8}


def test_a_share_of_failures_is_of_what_has_come_through_so_far(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.job.budget.LEAST_PAIRS", 10)
    simple(catalog, 15)
    for name in ("p05", "p10", "p14", "p15"):
        os.remove(catalog.uri(f"{name}.png"))
    # One of 5 counts as one of 10, two are of 10, three of 14, four of 15.
    assert catalog.run("--max-failures=22%") == 1
    assert "4 of 15 pairs have failed" in capsys.readouterr().err
    assert len(catalog.records()) == 8


def test_rows_that_are_no_pairs_stop_a_run_before_any_work(catalog: Catalog) -> None:
    ids = simple(catalog)
    rows: list[dict[str, str]] = [{"id": i, "content": f"{i}.png", "style": "s.png"} for i in ids]
    catalog.manifest([*rows, {"id": "x", "content": "", "style": ""}])
    assert catalog.run("--max-failures=0") == 1
    assert catalog.names("out/images") == set()


def test_a_run_that_bears_no_more_tells_of_the_rows_of_later_waves_too(catalog: Catalog) -> None:
    ids = simple(catalog)
    rows = [{"id": i, "content": f"{i}.png", "style": "s.png"} for i in ids]
    first, last = ({**rows[0], "id": name, "options.steps": "no"} for name in "wx")
    catalog.manifest([first, *rows, last])
    os.remove(catalog.uri("p07.png"))
    assert catalog.run("--max-failures=2") == 1
    assert sorted(row["id"] for row in catalog.failures()) == ["p07", "w", "x"]
    told = json.loads(catalog.read(f"{catalog.run_folder}/run.json"))
    assert (told["pairs"], told["failed"], told["done"] + told["left"]) == (14, 3, 11)


def test_an_id_of_the_last_wave_that_is_there_stops_a_run_before_any_work(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = simple(catalog)
    assert catalog.run("--on-existing=error") == 0
    assert catalog.statuses() == ["ok"] * len(ids)
    shutil.move(catalog.uri("out"), catalog.uri("was"))
    # Of no row's id, or of one that cannot be done.
    catalog.picture("out/images/other.png")
    catalog.picture("out/images/p12.jpg")
    rows = [{"id": i, "content": f"{i}.png", "style": "s.png"} for i in ids]
    rows[-1]["style"] = ""
    catalog.manifest(rows, "bad.csv")
    assert catalog.run("--on-existing=error", manifest="bad.csv") == 3
    assert catalog.statuses() == ["ok"] * 11 + ["manifest_invalid"]
    for name in ids[:11]:
        os.remove(catalog.uri(f"out/images/{name}.png"))
    shutil.rmtree(catalog.uri("out/records"))
    capsys.readouterr()
    assert catalog.run("--on-existing=error") == 1
    assert "'p12' already has a result" in capsys.readouterr().err
    assert catalog.names("out/images") == {"other.png", "p12.jpg"}


def test_a_failure_counts_once_where_all_waves_are_looked_through_before(catalog: Catalog) -> None:
    ids = simple(catalog)
    catalog.picture("out/images/p12.jpg")
    rows = [{"id": i, "content": f"{i}.png", "style": "s.png"} for i in (ids[0], *ids)]
    rows[-1]["options.steps"] = "no"
    catalog.manifest(rows)
    assert catalog.run("--on-existing=error", "--max-failures=2") == 3
    assert catalog.statuses() == ["ok", "duplicate_id", *["ok"] * 10, "options_invalid"]


def test_ids_are_kept_from_files_of_other_catalogs_in_every_wave(catalog: Catalog) -> None:
    ids = simple(catalog)
    catalog.picture("out/images/p11.png/x.png")
    assert catalog.run() == 3
    (failure,) = catalog.failures()
    assert (failure["id"], failure["status"]) == (ids[10], "duplicate_id")
    assert "of an earlier run" in failure["error"]


def test_where_the_disk_ignores_capitals_so_do_waves(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.storage.local.ignores_case", lambda _: True)
    ids = simple(catalog, 7)
    rows = [{"id": i, "content": f"{i}.png", "style": "s.png"} for i in ids]
    rows[6]["id"] = "P01"
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["ok"] * 6 + ["duplicate_id"]
    assert "row 1 with the id 'p01'" in catalog.failures()[0]["error"]


def test_the_first_pictures_are_there_before_the_last_wave_is_planned(catalog: Catalog) -> None:
    simple(catalog)
    seen: list[int] = []
    Engines.happened = lambda _: seen.append(len(catalog.names("out/records")))
    assert catalog.run("--batch-size=5") == 0
    assert seen == [0, 5, 10]


def test_the_network_is_loaded_once_for_all_waves_of_a_run(catalog: Catalog) -> None:
    simple(catalog)
    assert catalog.run() == 0
    assert Engines.caches == 1
    assert catalog.run("--on-existing=redo") == 0
    assert Engines.caches == 2


def test_a_manifest_that_changes_under_a_run_stops_it_and_what_is_added_waits(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = simple(catalog)
    whole = catalog.read("pairs.csv")

    def add(_: Any) -> None:
        catalog.write("pairs.csv", whole + b"p99,p01.png,s.png\n")

    Engines.happened = add
    assert catalog.run() == 0
    assert [one["id"] for one in catalog.results()] == ids
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped"] * 12 + ["ok"]

    def change(_: Any) -> None:
        catalog.write("pairs.csv", whole.replace(b"p12,", b"p10,"))

    catalog.write("pairs.csv", whole)
    Engines.happened = change
    assert catalog.run("--on-existing=redo") == 1
    assert "pairs.csv has changed since the run began" in capsys.readouterr().err


def test_what_is_left_is_of_the_whole_run(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.console.watch.SECONDS_PER_LINE", 0.0)

    def said(first: str, *more: str) -> str:
        capsys.readouterr()
        assert catalog.run("--batch-size=1", *more) == 0
        return next(line for line in capsys.readouterr().err.splitlines() if first in line)

    simple(catalog)
    assert " 11 left" in said(" 1 done")
    os.remove(catalog.uri("out/records/" + min(catalog.names("out/records"))))
    assert " 0 left" in said(" 1 done")
    assert " 11 left" in said(" 1 done", "--on-existing=redo")
    shutil.rmtree(catalog.uri("out"))
    assert " 6 left" in said(" 1 done", "--limit=7")


def test_pairs_are_left_before_the_headers_of_their_contents_are_read(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker, left, real = watch.Tracker(), [], planning.batch_key

    def batch_key(*given: Any, **more: Any) -> Any:
        left.append(tracker.left)
        return real(*given, **more)

    monkeypatch.setattr(watch, "Tracker", lambda _: tracker)
    monkeypatch.setattr(planning, "batch_key", batch_key)
    simple(catalog)
    os.remove(catalog.uri("p02.png"))
    assert catalog.run() == 3
    assert left == [12] * 5 + [7] * 5 + [2] * 2
    assert tracker.left == 0


def test_one_pipeline_does_a_manifest_of_one_wave_and_none_what_is_done(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    import apache_beam as beam

    runs: list[Any] = []
    real = beam.Pipeline.run
    monkeypatch.setattr(beam.Pipeline, "run", lambda *given: runs.append(1) or real(*given))
    simple(catalog, 5)
    assert catalog.run() == 0
    assert len(runs) == 1
    assert catalog.run() == 0
    assert len(runs) == 1


def test_nothing_is_left_in_the_temporary_folder(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "temporary"))
    simple(catalog)
    there: list[str] = []
    Engines.happened = lambda _: there.extend(os.listdir(tmp_path / "temporary"))
    assert catalog.run() == 0
    assert there == []
    (results,) = catalog.summary()["results"]
    assert len(list(map(json.loads, storage.read_bytes(results).splitlines()))) == 12
