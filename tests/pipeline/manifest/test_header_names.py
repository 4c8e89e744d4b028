"""Columns by names of another spelling: in any case, with blanks, and as an export has them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.errors import ConfigError
from pipeline.__main__ import main
from pipeline.manifest.columns import ManifestError
from pipeline.manifest.header import header_of
from pipeline.manifest.reading import Reading, parse_columns
from pipeline.manifest.rows import check_manifests, read_rows
from pipeline.pairs.parsing import parse_pair

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]
KINDS = ("m.csv", "m.jsonl", "m.parquet")
EXPORT = {"image_url": "a.png", "look": "s.png", "sku": "A-1", "steps": "3", "id": "77"}
NAMES = "content=image_url,style=look,id=sku,options.steps=steps"


@pytest.mark.parametrize("kind", KINDS)
def test_names_may_be_in_any_case_with_blanks(catalog: Catalog, kind: str) -> None:
    cells = {"Content ": "a.png", " STYLE": "s.png", "Id": "x", "OPTIONS . Seed": "3", "Größe": "L"}
    uri = catalog.manifest([cells], kind)
    assert check_manifests(uri) == []
    (row,) = read_rows(uri)
    pair = parse_pair(row, uri)
    assert (pair.id, pair.content, pair.columns) == ("x", catalog.uri("a.png"), {"Größe": "L"})
    assert str(pair.options["seed"]) == "3"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("cells", [("Content", "CONTENT", "style"), ("Id", "ID ", "Style")])
def test_two_cells_that_are_one_name_are_refused(
    catalog: Catalog, kind: str, cells: tuple[str, ...]
) -> None:
    row = {"content": "a.png", **dict.fromkeys(cells, "s.png")}
    if "Content" in cells:
        del row["content"]
    uri = catalog.manifest([row], kind)
    said = f'has "{cells[0]}" and "{cells[1].strip()}", which both mean {cells[0].casefold()}'
    if kind == "m.jsonl":
        (read,) = read_rows(uri)
        assert said in str(read.problem)
        return
    with pytest.raises(ManifestError) as caught:
        check_manifests(uri)
    assert said in str(caught.value)
    assert str(caught.value).endswith("rename one of the columns.")


@pytest.mark.parametrize("kind", KINDS)
def test_beside_content_and_style_another_spelling_is_a_column_as_it_ever_was(
    catalog: Catalog, kind: str
) -> None:
    uri = catalog.manifest([{"content": "a.png", "style": "s.png", "ID": "7", "Mark": "x"}], kind)
    id_said, mark_said = check_manifests(uri)
    assert id_said.startswith('The column "ID" of the manifest only travels through')
    assert "write mark if" in mark_said
    (row,) = read_rows(uri)
    assert parse_pair(row, uri).columns == {"ID": "7", "Mark": "x"}
    assert parse_pair(row, uri).id.startswith("a--s-")


@pytest.mark.parametrize("kind", KINDS)
def test_an_export_is_read_by_its_own_names_which_travel_through(
    catalog: Catalog, kind: str
) -> None:
    uri = catalog.manifest([EXPORT], kind)
    reading = Reading(parse_columns([NAMES]))
    assert check_manifests(uri, reading) == []
    (row,) = read_rows(uri, reading)
    pair = parse_pair(row, uri)
    assert (pair.id, pair.content) == ("A-1", catalog.uri("a.png"))
    assert str(pair.options["steps"]) == "3"
    # A column in the way of a name has another; what is a setting now sets, and no more.
    others = {"image_url": "a.png", "look": "s.png", "sku": "A-1", "columns.id": "77"}
    assert pair.columns == others


def test_names_of_an_export_may_be_exchanged_or_in_another_case() -> None:
    exchanged = (("content", "style"), ("style", "content"))
    assert header_of(("content", "style"), exchanged).names == ("style", "content")
    header = header_of((" Image URL", "look"), (("content", "image url"), ("style", "look")))
    assert header.names == ("content", "style")
    assert header.copies == (("Image URL", "content"), ("look", "style"))
    with pytest.raises(ValueError, match='has "Url" and "URL", either of which can be url'):
        header_of(("Url", "URL"), (("content", "url"),))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_name_that_no_column_has_is_refused_with_those_that_are_there(
    catalog: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Sentence,
    kind: str,
    command: str,
) -> None:
    uri = catalog.manifest([EXPORT], kind)
    before = catalog.files()
    given = ["--columns", "content=image_uri,style=look"]
    assert main([command, *catalog.arguments(*given, manifest=kind)[1:]]) == 2
    sentence = one_sentence(capsys.readouterr().err)
    for part in ('"image_uri"', uri, '"look"', "did you mean image_url?"):
        assert part in sentence
    assert catalog.files() == before


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("content", "is no name for another"),
        ("content=", "is no name for another"),
        ("contents=x", "did you mean content?"),
        ("steps=x", "did you mean options.steps?"),
        ("options.stepz=x", "steps"),
        ("colour=x", "known are content, style, id"),
        ("content=x,Content=y", '"content" twice'),
        ("content=x,style=x", '"x" twice'),
    ],
)
def test_what_columns_cannot_say_is_a_sentence(text: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_columns([text])
    assert part in str(caught.value)
    assert str(caught.value).startswith("--columns ")


def test_names_with_commas_and_several_options_are_understood() -> None:
    assert parse_columns(["content=Image, large,style=look", "Options.Steps = n"]) == (
        ("content", "Image, large"),
        ("style", "look"),
        ("options.steps", "n"),
    )


@pytest.mark.parametrize("beam", [(), ("--runner=FnApiRunner",)])
def test_what_a_run_by_own_names_leaves_behind_is_usable_as_it_is(
    catalog: Catalog, beam: tuple[str, ...]
) -> None:
    for name in ("a.png", "s.png"):
        catalog.picture(name)
    gone = {**EXPORT, "image_url": "gone.png", "sku": "A-2"}
    catalog.manifest([EXPORT, gone], "shop/m.csv")
    for name in ("a.png", "s.png"):
        catalog.picture(f"shop/{name}")
    status = catalog.run("--columns", NAMES, *beam, manifest="shop/m.csv")
    assert (status, catalog.statuses()) == (3, ["ok", "input_not_found"])
    first = catalog.results()[0]
    assert (first["id"], first["steps"]) == ("A-1", 3)
    assert first["columns"]["image_url"] == "a.png"
    (failure,) = catalog.failures()
    assert failure["content"] == catalog.uri("shop/gone.png")
    assert (failure["image_url"], failure["options.steps"]) == ("gone.png", "3")
    # As the closing line says: without --columns.
    catalog.picture("shop/gone.png")
    again = f"{catalog.run_folder}/failures.csv"
    assert check_manifests(catalog.uri(again)) == []
    assert catalog.run(*beam, manifest=again) == 0
    assert [line["id"] for line in catalog.results()] == ["A-2"]
    assert catalog.results()[0]["columns"] == {**first["columns"], "image_url": "gone.png"} | {
        "sku": "A-2"
    }
    assert catalog.run("--columns", NAMES, *beam, manifest="shop/m.csv") == 0
    assert catalog.statuses() == ["skipped"] * 2
    assert json.loads(catalog.read(f"{catalog.run_folder}/summary.json"))["pairs"] == 2


@pytest.mark.parametrize("name", ["m.tsv", "m.tsv.gz"])
def test_tabs_are_written_and_read_by_the_extension(catalog: Catalog, name: str) -> None:
    for picture in ("c/a, b.png", "c/b.png", "s.png"):
        catalog.picture(picture)
    given = ["--contents", catalog.uri("c"), "--styles", catalog.uri("s.png")]
    assert main(["manifest", *given, "-o", catalog.uri(name)]) == 0
    assert catalog.run(manifest=name) == 0
    assert [line["content"] for line in catalog.results()] == [
        catalog.uri("c/a, b.png"),
        catalog.uri("c/b.png"),
    ]
    if name == "m.tsv":
        assert catalog.read(name) == b"content\tstyle\nc/a, b.png\ts.png\nc/b.png\ts.png\n"


def parsed(uri: str, reading: Reading) -> list[Any]:
    """The pairs of a manifest."""
    return [parse_pair(row, uri) for row in read_rows(uri, reading)]


def test_styles_are_those_of_rows_that_have_none(catalog: Catalog) -> None:
    rows = [{"content": "a.png", "style": "", "id": "a"}, {"content": "b.png", "style": "own.png"}]
    uri = catalog.manifest(rows, "m.csv")
    reading = Reading(styles=(catalog.uri("s/x.png"), "gs://b/y.png"))
    pairs = parsed(uri, reading)
    assert [row.number for row in read_rows(uri, reading)] == [1, 2, 3]
    assert [pair.styles[0].uri for pair in pairs] == [
        catalog.uri("s/x.png"),
        "gs://b/y.png",
        catalog.uri("own.png"),
    ]
    assert [pair.id for pair in pairs[:2]] == ["a--x", "a--y"]
    # One style leaves ids alone, and no column of styles needs to be there.
    uri = catalog.manifest([{"Content": "a.png", "ID": "a"}], "n.csv")
    (pair,) = parsed(uri, Reading(styles=(catalog.uri("s/x.png"),)))
    assert (pair.id, pair.row["style"]) == ("a", catalog.uri("s/x.png"))
