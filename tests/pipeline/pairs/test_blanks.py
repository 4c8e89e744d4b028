"""Blanks around values: trimmed where no file has that very name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pipeline import storage
from pipeline.manifest.columns import Row
from pipeline.pairs import blanks
from pipeline.pairs.blanks import trimmed

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

ALLOWED = ("file", "gs")


@pytest.fixture(autouse=True)
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URIs that are looked up in this test."""
    found: list[str] = []
    real = storage.exists

    def exists(uri: str) -> bool:
        found.append(uri)
        return real(uri)

    blanks._exists.cache_clear()
    monkeypatch.setattr("pipeline.pairs.blanks.storage.exists", exists)
    return found


@pytest.mark.parametrize("beam", [(), ("--runner=FnApiRunner",)])
def test_blanks_are_trimmed_but_those_of_a_files_real_name(
    catalog: Catalog, beam: tuple[str, ...]
) -> None:
    for name in ("a.png", "b .png", "s.png"):
        catalog.picture(name)
    # The only file of these names ends in a blank.
    catalog.write("real.png ", catalog.read("a.png"))
    rows = [
        {"id": " a", "content": " a.png ", "style": "s.png\t", "note": " as it is "},
        {"id": "b", "content": "b .png", "style": ' [ "s.png ", {"uri": " a.png"} ]'},
        {"id": "real", "content": "real.png ", "style": "s.png"},
        {"id": "default", "content": "real.png", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run(*beam) == 3
    lines = catalog.results()
    assert [line["status"] for line in lines] == ["ok", "ok", "ok", "input_not_found"]
    assert [line["id"] for line in lines] == ["a", "b", "real", "default"]
    assert lines[0]["content"] == catalog.uri("a.png")
    assert lines[0]["columns"]["note"] == " as it is "
    assert [style["uri"] for style in lines[1]["styles"]] == [
        catalog.uri("s.png"),
        catalog.uri("a.png"),
    ]
    assert lines[2]["content"] == catalog.uri("real.png ")
    assert json.loads(catalog.read(f"{catalog.run_folder}/summary.json"))["pairs"] == 4


def test_an_id_that_is_made_is_that_of_the_trimmed_names(catalog: Catalog) -> None:
    for name in ("a.png", "s.png"):
        catalog.picture(name)
    catalog.manifest([{"content": "a.png", "style": "s.png"}])
    assert catalog.run() == 0
    catalog.manifest([{"content": " a.png", "style": "s.png "}])
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped"]


def test_in_a_bucket_only_values_with_blanks_are_looked_up(
    gcs: EmulatedBucket, looked_up: list[str]
) -> None:
    storage.write_bytes(gcs.uri("in/real.png "), b"x", "image/png")
    base = gcs.uri("in/m.csv")
    names = ["a.png", "b.png ", "real.png ", "b.png "]
    rows = [Row(n, {"content": name, "style": "s.png"}) for n, name in enumerate(names)]
    read = [trimmed(row, base, ALLOWED).columns["content"] for row in rows]
    assert read == ["a.png", "b.png", "real.png ", "b.png"]
    assert looked_up == [gcs.uri("in/b.png "), gcs.uri("in/real.png ")]


def test_nothing_is_looked_up_where_rows_may_not_name_files(
    catalog: Catalog, looked_up: list[str]
) -> None:
    secret = catalog.picture("secret.png") + " "
    row = Row(1, {"content": secret, "style": "https://shop.example/s.png "})
    read = trimmed(row, "gs://bucket/m.csv", ("gs", "https"))
    assert read.columns == {"content": secret.strip(), "style": "https://shop.example/s.png"}
    assert looked_up == []


def test_what_is_blank_or_no_text_stays_as_it_is() -> None:
    for columns in (
        {"content": "  ", "style": None, "id": 7},
        {"content": 3, "style": [3, {"uri": None}, []], "id": "  "},
        {"content": "a.png", "style": "[not JSON"},
    ):
        read = trimmed(Row(1, dict(columns)), "/m.jsonl", ALLOWED)
        assert {**read.columns, "id": None} == {**columns, "id": None}
