"""`nst manifest`: the cross product of two sets of images, ready for `nst run`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from pipeline import storage
from pipeline.__main__ import main
from pipeline.manifest.rows import read_rows
from pipeline.pairs.parsing import parse_pair

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]


@pytest.fixture
def pictures(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A catalog with three contents and two styles, as the working directory."""
    for name in ("c/a.png", "c/b.png", "c/deep/d.jpg", "s/s.png", "s/t.png"):
        catalog.picture(name)
    catalog.write("c/notes.txt", b"no picture")
    monkeypatch.chdir(catalog.root)
    return catalog


def pairs(uri: str) -> list[tuple[str, str]]:
    """Content and style of every row."""
    found = [parse_pair(row, uri) for row in read_rows(uri)]
    return [(pair.content, pair.styles[0].uri) for pair in found]


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet", "m.csv.gz", "lists/m.csv"])
def test_every_content_comes_with_every_style(
    pictures: Catalog, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert main(["manifest", "--contents", "c/*.png", "--styles", "s/*.png", "-o", name]) == 0
    assert pairs(pictures.uri(name)) == [
        (pictures.uri(f"c/{content}.png"), pictures.uri(f"s/{style}.png"))
        for content in ("a", "b")
        for style in ("s", "t")
    ]
    assert f"{pictures.uri(name)}: 4 pairs" in capsys.readouterr().out


def test_globs_may_be_expanded_by_the_shell_and_name_a_file_once(pictures: Catalog) -> None:
    contents = ["c/a.png", "c/b.png", "c/*.png", "c/**/*.jpg"]
    assert main(["manifest", "--contents", *contents, "--styles", "s/s.png", "-o", "m.csv"]) == 0
    found = [content for content, _ in pairs(pictures.uri("m.csv"))]
    assert found == [pictures.uri(f"c/{name}") for name in ("a.png", "b.png", "deep/d.jpg")]


def test_the_manifest_runs_and_goes_on_running_where_its_folder_is_moved(
    pictures: Catalog,
) -> None:
    assert main(["manifest", "--contents", "c/*.png", "--styles", "s/*.png", "-o", "m.csv"]) == 0
    assert pictures.run(manifest="m.csv") == 0
    assert pictures.statuses() == ["ok"] * 4
    moved = pictures.root + "-moved"
    shutil.copytree(pictures.root, moved)
    for content, style in pairs(f"{moved}/m.csv"):
        assert content.startswith(moved)
        assert style.startswith(moved)


def test_a_manifest_of_a_bucket(pictures: Catalog, gcs: EmulatedBucket) -> None:
    for name in ("in/a.png", "in/b.png", "in/s.jpg"):
        storage.write_bytes(gcs.uri(name), b"x", "image/png")
    given = ["--contents", gcs.uri("in/*.png"), "--styles", gcs.uri("in/s.jpg"), "s/t.png"]
    assert main(["manifest", *given, "-o", gcs.uri("in/m.csv")]) == 0
    assert pairs(gcs.uri("in/m.csv")) == [
        (gcs.uri(f"in/{content}.png"), style)
        for content in ("a", "b")
        for style in (gcs.uri("in/s.jpg"), pictures.uri("s/t.png"))
    ]
    assert b"gs://" not in storage.read_bytes(gcs.uri("in/m.csv")).splitlines()[1]


@pytest.mark.parametrize(
    ("contents", "output", "status", "names"),
    [
        ("none/*.png", "m.csv", 2, ["none/*.png"]),
        ("c/*.png", "m.xlsx", 2, ["m.xlsx", ".csv", ".parquet"]),
        ("c/*.png", "c/a.png/m.csv", 1, ["c/a.png/m.csv"]),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_written(
    pictures: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Sentence,
    contents: str,
    output: str,
    status: int,
    names: list[str],
) -> None:
    before = pictures.files()
    assert main(["manifest", "--contents", contents, "--styles", "s/*", "-o", output]) == status
    sentence = one_sentence(capsys.readouterr().err)
    for name in names:
        assert name in sentence
    assert pictures.files() == before
