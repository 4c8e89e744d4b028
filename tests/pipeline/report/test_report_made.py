"""`nst report` and the end of `nst run`: what is written, what stays, what a mark does."""

from __future__ import annotations

import datetime
import io
import json
import pathlib
import re
from typing import Any

import pytest
from PIL import Image

from pipeline import storage
from pipeline.__main__ import main
from pipeline.report.after_run import report_after_run
from pipeline.report.failing import failures_of
from pipeline.report.runs import runs_of

ALL_DONE = {"statuses": {"skipped": 1}}
# The fixture's type lives in the tests' conftest, which is no module to import from.
Catalog = Any


def pairs_of(catalog: Catalog) -> list[dict[str, Any]]:
    """The details of every pair in the report that the first page names, in their order."""
    folder = folder_of(catalog)
    found = []
    for name in sorted(n for n in catalog.names(f"out/report/{folder}") if "detail-" in n):
        script = catalog.read(f"out/report/{folder}/{name}").decode()
        found += json.loads(script[script.index(",") + 1 : script.rindex(")")])
    return found


def folder_of(catalog: Catalog) -> str:
    """The folder of data that the first page names."""
    html = catalog.read("out/report/index.html").decode()
    return re.findall('data-folder="([^"]+)"', html)[0]


def test_a_run_ends_with_a_report_of_all_runs_and_thumbnails(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    assert catalog.run() == 0
    assert "Report: " in capsys.readouterr().out
    assert catalog.names("out/thumbnails") == {"a@240.webp", "b@240.webp"}
    assert len(catalog.names("out/source_thumbnails")) == 3
    with Image.open(io.BytesIO(catalog.read("out/thumbnails/a@240.webp"))) as image:
        assert image.size == (64, 48)
    catalog.pairs(("a.png", "c.png"))
    assert catalog.run("--no-report") == 0
    assert len(pairs_of(catalog)) == 2
    assert main(["report", catalog.uri("out")]) == 0
    found = pairs_of(catalog)
    assert {pair["row"]["id"] for pair in found} == {"a", "b", "c"}
    for pair in found:
        for link in (pair["image"], pair["record"], pair["losses"], pair["content"]["link"]):
            assert (pathlib.Path(catalog.uri("out/report")) / link).is_file()


def test_a_run_that_finds_all_done_makes_the_report_that_another_has_not_made(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run() == 0
    catalog.pairs(("a.png", "b.png"))
    assert catalog.run("--no-report") == 0
    for is_made in (True, False):
        capsys.readouterr()
        assert catalog.run() == 0
        assert catalog.statuses() == ["skipped"] * 2
        assert ("Report: " in capsys.readouterr().out) == is_made
        assert len(pairs_of(catalog)) == 2


def test_only_a_run_that_may_have_done_something_since_makes_a_report_stale(
    catalog: Catalog,
) -> None:
    now = datetime.datetime.now(datetime.UTC)
    before, soon = ((now + datetime.timedelta(hours=hours)).isoformat() for hours in (-1, 1))
    # Where runs lie and records are none, a report is made at once.
    catalog.write("out/runs/killed-at-its-begin/config.yaml", b"steps: 3")
    assert "0 pairs" in str(report_after_run(catalog.uri("out"), ALL_DONE))
    cases: list[tuple[bool, dict[str, Any]]] = [
        (False, {"state": "finished", "ended_at": before, "done": 1, "failed": 0}),
        (False, {"state": "finished", "ended_at": soon, "done": 0, "failed": 0}),
        (True, {"state": "finished", "ended_at": soon, "done": 1, "failed": 0}),
        (True, {"state": "stopped", "ended_at": soon, "done": 0, "failed": 1}),
        (True, {"state": "failed", "ended_at": soon}),
        (True, {"state": "running", "renewed_at": now.isoformat(), "done": 0, "failed": 0}),
        (False, {"state": "running", "renewed_at": before, "done": 1, "failed": 0}),
    ]
    for is_made, told in cases:
        catalog.write("out/runs/a/run.json", json.dumps(told).encode())
        assert bool(report_after_run(catalog.uri("out"), ALL_DONE)) == is_made, told


def test_only_the_last_two_reports_stay(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run()
    for _ in range(3):
        main(["report", catalog.uri("out")])
    folders = {name.partition("/")[0] for name in catalog.names("out/report")}
    assert len(folders) == 1 + 2
    assert folder_of(catalog) in folders


def test_records_without_thumbnails_or_curves_are_shown_by_their_files(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run("--no-report")
    (name,) = catalog.names("out/records")
    record = json.loads(catalog.read(f"out/records/{name}"))
    curve = record.pop("curve")
    del record["thumbnails"]
    catalog.write(f"out/records/{name}", json.dumps(record).encode())
    catalog.write("out/records/b.0123456789abcdef.json", b'{"run": 1}')
    assert main(["report", catalog.uri("out")]) == 0
    (pair,) = pairs_of(catalog)
    assert pair["curve"] == curve
    assert pair["content"]["thumbnail"] is None
    page = catalog.read("out/report/index.html").decode()
    assert "1 records could not be read" in page


def test_failures_are_shown_with_the_command_that_retries_them(catalog: Catalog) -> None:
    for name in ("a.png", "s.png"):
        catalog.picture(name)
    rows = [
        {"id": "a", "content": "a.png", "style": "s.png"},
        {"id": "gone", "content": "<script>alert(1)</script>.png", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    html = catalog.read("out/report/index.html").decode()
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert" not in html
    assert f"{catalog.run_folder}/failures.csv --output" in html
    gone = next(pair for pair in pairs_of(catalog) if pair["row"]["id"] == "gone")
    assert "does not exist" in gone["error"] or gone["error"]
    assert gone["row"]["options.weights"] == "procedural"


def test_nothing_to_report_is_one_sentence(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", catalog.uri("nowhere")]) == 2
    assert "neither records nor runs" in capsys.readouterr().err


def test_a_row_marked_redo_is_done_again_and_the_others_are_not(catalog: Catalog) -> None:
    catalog.pairs(("a.png", "b.png", "c.png"))
    catalog.run("--no-report")
    before = catalog.records()
    rows = [
        {"id": name, "content": f"{name}.png", "style": "s.png", "mark": mark, "sku": "7"}
        for name, mark in zip("abc", (" Redo", "keep", "reject"), strict=True)
    ]
    catalog.manifest(rows, "marks.csv")
    assert catalog.run("--no-report", manifest="marks.csv") == 0
    assert catalog.statuses() == ["ok", "skipped", "skipped"]
    after = catalog.records()
    assert after["a"]["run"] != before["a"]["run"]
    assert after["a"]["columns"] == {"sku": "7"}
    assert after["b"] == before["b"]


def marks_of(catalog: Catalog, marks: dict[str, str]) -> None:
    """The CSV of marks that the report's page would save: its rows, each with its mark."""
    assert main(["report", catalog.uri("out")]) == 0
    rows = {pair["row"]["id"]: pair["row"] for pair in pairs_of(catalog)}
    catalog.manifest([{**rows[name], "mark": mark} for name, mark in marks.items()], "m.csv")


def test_a_marked_result_is_done_again_once(catalog: Catalog) -> None:
    catalog.pairs(("a.png", "b.png"))
    assert catalog.run("--no-report") == 0
    before = catalog.records()
    marks_of(catalog, {"a": "redo", "b": "keep"})
    assert catalog.run("--no-report", manifest="m.csv") == 0
    assert catalog.statuses() == ["ok", "skipped"]
    after = catalog.records()
    assert after["a"]["run"] != before["a"]["run"]
    # Nothing is paid for twice.
    assert catalog.run("--no-report", manifest="m.csv") == 0
    assert catalog.statuses() == ["skipped", "skipped"]
    assert catalog.records() == after
    # The new result may be marked too, and whoever wants all again has them.
    marks_of(catalog, {"a": "redo", "b": "keep"})
    assert catalog.run("--no-report", manifest="m.csv") == 0
    assert catalog.statuses() == ["ok", "skipped"]
    assert catalog.run("--no-report", "--on-existing=redo", manifest="m.csv") == 0
    assert catalog.statuses() == ["ok", "ok"]
    assert catalog.records()["a"]["columns"] == {}


def test_a_marked_result_with_other_settings_is_done_again_once_for_each(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run("--no-report") == 0
    assert main(["report", catalog.uri("out")]) == 0
    (pair,) = pairs_of(catalog)
    for weight, statuses in (("0.5", ["ok", "skipped"]), ("0.7", ["ok", "skipped"])):
        row = {**pair["row"], "mark": "redo", "options.content_weight": weight}
        catalog.manifest([row], "m.csv")
        for status in statuses:
            assert catalog.run("--no-report", manifest="m.csv") == 0
            assert catalog.statuses() == [status]
    assert catalog.records()["a"]["config"]["content_weight"] == 0.7


def test_a_column_mark_of_another_meaning_travels_and_a_misspelt_mark_fails(
    catalog: Catalog,
) -> None:
    catalog.picture("a.png")
    catalog.picture("s.png")
    rows = [
        {"id": name, "content": "a.png", "style": "s.png", "mark": mark}
        for name, mark in (("a", "Nike"), ("b", "reddo"), ("c", "red"))
    ]
    catalog.manifest(rows)
    assert catalog.run("--no-report") == 3
    assert catalog.statuses() == ["ok", "manifest_invalid", "ok"]
    assert catalog.records()["a"]["columns"] == {"mark": "Nike"}
    (failure,) = catalog.failures()
    assert "write redo, or rename the column" in failure["error"]


def test_no_thumbnail_takes_the_place_of_an_input(catalog: Catalog) -> None:
    for name in ("a.png", "s.png"):
        catalog.picture(name)
    catalog.picture("out/thumbnails/a@240.webp")
    rows = [
        {"id": "a", "content": "a.png", "style": "s.png"},
        {"id": "b", "content": "out/thumbnails/a@240.webp", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run("--no-report") == 3
    assert catalog.statuses() == ["manifest_invalid", "ok"]


def test_thumbnails_are_replaced_with_their_pictures(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run("--no-report")
    first = catalog.read("out/thumbnails/a@240.webp")
    catalog.run("--no-report", "--set", "image_size=32")
    with Image.open(io.BytesIO(catalog.read("out/thumbnails/a@240.webp"))) as image:
        assert image.size == (32, 24)
    assert catalog.read("out/thumbnails/a@240.webp") != first


def failed(catalog: Catalog) -> dict[str, str]:
    """Id and status of the failures that the report's page lists, and of the pairs without any."""
    html = catalog.read("out/report/index.html").decode()
    listed = re.findall(r"<li><b><bdi>([^<]+)</bdi></b>", html)
    (told,) = re.findall(r"not done since</dt><dd>(\d+)<", html)
    assert len(listed) == int(told)
    found = {pair["row"]["id"]: pair.get("error") for pair in pairs_of(catalog)}
    assert {name for name, error in found.items() if error} == {*listed}
    return {name: found[name] for name in listed}


def retries(catalog: Catalog) -> list[str]:
    """The runs whose failures the page says how to retry."""
    html = catalog.read("out/report/index.html").decode()
    return re.findall(r'<code id="retry[^>]*>nst run --manifest [^ ]*/runs/([^/]+)/failures', html)


def bad_pairs(catalog: Catalog, names: str, manifest: str) -> None:
    """A manifest of these pairs, of which those in capitals have no picture."""
    for name in names:
        catalog.picture(f"{name}.png")
        if name.isupper():
            catalog.write(f"{name}.png", b"no picture")
    catalog.picture("s.png")
    rows = [{"id": name, "content": f"{name}.png", "style": "s.png"} for name in names]
    catalog.manifest(rows, manifest)


def test_what_failed_in_a_run_of_another_manifest_stays_until_it_is_done(catalog: Catalog) -> None:
    bad_pairs(catalog, "aBC", "first.csv")
    bad_pairs(catalog, "dE", "second.csv")
    assert catalog.run("--run-id=first", "--no-report", manifest="first.csv") == 3
    assert catalog.run("--run-id=second", manifest="second.csv") == 3
    assert failed(catalog).keys() == {"B", "C", "E"}
    assert retries(catalog) == ["second", "first"]
    # Done under another manifest's name, it is no failure any more.
    bad_pairs(catalog, "d", "third.csv")
    catalog.picture("B.png")
    catalog.manifest([{"id": "B", "content": "B.png", "style": "s.png"}], "third.csv")
    assert catalog.run("--run-id=third", manifest="third.csv") == 0
    assert failed(catalog).keys() == {"C", "E"}


def test_a_retry_s_failures_count_instead_of_those_that_it_has_tried_again(
    catalog: Catalog,
) -> None:
    bad_pairs(catalog, "aBC", "pairs.csv")
    assert catalog.run("--run-id=first", "--no-report") == 3
    catalog.picture("B.png")
    again = "out/runs/first/failures.csv"
    assert catalog.run("--run-id=retry", manifest=again) == 3
    assert failed(catalog).keys() == {"C"}
    assert retries(catalog) == ["retry"]
    # The whole manifest, of which somebody has removed the row: nobody wants it any more.
    bad_pairs(catalog, "aB", "pairs.csv")
    catalog.picture("B.png")
    assert catalog.run("--run-id=whole", "--on-existing=redo") == 0
    assert failed(catalog) == {}


def test_with_a_limit_what_was_not_tried_again_stays_failed(catalog: Catalog) -> None:
    bad_pairs(catalog, "aBC", "pairs.csv")
    assert catalog.run("--run-id=first", "--no-report") == 3
    catalog.picture("B.png")
    assert catalog.run("--run-id=second", "--limit=1") == 0
    assert catalog.statuses() == ["skipped", "ok", "postponed"]
    assert failed(catalog).keys() == {"C"}
    assert retries(catalog) == ["first"]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_failure_beside_an_older_result_goes_when_a_later_run_finds_that(
    catalog: Catalog, form: str
) -> None:
    more = (f"--results-format={form}",)
    bad_pairs(catalog, "a", "pairs.csv")
    assert catalog.run(*more, "--no-report") == 0
    row = {"id": "a", "content": "a.png", "style": "s.png", "mark": "redo", "options.steps": "no"}
    catalog.manifest([row], "marks.csv")
    assert catalog.run("--run-id=marks", *more, manifest="marks.csv") == 3
    assert failed(catalog).keys() == {"a"}
    assert catalog.run("--run-id=whole", *more) == 0
    assert main(["report", catalog.uri("out")]) == 0
    assert failed(catalog) == {}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_damaged_results_tell_nothing_and_end_no_report(catalog: Catalog, form: str) -> None:
    bad_pairs(catalog, "aB", "first.csv")
    bad_pairs(catalog, "cD", "second.csv")
    assert catalog.run("--run-id=first", "--no-report", manifest="first.csv") == 3
    more = ("--run-id=second", f"--results-format={form}", "--no-report")
    assert catalog.run(*more, manifest="second.csv") == 3
    name = f"out/runs/second/results-00000-of-00001.{form}"
    whole = catalog.read(name)
    # The end of a Parquet file says what is in it; a line of JSON that is none of a result.
    for damaged in (whole[:-60] + b"\xff" * 52 + whole[-8:], whole[:-60], b"{}\n", b"[1]\n", b""):
        catalog.write(name, damaged)
        assert main(["report", catalog.uri("out")]) == 0
        assert failed(catalog).keys() == {"B", "D"}


def test_of_many_runs_each_one_s_results_are_read_once_for_what_failed(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in range(9):
        folder, statuses = f"out/runs/{day}", {"ok": 1, "input_not_found": 1}
        about = {"manifest": f"/{day}.csv", "statuses": statuses}
        times = {"started_at": f"2026-01-0{day + 1}", "finished_at": f"2026-01-0{day + 1}"}
        catalog.write(f"{folder}/summary.json", json.dumps({**about, **times}).encode())
        # Each day does what failed two days before.
        lines = [{"id": f"f{day}", "status": "input_not_found"}, {"id": f"f{day - 2}"}]
        results = "".join(json.dumps({"status": "ok", **line}) + "\n" for line in lines)
        catalog.write(f"{folder}/results-00000-of-00001.jsonl", results.encode())
        row = {"id": f"f{day}", "content": "a.png", "style": "s.png"}
        catalog.manifest([{**row, "status": "input_not_found"}], f"{folder}/failures.csv")
    read = []
    opened = storage.open_binary

    def counted(uri: str) -> Any:
        read.append(uri)
        return opened(uri)

    monkeypatch.setattr(storage, "open_binary", counted)
    output = catalog.uri("out")
    assert [one.id for one in failures_of(runs_of(output), output)] == ["f8", "f7"]
    results = [uri for uri in read if "results-" in uri]
    assert len(results) == len({*results})
    # As many spans as memory demands find the same.
    monkeypatch.setattr("pipeline.report.failing.MOST_IDS", 2)
    assert [one.id for one in failures_of(runs_of(output), output)] == ["f8", "f7"]
