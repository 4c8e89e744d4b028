"""What of the report's pages outlives a look at them: marks, and what is printed."""

from __future__ import annotations

import csv
import pathlib
import shlex
from typing import Any

from pipeline.__main__ import main

Catalog = Any


def mark(page: Any, pair_id: str) -> None:
    """Mark a pair redo."""
    page.focus(f".open[aria-label^='{pair_id},']")
    page.keyboard.press("r")


def save(page: Any, path: pathlib.Path) -> set[str]:
    """Save the marks; the ids of those marked redo."""
    with page.expect_download() as download:
        page.click("#save")
    download.value.save_as(path)
    with path.open(newline="") as file:
        return {row["id"] for row in csv.DictReader(file) if row["mark"] == "redo"}


def test_redo_is_forgotten_once_it_is_done(
    opened: Any, catalog: Catalog, tmp_path: pathlib.Path
) -> None:
    catalog.pairs(("a.png", "b.png"))
    assert catalog.run() == 0
    page = opened(catalog.uri("out"))
    mark(page, "a")
    first = tmp_path / "marks.csv"
    assert save(page, first) == {"a"}
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert page.text_content("#marks-count") == "1 redo"
    arguments = ("--output", catalog.uri("out"), "--weights", "procedural")
    assert main(["run", "--manifest", str(first), *arguments]) == 0
    page.reload()
    page.wait_for_selector("html[data-ready]", state="attached")
    assert not page.is_visible("#marks")
    mark(page, "b")
    assert save(page, tmp_path / "second.csv") == {"b"}


def test_a_mark_allows_no_scheme_for_which_its_row_was_refused(
    opened: Any, catalog: Catalog, tmp_path: pathlib.Path
) -> None:
    catalog.pairs(("a.png",))
    names = {"a": "a.png", "server": "ftp://host/a.png", "web": "https://host/a.png"}
    catalog.manifest([{"id": one, "content": c, "style": "s.png"} for one, c in names.items()])
    assert catalog.run() == 3
    page = opened(catalog.uri("out"))
    for one in names:
        mark(page, one)
    marks = tmp_path / "marks.csv"
    assert save(page, marks) == {*names}
    command = shlex.split(page.text_content("#then-command"))
    assert "--allow-schemes" not in command
    command[command.index("marks.csv")] = str(marks)
    assert main(command[1:]) == 3  # Status 2 would be a command that does nothing.


def test_styles_of_one_file_name_are_told_apart(opened: Any, catalog: Catalog) -> None:
    for name in ("a.png", "one/s.png", "two/s.png", "t.png"):
        catalog.picture(name)
    rows = [
        {"id": f"p{number}", "content": "a.png", "style": style}
        for number, style in enumerate(("one/s.png", "two/s.png", "t.png"))
    ]
    catalog.manifest(rows)
    assert catalog.run() == 0
    page = opened(catalog.uri("out"))
    offered = page.eval_on_selector_all("#style option", "all => all.map(one => one.text)")
    whole = {catalog.uri(f"{folder}/s.png") for folder in ("one", "two")}
    assert {*offered} == {"all", "t.png", *whole}


def test_what_is_printed_is_all_that_is_chosen_and_no_empty_paper(opened: Any, many: str) -> None:
    page = opened(many)
    page.select_option("#style", label="style03.jpg")
    page.select_option("#column", label="shelf")
    page.fill("#value", "5")
    page.wait_for_selector(".card[aria-setsize='71']")
    page.evaluate("window.scrollTo(0, 1e9)")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    places = page.eval_on_selector_all(".card", "all => all.map(one => +one.ariaPosInSet)")
    assert places == list(range(1, 72))
    assert page.inner_text("#printed") == "71 of 6,000 pairs."
    assert not page.is_visible("#tools")
    last, body = (page.locator(one).bounding_box() for one in (".card >> nth=-1", "body"))
    assert body["y"] + body["height"] - last["y"] - last["height"] < 100
    # Of very many the first ones, and afterwards the page is as before.
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.select_option("#style", label="all")
    page.fill("#value", "")
    page.wait_for_selector(".card[aria-setsize='6000']")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert 500 <= page.locator(".card").count() < 520
    assert page.text_content("#printed").startswith("The first 50")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".card").count() < 100
    assert not page.is_visible("#printed")
