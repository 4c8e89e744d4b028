"""What of the report's pages outlives a look at them: marks."""

from __future__ import annotations

import csv
import pathlib
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
