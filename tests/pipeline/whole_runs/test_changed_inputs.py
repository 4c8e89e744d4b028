"""Inputs that have changed are noticed, and those that only lie elsewhere are not."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import storage
from pipeline.__main__ import main
from pipeline.job.checking import LISTED_FROM

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


@pytest.fixture(params=["waves", "beam"])
def runner(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Arguments for a run in waves, and for one whose planning is of the Beam job."""
    return () if request.param == "waves" else ("--runner=FnApiRunner",)


def overwrite(catalog: Catalog, name: str, other: str) -> None:
    """Put the bytes of another picture there."""
    catalog.picture(other)
    catalog.write(name, catalog.read(other))


def touch(catalog: Catalog, name: str) -> None:
    """Let a file seem to have been written just now."""
    os.utime(catalog.uri(name), ns=(1, 1))


def test_a_photograph_under_the_same_name_is_done_again_and_only_that(
    catalog: Catalog, runner: tuple[str, ...]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    assert catalog.run(*runner) == 0
    before = catalog.records()
    overwrite(catalog, "a.png", "other.png")
    assert catalog.run(*runner) == 0
    assert catalog.statuses() == ["ok", "skipped"]
    assert [result["changed"] for result in catalog.results()] == ["content", None]
    after = catalog.records()
    assert after["a"]["fingerprint"] != before["a"]["fingerprint"]
    assert after["b"] == before["b"]
    assert catalog.run(*runner) == 0
    assert catalog.statuses() == ["skipped", "skipped"]


@pytest.mark.parametrize(
    ("name", "changed"), [("s.png", "style"), ("m.png", "mask"), ("k.png", "keep")]
)
def test_every_image_that_a_pair_reads_is_looked_at(
    catalog: Catalog, name: str, changed: str
) -> None:
    for picture in ("a.png", "s.png"):
        catalog.picture(picture)
    for mask in ("m.png", "k.png"):
        catalog.grey(mask, [[0, 255]])
    style = [{"uri": "s.png", "mask": "m.png"}]
    row = {"id": "a", "content": "a.png", "style": style, "options.keep": "k.png"}
    catalog.manifest([row], "pairs.jsonl")
    assert catalog.run(manifest="pairs.jsonl") == 0
    roles = [one["role"] for one in catalog.records()["a"]["inputs"]]
    assert roles == ["content", "style", "mask", "keep"]
    if name == "s.png":
        overwrite(catalog, name, "other.png")
    else:
        catalog.grey(name, [[255, 0]])
    assert catalog.run(manifest="pairs.jsonl") == 0
    (result,) = catalog.results()
    assert (result["status"], result["changed"]) == ("ok", changed)


def test_changed_settings_are_said(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run()
    assert catalog.results()[0]["changed"] is None
    catalog.run("--set", "style_weight=50")
    assert catalog.results()[0]["changed"] == "settings"


def test_the_plan_tells_what_has_changed_and_writes_nothing(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    catalog.run()
    overwrite(catalog, "a.png", "other.png")
    touch(catalog, "b.png")
    before = catalog.files()
    capsys.readouterr()
    assert main(["plan", *catalog.arguments()[1:], "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["to_do"], plan["done"], plan["changed"]) == (1, 1, {"content": 1})
    assert catalog.files() == before


def test_another_time_of_the_same_bytes_renews_the_record_alone(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run() == 0
    before = catalog.records()["a"]
    touch(catalog, "a.png")
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped"]
    after = catalog.records()["a"]
    assert after["inputs"][0].pop("mark") == "modified:1"
    before["inputs"][0].pop("mark")
    assert after == before
    # Now it is known without reading it.
    with monkeypatch.context() as patched:
        patched.setattr("pipeline.job.checking.RecordCheck._checksum", refuse)
        assert catalog.run() == 0
    assert catalog.statuses() == ["skipped"]


def refuse(*_: Any) -> None:
    raise AssertionError("an input was read")


def test_who_trusts_inputs_has_none_looked_at(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.pairs(("a.png",))
    catalog.run()
    overwrite(catalog, "a.png", "other.png")
    with monkeypatch.context() as patched:
        patched.setattr(storage, "version", refuse)
        assert catalog.run("--inputs=trust") == 0
    assert catalog.statuses() == ["skipped"]
    # Another name is another file, though.
    catalog.pairs(("c.png",))
    catalog.manifest([{"id": "a", "content": "c.png", "style": "s.png"}])
    assert catalog.run("--inputs=trust") == 0
    assert catalog.results()[0]["changed"] == "content"


def test_a_missing_input_does_not_undo_what_is_done(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run()
    os.remove(catalog.uri("a.png"))
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped"]


def test_a_catalog_that_was_moved_with_its_output_is_done(
    catalog: Catalog, tmp_path: pathlib.Path, runner: tuple[str, ...]
) -> None:
    for name in ("photos/a.png", "photos/b.png", "s.png"):
        catalog.picture(name)
    rows = [{"content": f"photos/{name}.png", "style": "s.png"} for name in "ab"]
    catalog.manifest(rows)
    assert catalog.run(*runner) == 0
    images = catalog.names("out/images")
    shutil.copytree(catalog.root, tmp_path / "elsewhere")
    shutil.rmtree(catalog.root)
    catalog.root = str(tmp_path / "elsewhere")
    assert catalog.run(*runner) == 0
    assert catalog.statuses() == ["skipped", "skipped"]
    assert catalog.names("out/images") == images
    for record in catalog.records().values():
        assert record["sources"]["content"].startswith(catalog.root)
        assert record["image"].startswith(catalog.root)


def test_failures_keep_the_ids_of_their_rows(catalog: Catalog) -> None:
    catalog.picture("s.png")
    catalog.manifest([{"content": "photos/a.png", "style": "s.png"}])
    assert catalog.run() == 3
    failed = catalog.failures()[0]["id"]
    failures = f"{catalog.run_folder}/failures.csv"
    catalog.picture("photos/a.png")
    assert catalog.run(manifest=failures) == 0
    assert catalog.run() == 0
    assert [one["id"] for one in catalog.results()] == [failed]
    assert catalog.statuses() == ["skipped"]


def test_results_of_skipped_rows_carry_the_measures_of_their_records(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run()
    (done,) = catalog.results()
    catalog.run()
    (skipped,) = catalog.results()
    assert skipped.pop("status") == "skipped"
    assert done.pop("status") == "ok"
    assert skipped == done
    # The summary is about what the run itself has done.
    assert catalog.summary()["worst"] == []


@pytest.fixture
def bucket(catalog: Catalog, gcs: Any) -> Catalog:
    """A catalog on `gs://`."""
    catalog.root = gcs.uri("catalog")
    return catalog


@pytest.mark.parametrize("count", [2, LISTED_FROM + 1])
def test_objects_are_compared_by_their_metadata(
    bucket: Catalog, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"p/{number}.png" for number in range(count)]
    for name in ("s.png", *names):
        bucket.picture(name, (16, 16))
    rows = [
        {"id": str(number), "content": name, "style": "s.png"} for number, name in enumerate(names)
    ]
    bucket.manifest(rows)
    small = ("--set", "image_size=32", "--set", "steps=1")
    assert bucket.run(*small) == 0
    asked = []
    real = storage.version
    monkeypatch.setattr(storage, "version", lambda uri: asked.append(uri) or real(uri))
    monkeypatch.setattr("pipeline.job.checking.RecordCheck._checksum", refuse)
    bucket.write(names[0], bucket.read(names[0]))  # Another generation of the same bytes.
    bucket.write(names[1], bucket.read("s.png"))
    assert bucket.run(*small) == 0
    assert bucket.statuses() == ["skipped", "ok", *["skipped"] * (count - 2)]
    assert bucket.results()[1]["changed"] == "content"
    # A folder of which many files are asked for is listed.
    assert len(asked) == (3 if count == 2 else 1)


def test_a_catalog_file_that_is_lost_is_written_anew_and_nothing_is_done_again(
    catalog: Catalog,
) -> None:
    catalog.picture("a.png")
    catalog.picture("s.png")
    catalog.manifest([{"content": "a.png", "style": "s.png"}])
    assert catalog.run() == 0
    before = catalog.read("out/catalog.json")
    storage.delete(catalog.uri("out/catalog.json"))
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped"]
    assert catalog.read("out/catalog.json") == before


@pytest.mark.parametrize("text", ["", "[]", '{"ids_from": 3}'])
def test_a_damaged_catalog_file_stops_the_run_with_a_sentence(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], text: str, one_sentence: Any
) -> None:
    catalog.pairs(("a.png",))
    catalog.write("out/catalog.json", text.encode())
    assert main(catalog.arguments()) == 1
    assert "catalog.json" in one_sentence(capsys.readouterr().err)


def test_a_folder_that_may_not_be_listed_is_asked_for_each_file(
    bucket: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"p/{number}.png" for number in range(LISTED_FROM + 1)]
    for name in ("s.png", *names):
        bucket.picture(name, (16, 16))
    bucket.manifest(
        [{"id": str(n), "content": name, "style": "s.png"} for n, name in enumerate(names)]
    )
    small = ("--set", "image_size=32", "--set", "steps=1")
    assert bucket.run(*small) == 0

    def refused(*_: Any) -> None:
        raise storage.AccessDenied("Nobody may list this bucket; ask its owner.")

    monkeypatch.setattr(storage, "list_versions", refused)
    bucket.write(names[3], bucket.read("s.png"))
    assert bucket.run(*small) == 0
    assert bucket.summary()["statuses"] == {"ok": 1, "skipped": LISTED_FROM}
