"""A name that is not there: found in its other spelling, or with a hint at what is meant."""

from __future__ import annotations

import os
import unicodedata
from typing import TYPE_CHECKING

import pytest

from pipeline import storage
from pipeline.storage.hints import hint

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def nfc(name: str) -> str:
    """Composed: é is one character."""
    return unicodedata.normalize("NFC", name)


def nfd(name: str) -> str:
    """Decomposed: é is two characters."""
    return unicodedata.normalize("NFD", name)


def test_names_that_are_composed_otherwise_than_on_the_disk_are_found(catalog: Catalog) -> None:
    # A folder and a file of two systems, so that no one form is right for the whole path.
    catalog.picture(f"{nfd('é')}/{nfc('ü')}.png")
    if os.path.exists(catalog.uri(f"{nfc('é')}/{nfd('ü')}.png")):
        pytest.skip("this disk takes both forms for one name")
    catalog.picture(f"{nfc('ß-ö')}.png")
    catalog.manifest(
        [{"id": "a", "content": f"{nfc('é')}/{nfd('ü')}.png", "style": f"{nfd('ß-ö')}.png"}]
    )
    assert catalog.run() == 0
    # The pair is what its row says: the next run finds it done.
    assert catalog.records()["a"]["sources"]["content"].endswith(f"{nfc('é')}/{nfd('ü')}.png")
    assert catalog.run() == 0
    assert catalog.statuses() == ["skipped"]


def test_the_spelling_that_is_given_comes_first(catalog: Catalog) -> None:
    catalog.write(f"{nfd('é')}.png", b"decomposed")
    assert catalog.read(f"{nfc('é')}.png") == b"decomposed"
    catalog.write(f"{nfc('é')}.png", b"composed")
    assert catalog.read(f"{nfc('é')}.png") == b"composed"


def test_in_neither_form_it_does_not_exist_by_its_own_name(catalog: Catalog) -> None:
    with pytest.raises(storage.NotFound, match=f"{nfc('é')}.png does not exist"):
        catalog.read(f"{nfc('é')}.png")


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("~/a.jpg", "~ is an ordinary character here"),
        ("a.jpg ", "ROOT/in/a.jpg is there, without the blanks around its name"),
        (" a.jpg\u00a0", "ROOT/in/a.jpg is there, without the blanks around its name"),
        ('"a.jpg"', "ROOT/in/a.jpg is there, without the quotation marks"),
        ('"../in/a.jpg"', "ROOT/in/../in/a.jpg is there, without the quotation marks"),
        ("\u201ca.jpg\u201d", "ROOT/in/a.jpg is there, without the quotation marks"),
        ('"ROOT/in/a.jpg"', "ROOT/in/a.jpg is there, without what is before that path"),
        ("file:ROOT/in/a.jpg", "ROOT/in/a.jpg is there, without what is before that path"),
        ("localhostROOT/in/a.jpg", "ROOT/in/a.jpg is there, without what is before that path"),
        ("\u202aa.jpg", "ROOT/in/a.jpg is there, without a character that prints nothing"),
        ("a.jpg\u200b", "ROOT/in/a.jpg is there, without a character that prints nothing"),
        ("x\u200b.jpg", "it has the character U+200B, which prints nothing"),
        ("..\\in\\a.jpg", "ROOT/in/../in/a.jpg is there, with / between folders"),
        ("b%20c.jpg", "ROOT/in/b c.jpg is there, and % is an ordinary character here"),
        ("A.jpg", "ROOT/in/a.jpg is there, and capitals count"),
        ("a.JPG", "ROOT/in/a.jpg is there, and capitals count"),
        ("a.jpg;x.jpg", 'ROOT/in/a.jpg is there: for several styles write a JSON list, ["a.jpg"'),
        ("a.jpg , x.jpg", "ROOT/in/a.jpg is there: for several styles write a JSON list"),
        ("x.jpg ", "its name begins or ends with a blank"),
        ("photos\\x.jpg", "it has backslashes, and folders are divided by /"),
        ("C:\\photos\\x.jpg", "C: is a drive of Windows: write the path as this system has it"),
        ("d:/photos/x.jpg", "d: is a drive of Windows: write the path as this system has it"),
        ("*.jpg", "a pattern is no name: nst manifest writes a row for each file that matches"),
        ("x.jpg;y.jpg", 'several styles are a JSON list, ["a.jpg", "b.jpg"]'),
    ],
)
def test_what_is_likely_meant_is_said_in_the_same_sentence(
    catalog: Catalog, name: str, clause: str
) -> None:
    catalog.write("in/a.jpg", b"a")
    catalog.write("in/b c.jpg", b"b")
    with pytest.raises(storage.NotFound) as caught:
        storage.read_bytes(catalog.uri(f"in/{name.replace('ROOT', catalog.root)}"))
    sentence = str(caught.value)
    assert "does not exist: correct the URI or put the file there; " in sentence
    assert sentence.endswith(".")
    assert clause.replace("ROOT", catalog.root) in sentence


def test_an_ordinary_name_that_is_missing_has_no_hint(catalog: Catalog) -> None:
    catalog.write("in/a.jpg", b"a")
    for name in ("in/x.jpg", "in/x,y.jpg", "in/.x", "none/a.jpg"):
        with pytest.raises(storage.NotFound, match=r"put the file there\.$"):
            catalog.read(name)


def test_a_link_that_leads_nowhere_is_called_one(catalog: Catalog) -> None:
    catalog.write("in/a.jpg", b"a")
    for target in ("gone.jpg", "x.jpg", os.fsdecode(b"\xe9.jpg")):
        path = catalog.uri("in/x.jpg")
        os.symlink(target, path)
        said = target.replace("\udce9", r"\\xe9")
        with pytest.raises(storage.NotFound, match=f"x.jpg is a link to {said}, where no file"):
            storage.read_bytes(path)
        os.unlink(path)


def test_elsewhere_only_the_name_itself_is_looked_at() -> None:
    assert "JSON list" in hint("gs://b/x.jpg;y.jpg")
    assert "blank" in hint("gs://b/x.jpg ")
    assert hint("gs://b/x.jpg") == ""


@pytest.mark.timeout(60)
def test_a_name_of_a_million_blanks_is_soon_looked_at() -> None:
    blanks = " " * 1_000_000
    assert hint(f"in/a.jpg{blanks}x") == ""
    assert "JSON list" in hint(f"in/a.jpg{blanks};x.jpg", {"in/a.jpg"}.__contains__)
