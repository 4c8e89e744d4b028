"""Whole runs with manifest, images and output on `gs://`, against the emulator."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pipeline import storage
from pipeline.__main__ import main
from pipeline.storage import gcs as storage_gcs

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog


@pytest.fixture
def bucket_catalog(catalog: Catalog, gcs: EmulatedBucket) -> Catalog:
    """An empty catalog in the emulated bucket."""
    catalog.root = gcs.uri("catalog")
    return catalog


def test_a_run_in_a_bucket_writes_everything_there_and_a_second_skips_it(
    bucket_catalog: Catalog,
    request: pytest.FixtureRequest,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog = bucket_catalog
    monkeypatch.chdir(tmp_path)
    catalog.pairs(("a.png", "b.png"))
    rows = [
        {"id": "deep/a", "content": "a.png", "style": "s.png"},
        {"id": "b", "content": "./b.png", "style": catalog.uri("s.png")},
        {"id": "none", "content": "none.png", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["ok", "ok", "input_not_found"]
    assert catalog.names("out/images") == {"deep/a.png", "b.png"}
    assert catalog.names("out/losses") == {"deep/a.csv", "b.csv"}
    assert catalog.records()["deep/a"]["sources"]["content"] == catalog.uri("a.png")
    assert catalog.records()["deep/a"]["image"] == catalog.uri("out/images/deep/a.png")
    assert catalog.failures()[0]["content"] == catalog.uri("none.png")

    catalog.picture("none.png")
    assert catalog.run(manifest=f"{catalog.run_folder}/failures.csv") == 0
    assert catalog.statuses() == ["ok"]
    request.getfixturevalue("no_network")
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped", "skipped", "skipped"]
    assert sorted(tmp_path.iterdir()) == []


def test_images_in_a_bucket_have_their_content_types(
    bucket_catalog: Catalog, gcs: EmulatedBucket
) -> None:
    catalog = bucket_catalog
    catalog.pairs(("a.png",))
    assert catalog.run("--set", "output_format=jpeg") == 0
    blobs = {
        blob.name.removeprefix("catalog/out/").partition("/")[0]: blob.content_type
        for blob in storage_gcs.client().list_blobs(gcs.bucket, prefix="catalog/out/")
        if "/runs/" not in blob.name
        and blob.name.count("/report/") == blob.name.count("index.html")
    }
    assert blobs == {
        "images": "image/jpeg",
        "catalog.json": "application/json",
        "losses": "text/csv",
        "thumbnails": "image/webp",
        "source_thumbnails": "image/webp",
        "report": "text/html",
        "records": "application/json",
    }


def test_weights_in_a_bucket_are_used_and_named(
    bucket_catalog: Catalog,
    weights_file: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    catalog = bucket_catalog
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "cache"))
    uri = catalog.write("nets/vgg19.h5", weights_file.read_bytes())
    catalog.pairs(("a.png",))
    assert catalog.run("--weights", uri) == 0
    record = catalog.records()["a"]
    assert record["weights"]["name"] == uri
    assert record["config"]["weights"] == uri
    assert len(record["weights"]["sha256"]) == 64
    assert len(os.listdir(tmp_path / "cache")) == 1


@pytest.mark.parametrize(
    ("changed", "status"),
    [("--manifest=gs://catalog/none.csv", 2), ("--output=gs://no-such-bucket/out", 1)],
)
def test_what_a_bucket_does_not_have_is_one_sentence_and_nothing_is_written(
    bucket_catalog: Catalog,
    capfd: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
    changed: str,
    status: int,
) -> None:
    catalog = bucket_catalog
    catalog.pairs(("a.png",))
    before = set(storage.list_uris("gs://catalog"))
    capfd.readouterr()
    assert main([*catalog.arguments(), changed]) == status
    said = capfd.readouterr().err
    # The emulator, in this process, logs its requests.
    own = [line for line in said.splitlines() if line.startswith("nst")]
    assert changed.partition("=")[2] in one_sentence("\n".join(own))
    assert "Traceback" not in said
    assert set(storage.list_uris("gs://catalog")) == before
