"""What a run leaves behind: images, loss logs, records, results."""

from __future__ import annotations

import csv
import io
import json
import math

import numpy as np
import pytest
from PIL import Image, ImageCms

from nst_core.config import StyleConfig
from nst_core.imaging.encoding import read_metadata
from nst_core.results import LOG_COLUMNS
from tests.pipeline.conftest import Catalog

# All layers that a run has where nobody sets any.
DEEP = tuple(
    text
    for name in ("content_layers", "style_layers")
    for text in ("--set", f"{name}={json.dumps(getattr(StyleConfig(), name))}")
)


@pytest.mark.parametrize(
    ("output_format", "extension", "kind"),
    [
        ("png", "png", "PNG"),
        ("jpeg", "jpg", "JPEG"),
        ("webp", "webp", "WEBP"),
        ("tiff", "tiff", "TIFF"),
        ("avif", "avif", "AVIF"),
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
    catalog.run("--set", "scales=[0.5, 1]", "--set", "steps=[4, 3]", *DEEP)
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
    catalog.run(*DEEP)
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
        "run.json",
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
