"""Whole runs on a local folder: what is written, what is skipped, what fails and is retried."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import pathlib
import struct
import zlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import apache_beam as beam
import numpy as np
import pytest
from PIL import Image, ImageCms

from nst_core.config import StyleConfig
from nst_core.encoding import read_metadata
from nst_core.results import LOG_COLUMNS
from pipeline import storage
from pipeline.__main__ import main
from pipeline.engines import Engines

if TYPE_CHECKING:
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
    first = catalog.failures()
    rows = [row for row in first if row["status"] != "duplicate_id"]
    catalog.manifest(rows, "again.csv")
    assert catalog.run(manifest="again.csv") == 3
    again = {row["id"]: row["status"] for row in catalog.failures()}
    assert again == {row["id"]: row["status"] for row in rows}


def test_files_that_options_name_are_found_again_from_failures(catalog: Catalog) -> None:
    catalog.picture("s.png")
    catalog.picture("starts/x.png")
    row = {"id": "a", "content": "a.png", "style": "s.png", "options.init": "starts/x.png"}
    catalog.manifest([row])
    assert catalog.run() == 3
    catalog.picture("a.png")
    assert catalog.run(manifest=f"{catalog.run_folder}/failures.csv") == 0
    assert catalog.records()["a"]["config"]["init"] == catalog.uri("starts/x.png")


def test_a_second_run_skips_everything_and_loads_no_network(
    catalog: Catalog, request: pytest.FixtureRequest
) -> None:
    catalog.pairs()
    assert catalog.run() == 0
    kept = {n: data for n, data in catalog.files().items() if not n.startswith("out/runs/")}
    request.getfixturevalue("no_network")
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped", "skipped"]
    assert catalog.summary()["statuses"] == {"skipped": 2}
    result = catalog.results()[0]
    assert catalog.uri("out/images/a.png") == result["image"]
    after = {n: data for n, data in catalog.files().items() if not n.startswith("out/runs/")}
    assert after == kept


def test_a_pair_whose_image_was_removed_is_done_again(catalog: Catalog) -> None:
    catalog.pairs()
    catalog.run()
    before = catalog.read("out/images/b.png")
    os.remove(catalog.uri("out/images/b.png"))
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped", "ok"]
    assert catalog.read("out/images/b.png") == before


def test_a_pair_whose_record_was_removed_is_done_again(catalog: Catalog) -> None:
    catalog.pairs()
    catalog.run()
    (record,) = (name for name in catalog.names("out/records") if name.startswith("a."))
    os.remove(catalog.uri(f"out/records/{record}"))
    assert catalog.run() == 0
    assert catalog.statuses() == ["ok", "skipped"]


def test_no_record_vouches_for_pixels_of_other_settings(catalog: Catalog) -> None:
    catalog.pairs()
    catalog.run()
    first = catalog.read("out/images/a.png")
    marks = {key: record["fingerprint"] for key, record in catalog.records().items()}

    assert catalog.run("--set", "style_weight=50") == 0
    assert catalog.statuses() == ["ok", "ok"]
    assert catalog.read("out/images/a.png") != first
    # `records` itself makes sure that there is one for each id.
    assert catalog.records()["a"]["fingerprint"] != marks["a"]

    assert catalog.run() == 0
    assert catalog.statuses() == ["ok", "ok"]
    assert catalog.read("out/images/a.png") == first
    assert catalog.records()["a"]["fingerprint"] == marks["a"]


def test_settings_that_change_no_pixel_skip_what_is_done(
    catalog: Catalog, request: pytest.FixtureRequest
) -> None:
    catalog.pairs()
    catalog.run()
    request.getfixturevalue("no_network")
    same = ("device=cpu", "deadline_seconds=900", "max_bytes=1000000", "style_weight=1.0")
    assert catalog.run(*(text for one in same for text in ("--set", one))) == 0
    assert catalog.statuses() == ["skipped", "skipped"]


def test_redo_does_finished_pairs_again_and_error_refuses_them(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Callable[[str], str]
) -> None:
    catalog.pairs()
    catalog.run()
    before = catalog.records()
    assert catalog.run("--on-existing", "redo") == 0
    assert catalog.statuses() == ["ok", "ok"]
    assert catalog.records()["a"]["run"] != before["a"]["run"]
    assert catalog.records()["a"]["fingerprint"] == before["a"]["fingerprint"]
    capsys.readouterr()
    assert main(catalog.arguments("--on-existing", "error")) == 1
    sentence = one_sentence(capsys.readouterr().err)
    assert "already has a result" in sentence
    assert "while running" not in sentence


def test_other_pairs_of_the_output_are_left_alone(catalog: Catalog) -> None:
    catalog.pairs(("a.png", "b.png"))
    catalog.run()
    catalog.pairs(("c.png",))
    assert catalog.run("--on-existing", "error") == 0
    assert catalog.statuses() == ["ok"]
    assert catalog.records().keys() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("output_format", "extension", "kind"),
    [
        ("png", "png", "PNG"),
        ("jpeg", "jpg", "JPEG"),
        ("webp", "webp", "WEBP"),
        ("tiff", "tiff", "TIFF"),
    ],
)
def test_an_image_has_its_format_an_srgb_profile_and_its_origin(
    catalog: Catalog, output_format: str, extension: str, kind: str
) -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, :40] = 255
    catalog.picture("a.png", alpha=alpha)
    catalog.picture("s.png")
    catalog.manifest([{"id": "dir/a", "content": "a.png", "style": "s.png"}])
    assert catalog.run("--set", f"output_format={output_format}") == 0
    data = catalog.read(f"out/images/dir/a.{extension}")
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == (kind, (64, 48))
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        if kind != "JPEG":
            found = np.asarray(image)[..., 3]
            assert (found[:, :40] == 255).all()
            assert (found[:, 41:] == 0).all()
    metadata = read_metadata(data)
    record = catalog.records()["dir/a"]
    assert metadata["nst:id"] == "dir/a"
    assert metadata["nst:fingerprint"] == record["fingerprint"]
    assert json.loads(metadata["nst:sources"]) == {
        "content": "a.png",
        "styles": [{"uri": "s.png", "weight": 1.0}],
    }


def test_a_result_may_have_the_original_s_size(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run()
    small = catalog.pixels("a.png")
    catalog.picture("a.png", (150, 110))
    assert catalog.run("--set", "output_size=original") == 0
    large = catalog.pixels("a.png")
    assert (small.shape, large.shape) == ((48, 64, 3), (110, 150, 3))
    record = catalog.records()["a"]
    assert (record["width"], record["height"]) == (150, 110)
    assert record["optimized"] == {"width": 64, "height": 46}
    assert catalog.results()[0]["width"] == 150


def test_the_loss_log_adds_up_and_falls(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.run("--set", "scales=[0.5, 1]", "--set", "steps=[4, 3]")
    with open(catalog.uri("out/losses/a.csv"), encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    layers = [f"style/block{block}_conv1" for block in range(1, 6)]
    assert list(rows[0]) == [*LOG_COLUMNS, "total", "content", "style", "tv", *layers]
    numbers = [{key: float(value) for key, value in row.items()} for row in rows]
    assert [row["step"] for row in numbers] == [1, 2, 3, 4, 5, 6, 7]
    assert [row["scale"] for row in numbers] == [0.5] * 4 + [1.0] * 3
    assert {(row["width"], row["height"]) for row in numbers} == {(32, 32), (64, 64)}
    for row in numbers:
        assert math.isclose(row["content"] + row["style"] + row["tv"], row["total"], rel_tol=1e-6)
        assert math.isclose(sum(row[layer] for layer in layers), row["style"], rel_tol=1e-5)
    assert numbers[3]["total"] < numbers[0]["total"]
    assert [row["seconds"] for row in numbers] == sorted(row["seconds"] for row in numbers)


def test_the_record_holds_everything_that_is_promised(catalog: Catalog) -> None:
    catalog.picture("a.png")
    catalog.picture("s.png")
    row = {"id": "a", "content": "a.png", "style": "s.png", "title": "größe, 猫", "price": "9"}
    catalog.manifest([{**row, "options.seed": "5"}])
    catalog.run()
    record = catalog.records()["a"]
    (name,) = catalog.names("out/records")
    assert name == f"a.{record['fingerprint']}.json"
    assert record["status"] == "ok"
    assert record["sources"]["content"] == catalog.uri("a.png")
    assert record["sources"]["styles"] == [{"uri": catalog.uri("s.png"), "weight": 1.0}]
    assert record["image"] == catalog.uri("out/images/a.png")
    assert record["losses"] == catalog.uri("out/losses/a.csv")
    assert (record["config"]["seed"], record["config"]["image_size"]) == (5, 64)
    assert record["weights"]["name"] == "procedural"
    assert len(bytes.fromhex(record["weights"]["sha256"])) == 32
    assert record["canvas"] == {"width": 64, "height": 64}
    assert record["steps"] == 2
    for terms in (record["terms"]["first"], record["terms"]["final"]):
        assert {"total", "content", "style", "tv", "style/block1_conv1"} <= terms.keys()
    assert record["seconds"].keys() == {"read", "optimize", "write"}
    assert len(record["quality"]["gram_errors"]) == 5
    assert all(error > 0 for error in record["quality"]["gram_errors"].values())
    assert 0 < record["quality"]["ssim"] < 1
    assert record["device"]
    assert {"engine", "tensorflow"} <= record["versions"].keys()
    assert record["columns"] == {"title": "größe, 猫", "price": "9"}
    assert record["finished_at"].endswith("+00:00")
    result = catalog.results()[0]
    assert result["columns"] == record["columns"]
    assert result["record"] == catalog.uri(f"out/records/{name}")
    assert result["total"] == record["terms"]["final"]["total"]
    assert result["quality"] == record["quality"]


def test_a_run_s_folder_holds_configuration_results_failures_and_summary(catalog: Catalog) -> None:
    catalog.pairs()
    catalog.run("--set", "seed=7")
    assert catalog.names(catalog.run_folder) == {
        "config.yaml",
        "failures.csv",
        "results-00000-of-00001.jsonl",
        "summary.json",
    }
    summary = catalog.summary()
    assert (summary["pairs"], summary["statuses"]) == (2, {"ok": 2})
    assert summary["manifest"] == catalog.uri("pairs.csv")
    assert summary["output"] == catalog.uri("out")
    assert summary["failures"] == catalog.uri(f"{catalog.run_folder}/failures.csv")
    assert summary["started_at"] <= summary["finished_at"]
    assert [result["row"] for result in catalog.results()] == [1, 2]

    config = catalog.uri(f"{catalog.run_folder}/config.yaml")
    assert catalog.run("--config", config, small=False) == 0
    assert catalog.statuses() == ["skipped", "skipped"]


def test_results_can_be_spread_over_files(catalog: Catalog) -> None:
    catalog.picture("s.png")
    rows = [{"id": f"p{n}", "content": f"{n}.png", "style": "s.png"} for n in range(9)]
    catalog.manifest(rows)
    assert catalog.run("--results-shards", "2") == 3
    assert catalog.statuses() == ["input_not_found"] * 9
    shards = {f"results-0000{index}-of-00002.jsonl" for index in (0, 1)}
    assert shards < catalog.names(catalog.run_folder)
    named = {uri.rpartition("/")[2] for uri in catalog.summary()["results"]}
    assert named == shards


def test_a_manifest_without_rows_is_a_run_without_pairs(catalog: Catalog) -> None:
    catalog.write("pairs.csv", b"content,style\n")
    assert catalog.run() == 0
    assert catalog.summary()["pairs"] == 0
    assert catalog.failures() == []


def test_csv_json_lines_and_parquet_give_the_same_results(catalog: Catalog) -> None:
    for name in ("a.png", "b.png", "s.png", "t.png"):
        catalog.picture(name)
    several = [{"uri": "s.png", "weight": 2.0}, {"uri": "t.png", "weight": 1.0}]
    rows = [
        {"id": "plain", "content": "a.png", "style": '["s.png"]', "options.steps": "3"},
        {"id": "mixed", "content": "b.png", "style": json.dumps(several), "options.steps": "4"},
    ]
    typed = [
        {**row, "style": json.loads(row["style"]), "options.steps": int(row["options.steps"])}
        for row in rows
    ]
    catalog.manifest(rows, "pairs.csv")
    catalog.manifest(typed, "pairs.jsonl")
    catalog.manifest(
        [{**row, "options.steps": int(row["options.steps"])} for row in rows], "pairs.parquet"
    )
    assert catalog.run() == 0
    records = catalog.records()
    assert (records["plain"]["steps"], records["mixed"]["steps"]) == (3, 4)
    assert [style["weight"] for style in records["mixed"]["sources"]["styles"]] == [2.0, 1.0]
    for manifest in ("pairs.jsonl", "pairs.parquet"):
        assert catalog.run(manifest=manifest) == 0
        assert catalog.statuses() == ["skipped", "skipped"]


def test_a_second_style_changes_the_picture(catalog: Catalog) -> None:
    for name in ("a.png", "s.png", "t.png"):
        catalog.picture(name)
    both = [{"uri": "s.png"}, {"uri": "t.png"}]
    catalog.manifest(
        [
            {"id": "one", "content": "a.png", "style": "s.png"},
            {"id": "two", "content": "a.png", "style": both},
            {"id": "other", "content": "a.png", "style": "t.png"},
        ]
    )
    assert catalog.run("--set", "steps=4") == 0
    images = [catalog.pixels(f"{key}.png") for key in ("one", "two", "other")]
    assert (images[0] != images[1]).any()
    assert (images[1] != images[2]).any()


def test_a_row_s_options_hold_for_that_row_alone(catalog: Catalog) -> None:
    catalog.pairs()
    rows = [
        {"id": "a", "content": "a.png", "style": "s.png", "options.steps": "3"},
        {"id": "b", "content": "b.png", "style": "s.png", "options.output_format": "webp"},
        {"id": "c", "content": "b.png", "style": "s.png", "options.weights": "none.h5"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["ok", "ok", "options_invalid"]
    assert catalog.names("out/images") == {"a.png", "b.webp"}
    records = catalog.records()
    assert (records["a"]["steps"], records["b"]["steps"]) == (3, 2)
    assert "none.h5" in catalog.failures()[0]["error"]


def test_a_pair_that_takes_too_long_ends_at_its_deadline_and_the_others_are_done(
    catalog: Catalog,
) -> None:
    catalog.pairs()
    rows = [
        {"id": "a", "content": "a.png", "style": "s.png", "options.deadline_seconds": "1e-6"},
        {"id": "b", "content": "b.png", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["deadline_exceeded", "ok"]
    assert catalog.records().keys() == {"b"}


def test_ids_that_are_not_given_are_made_from_the_names(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    catalog.manifest([{"content": "a.png", "style": "s.png"}])
    catalog.run()
    (name,) = catalog.names("out/images")
    stem, _, rest = name.rpartition("-")
    assert stem == "a--s"
    assert len(bytes.fromhex(rest.removesuffix(".png"))) == 4


def counters(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """The counters of the next run, by name."""
    runs: list[Any] = []
    real = beam.Pipeline.run

    def note(self: Any, *rest: Any) -> Any:
        runs.append(real(self, *rest))
        return runs[-1]

    monkeypatch.setattr(beam.Pipeline, "run", note)

    def value(name: str) -> int:
        found = runs[-1].metrics().query(beam.metrics.MetricsFilter().with_name(name))
        return sum(counter.committed for counter in found["counters"])

    return value


def test_pairs_of_one_canvas_style_and_options_are_one_batch_and_one_style_pass(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": (64, 48), "b": (640, 400), "c": (90, 90), "d": (640, 200)}
    for key, size in sizes.items():
        catalog.picture(f"{key}.png", size)
    styles = ("counted1.png", "counted2.png")
    for style in styles:
        catalog.picture(style)
    rows = [
        {"id": f"{key}-{style[:-4]}", "content": f"{key}.png", "style": style}
        for key in sizes
        for style in styles
    ]
    catalog.manifest(rows)
    value = counters(monkeypatch)
    assert catalog.run("--set", "scales=[0.5, 1]") == 0
    records = catalog.records()
    assert {key: record["batch"] for key, record in records.items()} == {
        row["id"]: 1 if row["content"] == "d.png" else 3 for row in rows
    }
    assert records["b-counted1"]["canvas"] == records["a-counted1"]["canvas"]
    assert records["d-counted1"]["canvas"] == {"width": 64, "height": 32}
    assert value("batches") == 4
    # Two styles at two scales; the wide canvas shares them.
    assert value("style_passes") == 4
    assert value("pairs_ok") == 8
    assert value("bytes_read") > 0


def test_batch_size_limits_a_batch_and_changes_no_picture(catalog: Catalog) -> None:
    names = ("a.png", "b.png", "c.png")
    catalog.pairs(names)
    catalog.run("--batch-size", "2", "--set", "steps=4")
    assert sorted(record["batch"] for record in catalog.records().values()) == [1, 2, 2]
    before = [catalog.pixels(name) for name in names]
    catalog.run("--batch-size", "1", "--on-existing", "redo", "--set", "steps=4")
    assert {record["batch"] for record in catalog.records().values()} == {1}
    for name, old in zip(names, before, strict=True):
        assert np.abs(catalog.pixels(name) - old).max() <= 1


def test_one_network_is_loaded_for_all_rows_that_share_it(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, engines: Engines
) -> None:
    loaded: list[str] = []

    def load(config: Any) -> Any:
        loaded.append(config.pooling)
        return engines.engine_for(config)

    monkeypatch.setattr("pipeline.transforms.Engines", Engines)
    catalog.pairs(("a.png", "b.png", "c.png"))
    catalog.manifest(
        [
            {"id": "a", "content": "a.png", "style": "s.png"},
            {"id": "b", "content": "b.png", "style": "s.png", "options.steps": "3"},
            {"id": "c", "content": "c.png", "style": "s.png", "options.seed": "3"},
        ]
    )
    engines.engine_for(StyleConfig(weights="procedural", precision="float32"))
    monkeypatch.setattr("pipeline.engines.load_engine", load)
    assert catalog.run() == 0
    assert loaded == ["average"]


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


def test_beam_warns_of_nothing(catalog: Catalog, caplog: pytest.LogCaptureFixture) -> None:
    write_bad_catalog(catalog)
    # Without `--verbose` Beam's warnings are not even made.
    catalog.run("--verbose")
    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one.getMessage() for one in warnings if not one.name.startswith("pipeline.")] == []
