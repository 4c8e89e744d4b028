"""Runs with rows, weights or an output that fail."""

from __future__ import annotations

import pathlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from pipeline import storage
from pipeline.__main__ import main
from tests.pipeline.conftest import Catalog

FAILURES = {
    "missing": "input_not_found",
    "truncated": "input_unreadable",
    "text": "input_unreadable",
    "huge": "input_too_large",
    "options": "options_invalid",
    "good1": "duplicate_id",
}


def empty_png(width: int, height: int) -> bytes:
    """A PNG file that claims this size, and holds no pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = b""
    for name, data in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b"")):
        check = zlib.crc32(name + data)
        chunks += struct.pack(">I", len(data)) + name + data + struct.pack(">I", check)
    return b"\x89PNG\r\n\x1a\n" + chunks


def write_bad_catalog(catalog: Catalog) -> None:
    """Three good rows and one for each way to fail."""
    for name in ("a.png", "b.png", "c.png", "options.png", "s.png"):
        catalog.picture(name)
    catalog.picture("truncated.jpg", (300, 200))
    catalog.write("truncated.jpg", catalog.read("truncated.jpg")[:2000])
    catalog.write("text.png", b"This is a text, whatever its name says.\n" * 9)
    catalog.write("huge.png", empty_png(60000, 60000))
    contents = {
        "good1": "a.png",
        "good2": "b.png",
        "missing": "missing.png",
        "truncated": "truncated.jpg",
        "text": "text.png",
        "huge": "huge.png",
        "options": "options.png",
        "good3": "c.png",
    }
    rows = [
        {"id": key, "content": name, "style": "s.png", "title": f"title, {key}"}
        for key, name in contents.items()
    ]
    rows[6]["options.stepz"] = "3"
    catalog.manifest([*rows, {"id": "good1", "content": "c.png", "style": "s.png"}])


def test_bad_rows_fail_alone_and_succeed_once_they_are_mended(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    write_bad_catalog(catalog)
    assert catalog.run() == 3
    assert catalog.names("out/images") == {"good1.png", "good2.png", "good3.png"}
    assert catalog.records().keys() == {"good1", "good2", "good3"}

    results = catalog.results()
    assert [result["row"] for result in results] == list(range(1, 10))
    assert [result["status"] for result in results if result["row"] in (1, 2, 8)] == ["ok"] * 3
    failed = {result["id"]: result["status"] for result in results if result["status"] != "ok"}
    assert failed == FAILURES
    assert all(result["error"] for result in results if result["status"] != "ok")
    assert results[6]["columns"] == {"title": "title, options"}
    said = capsys.readouterr()
    assert f"{catalog.run_folder}/failures.csv" in said.out
    assert said.err == ""

    failures = catalog.failures()
    assert {row["id"]: row["status"] for row in failures} == FAILURES
    for name in ("missing.png", "text.png", "huge.png", "truncated.jpg"):
        catalog.picture(name)
    for row in failures:
        if row["status"] == "duplicate_id":
            row["id"] = "good4"
        row["options.steps"] = row.pop("options.stepz")
    catalog.manifest(failures, "elsewhere/again.csv")
    assert catalog.run(manifest="elsewhere/again.csv") == 0
    assert catalog.statuses() == ["ok"] * 6
    assert len(catalog.names("out/images")) == 9
    assert catalog.records()["options"]["steps"] == 3
    assert catalog.records()["text"]["columns"] == {"title": "title, text"}
    assert catalog.failures() == []


def test_failures_fed_back_as_they_are_fail_again_in_the_same_way(catalog: Catalog) -> None:
    write_bad_catalog(catalog)
    catalog.run()
    before, images = catalog.records(), catalog.names("out/images")
    catalog.manifest(catalog.failures(), "again.csv")
    for more in ((), ("--on-existing", "redo")):
        assert catalog.run(*more, manifest="again.csv") == 3
        assert {row["id"]: row["status"] for row in catalog.failures()} == FAILURES
    # Also where the other row with an id is not there to be seen.
    (duplicate,) = (row for row in catalog.failures() if row["status"] == "duplicate_id")
    assert "'good1', under which" in duplicate["error"]
    assert "a.png has been done" in duplicate["error"]
    assert (catalog.records(), catalog.names("out/images")) == (before, images)


def test_a_row_s_own_status_and_error_travel_also_through_its_failure(catalog: Catalog) -> None:
    catalog.picture("a.png")
    catalog.picture("s.png")
    own = {"style": "s.png", "status": "active", "error": "none"}
    catalog.manifest(
        [{"id": "a", "content": "a.png", **own}, {"id": "b", "content": "b.png", **own}]
    )
    assert catalog.run() == 3
    columns = {"status": "active", "error": "none"}
    assert [result["columns"] for result in catalog.results()] == [columns, columns]
    (failure,) = catalog.failures()
    assert failure["status"] == "input_not_found"
    assert (failure["columns.status"], failure["columns.error"]) == ("active", "none")
    failures = f"{catalog.run_folder}/failures.csv"
    assert catalog.run(manifest=failures) == 3
    assert catalog.failures() == [failure]
    catalog.picture("b.png")
    assert catalog.run(manifest=failures) == 0
    assert [record["columns"] for record in catalog.records().values()] == [columns, columns]


def test_a_row_that_names_a_device_that_is_not_there_fails_alone(catalog: Catalog) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("there is a GPU")
    catalog.pairs(("b.png",))
    catalog.picture("a.png")
    named = {"id": "a", "content": "a.png", "style": "s.png", "options.device": "gpu"}
    catalog.manifest([named, {"id": "b", "content": "b.png", "style": "s.png"}])
    assert catalog.run() == 3
    assert catalog.statuses() == ["options_invalid", "ok"]
    (failure,) = catalog.failures()
    assert failure["error"].startswith("options.device: device is gpu, but TensorFlow sees none")


def test_files_that_options_name_are_found_again_from_failures(catalog: Catalog) -> None:
    catalog.picture("s.png")
    catalog.picture("starts/x.png")
    row = {"id": "a", "content": "a.png", "style": "s.png", "options.init": "starts/x.png"}
    catalog.manifest([row])
    assert catalog.run() == 3
    catalog.picture("a.png")
    assert catalog.run(manifest=f"{catalog.run_folder}/failures.csv") == 0
    assert catalog.records()["a"]["config"]["init"] == catalog.uri("starts/x.png")


@pytest.mark.parametrize(
    ("arguments", "status", "names"),
    [
        (["--weights", "none.h5"], 1, ["none.h5", "procedural"]),
        (["--weights", "imagenet"], 1, ["ImageNet", "procedural", ".h5", "no route"]),
        (["--output", "a.png/out"], 1, ["a.png/out"]),
        (["--output", "a.png"], 1, ["a.png"]),
        (["--manifest", "none.csv"], 2, ["none.csv"]),
        (["--manifest", "empty.csv"], 2, ["empty.csv"]),
        (["--runner", "NoRunner"], 2, ["NoRunner", "DirectRunner"]),
        (["--direct_num_workers", "two"], 2, ["--direct_num_workers", "two"]),
        (["--runner=DataflowRunner"], 2, ["pairs.csv", "gs://"]),
    ],
)
def test_what_cannot_be_had_is_one_sentence_and_nothing_is_written(
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
    tmp_path: pathlib.Path,
    arguments: list[str],
    status: int,
    names: list[str],
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr("keras.utils.get_file", refuse)
    catalog.pairs()
    catalog.write("empty.csv", b"")
    monkeypatch.chdir(catalog.root)
    before = sorted(tmp_path.rglob("*"))
    capfd.readouterr()  # What importing Keras says.
    assert main([*catalog.arguments(), *arguments]) == status
    said = capfd.readouterr()
    sentence = one_sentence(said.err)
    for name in names:
        assert name in sentence
    assert said.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_weights_that_prove_damaged_in_a_worker_are_one_sentence_and_status_1(
    catalog: Catalog, capfd: pytest.CaptureFixture[str], one_sentence: Callable[[str], str]
) -> None:
    catalog.pairs()
    weights = catalog.write("damaged.h5", b"\x89HDF\r\n\x1a\n" + b"?" * 500)
    assert main(catalog.arguments("--weights", weights)) == 1
    sentence = one_sentence(capfd.readouterr().err)
    assert sentence.startswith(f"nst: The weights file {weights} is damaged")
    assert "while running" not in sentence


def test_an_output_that_fills_up_stops_the_job_with_its_sentence(
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    real = storage.write_bytes

    def full(uri: str, *rest: Any) -> None:
        if "/images/" in uri:
            raise storage.StorageError(f"{uri} cannot be written, disk full: free space there.")
        real(uri, *rest)

    catalog.pairs()
    monkeypatch.setattr(storage, "write_bytes", full)
    assert main(catalog.arguments()) == 1
    sentence = one_sentence(capfd.readouterr().err)
    assert "disk full" in sentence
    assert "while running" not in sentence
    assert catalog.names("out/records") == set()
