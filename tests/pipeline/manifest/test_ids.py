"""Ids as people have names: letters of any script, spaces, templates; what was an id stays one."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.errors import ManifestInvalid
from pipeline.__main__ import main
from pipeline.manifest.columns import Row
from pipeline.manifest.rows import read_rows
from pipeline.pairs.parsing import parse_pair

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]
QUICK = ("--set", "steps=1", "--batch-size=1")
NAMES = (
    "фото",
    "Red shoe 1",
    "写真一",
    "العربية",
    "हिन्दी",
    "ไทย ๑",
    "Ω² x",
    "полка 1/Красные туфли",
    "a b.c_d-e",
    "_ x",
    "写" * 75,
    "é" * 112,
)


def id_of(**columns: Any) -> str:
    row = Row(7, {"content": "c.png", "style": "s.png", **columns})
    return parse_pair(row, "/catalog/pairs.jsonl").id


@pytest.mark.parametrize("name", NAMES)
def test_an_id_may_hold_letters_and_digits_of_any_script_and_spaces(name: str) -> None:
    assert id_of(id=name) == name


def test_the_two_ways_to_write_a_letter_are_one_id() -> None:
    assert id_of(id=unicodedata.normalize("NFD", "Müller é")) == "Müller é"


@pytest.mark.parametrize(
    "name",
    [
        *(
            " a",
            "a ",
            "ü /b",
            "a/ b",
            "ü ",
            "-ü",
            "- a",
            ".ü",
            "a/.ü b",
            "\u0301a",
            "写/../x",
            "写//x",
        ),
        # Controls, spaces that are none, what prints nothing or turns the direction of writing.
        *("ü\n", "ü\tx", "ü\u00a0x", "ü\u3000x", "ü\u2028x", "ü\u200bx", "ü\u200dx", "ü\ufeffx"),
        *("ü\u202ex", "ü\u2066x", "ü\u00adx", "ü\ufe0fx", "ü\u115fx", "ü\u3164x", "ü\ue000x"),
        # What means something in paths and URIs, and looks like it.
        *("ü:x", "ü\\x", "ü\u2215x", "\uff0e\uff0e/x", "ü*", "ü?", "ü#", "ü%20", "ü$x", "写\ud800"),
        *("写" * 76, "é" * 151, "/".join(["写" * 50] * 4)),
    ],
)
def test_what_would_not_name_one_visible_file_is_no_id(name: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        id_of(id=name)
    sentence = str(caught.value)
    assert sentence.startswith("Row 7 has the id ")
    assert sentence.endswith(".")
    assert sentence.isprintable()


@pytest.mark.parametrize(
    ("content", "style", "expected"),
    [
        ("写真一.jpg", "風.jpg", "写真一--風-"),
        ("写真 一.jpg", "s.png", "写真-一--s-"),
        ("c.png", "風.jpg", "c--風-"),
        ("фото.jpg", "s.png", "фото--s-"),
        ("हिन्दी.jpg", "ไทย.png", "हिन्दी--ไทย-"),
        ("Émile.jpg", "s.png", "Émile--s-"),
        ("-a.jpg", "s.png", "a--s-"),
        ("(1).jpg", "s.png", "1---s-"),
        ("🎨.jpg", "🎨.png", "image--image-"),
        ("---.jpg", "…", "image--image-"),
        ("写" * 80 + ".jpg", "é" * 80 + ".jpg", "写" * 33 + "--" + "é" * 50 + "-"),
        # As they were before ids could hold more.
        ("Müller 1.png", "s.png", "M-ller-1--s-"),
        ("c.png", "Émile.png", "c---mile-"),
        ("_.png", "s.png", "_--s-"),
        (".hidden.png", "s.png", "hidden--s-"),
    ],
)
def test_a_default_id_keeps_the_letters_of_names_without_ascii_and_never_begins_with_a_dash(
    content: str, style: str, expected: str
) -> None:
    made = id_of(content=content, style=style)
    assert made[:-8] == expected
    assert id_of(id=made) == made


def test_default_ids_of_before_are_the_same() -> None:
    row = Row(1, {"content": "c.png", "style": "s.png"})
    assert parse_pair(row, "/catalog/pairs.jsonl", absolute_ids=True).id == "c--s-3efc8ab2"
    row = Row(1, {"content": "Müller 1.png", "style": "s.png"})
    made = parse_pair(row, "gs://catalog/pairs.jsonl", absolute_ids=True).id
    assert made == "M-ller-1--s-ac7e7940"


def test_default_ids_do_not_know_where_a_catalog_lies() -> None:
    styles = [{"uri": "s.png", "mask": "m.png"}, "t.png"]
    for style in ("s.png", styles, json.dumps(styles)):
        row = Row(1, {"content": "photos/c.png", "style": style})
        ids = {parse_pair(row, uri).id for uri in ("/a/m.jsonl", "gs://b/c/m.csv")}
        assert len(ids) == 1
    assert id_of() == "c--s-54499785"


ROWS = [
    {"id": "фото", "content": "a.png", "style": "s.png"},
    {"id": "Red shoe 1", "content": "a.png", "style": "s.png"},
    {"id": "полка 1/写真一", "content": "a.png", "style": "s.png"},
    {"id": "写" * 75, "content": "a.png", "style": "s.png"},
    {"id": "", "content": "写真一.png", "style": "風.png"},
]
MOVING = ("--set", "snapshot_every=1", "--set", "animation=webp")


def check_whole(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "s.png", "写真一.png", "風.png"):
        catalog.picture(name)
    catalog.manifest(ROWS)
    assert catalog.run(*QUICK, *MOVING) == 0
    assert catalog.statuses() == ["ok"] * 5
    ids = [result["id"] for result in catalog.results()]
    assert ids[:4] == [row["id"] for row in ROWS[:4]]
    assert ids[4].startswith("写真一--風-")
    assert catalog.names("out/images") == {f"{one}.png" for one in ids}
    assert catalog.names("out/losses") == {f"{one}.csv" for one in ids}
    assert catalog.names("out/animations") == {f"{one}.webp" for one in ids}
    assert catalog.records().keys() == {*ids}
    before = catalog.names("out/images") | catalog.names("out/records")
    assert catalog.run(*QUICK, *MOVING) == 0
    assert catalog.statuses() == ["skipped"] * 5
    assert catalog.names("out/images") | catalog.names("out/records") == before
    capsys.readouterr()
    assert main(["plan", *catalog.arguments(*QUICK, *MOVING)[1:]]) == 0
    assert "done already" in capsys.readouterr().out


def test_a_local_catalog_with_names_of_any_script_is_done_and_then_skipped(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    check_whole(catalog, capsys)


def test_a_catalog_in_a_bucket_with_names_of_any_script_is_done_and_then_skipped(
    catalog: Catalog, gcs: EmulatedBucket, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.root = gcs.uri("catalog")
    check_whole(catalog, capsys)


# nst manifest --id -------------------------------------------------------------------------------


@pytest.fixture
def pictures(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """Contents and styles, as the working directory."""
    for name in ("c/写真一.png", "c/Müller 1.png", "c/deep/写真一.png", "s/風.png", "s/s.png"):
        catalog.picture(name)
    monkeypatch.chdir(catalog.root)
    return catalog


def made(template: str | None, contents: str = "c/*.png", name: str = "m.csv") -> int:
    arguments = ["manifest", "--contents", contents, "--styles", "s/*.png", "-o", name]
    return main(arguments if template is None else [*arguments, f"--id={template}"])


@pytest.mark.parametrize("name", ["m.csv", "m.jsonl", "m.parquet"])
def test_a_template_makes_ids_of_the_names(pictures: Catalog, name: str) -> None:
    assert made("{style}/{content}-{number}", name=name) == 0
    uri = pictures.uri(name)
    assert [parse_pair(row, uri).id for row in read_rows(uri)] == [
        "s/Müller 1-1",
        "風/Müller 1-2",
        "s/写真一-3",
        "風/写真一-4",
    ]


def test_a_manifest_with_ids_runs(pictures: Catalog) -> None:
    assert made("{content}-{style}") == 0
    assert pictures.run(*QUICK, manifest="m.csv") == 0
    expected = {f"{c}-{s}.png" for c in ("Müller 1", "写真一") for s in ("s", "風")}
    assert pictures.names("out/images") == expected


def test_without_a_template_there_is_no_id_in_the_manifest(pictures: Catalog) -> None:
    assert made(None) == 0
    assert pictures.read("m.csv").splitlines()[0] == b"content,style"


def test_equal_names_in_several_folders_need_a_number_or_a_hash(
    pictures: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Sentence
) -> None:
    assert made("{content}-{style}", "c/**/*.png") == 2
    sentence = one_sentence(capsys.readouterr().err)
    for part in ('"写真一-s"', "{number}", "{hash}"):
        assert part in sentence
    assert "m.csv" not in pictures.names("")
    for template in ("{content}-{hash}", "{number}"):
        assert made(template, "c/**/*.png") == 0


@pytest.mark.parametrize(
    ("template", "parts"),
    [
        ("{contents}-{style}", ("{contents}", "{content}, {style}, {number}, {hash}")),
        ("{content.__class__}", ("{content.__class__}",)),
        ("{content!r}", ("{content!r}",)),
        ("{}", ("{}",)),
        ("{content", ("a brace alone",)),
        ("content}", ("a brace alone",)),
        ("one for all", ('"one for all"', "row 1")),
        ("../{content}-{style}", ("../Müller 1-s", "cannot name files")),
        ("-{content}-{style}", ("-Müller 1-s", "cannot name files")),
        ("-{number}", ('"-1"', "cannot name files")),
        ("{content}: {style}", ("Müller 1: s", "cannot name files")),
        ("", ("cannot name files",)),
    ],
)
def test_a_template_that_makes_no_ids_is_a_sentence_and_nothing_is_written(
    pictures: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Sentence,
    template: str,
    parts: tuple[str, ...],
) -> None:
    before = pictures.files()
    assert made(template) == 2
    sentence = one_sentence(capsys.readouterr().err)
    for part in parts:
        assert part in sentence
    assert pictures.files() == before
