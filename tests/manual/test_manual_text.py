"""What the manual says is so: messages, options, statuses, files that it links to."""

from __future__ import annotations

import ast
import functools
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from nst_core.canvas import Size
from nst_core.config import SETTINGS, preset
from pipeline import cli
from pipeline.job import gpus
from tests.manual.pages import DOCS, PAGES, ROOT, name_of
from tools.manual import pictures
from tools.manual.command_line import page as command_line_page

LINK = re.compile(r"\]\(([^)\s]+)\)")
# Options of Beam, of its runners and of other programs that the manual names beside `nst`'s; those
# with an underscore are Beam's all.
FOREIGN = {
    *("--allow-root", "--any-user", "--most-workers", "--port"),
    *("--build-arg", "--experiments", "--gpus", "--help", "--parallelism", "--project"),
    *("--region", "--runner"),
}
COMMANDS = ["run", "plan", "status", "stylize", "manifest", "report", "export", "demo", "weights"]
MOST_BYTES = 4_000_000


@functools.cache
def sentences() -> list[str]:
    """Every text in the code, with `…` where a value goes in; neighbours are one text."""
    found = []
    for package in ("nst_core", "pipeline"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"%[sd]|\{\}", "…", node.value))
                elif isinstance(node, ast.JoinedStr):
                    found.append(
                        "".join(
                            str(part.value) if isinstance(part, ast.Constant) else "…"
                            for part in node.values
                        )
                    )
    return found


def quotations() -> list[str]:
    """The messages that the page of troubleshooting quotes, each in one line."""
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"(?:^> .*\n)+", text, re.MULTILINE)
    return [" ".join(one.replace("> ", "").split()) for one in quoted]


@pytest.mark.parametrize("quotation", quotations())
def test_every_message_that_is_explained_is_one_that_the_program_says(quotation: str) -> None:
    assert any(quotation in sentence for sentence in sentences())


def test_every_status_is_explained() -> None:
    statuses = re.findall(
        r"^\| `(\w+)` \|", (DOCS / "reference/statuses.md").read_text(), re.MULTILINE
    )
    text = (DOCS / "troubleshooting.md").read_text()
    assert {"duplicate_id", "internal"} <= {*statuses}
    assert [one for one in statuses if one not in text and one != "duplicate_id"] == []


def test_the_options_page_is_the_program_s() -> None:
    written = (DOCS / "reference/command_line.md").read_text(encoding="utf-8")
    assert written == command_line_page(), (
        "python -m tools.manual.command_line > docs/reference/command_line.md"
    )


def test_every_option_is_in_the_reference() -> None:
    text = (DOCS / "reference/command_line.md").read_text()
    for command in COMMANDS:
        for action in cli.options_of(command):
            if action.dest != "help":
                assert all(name in text for name in action.option_strings), action.dest


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_that_is_named_is_one(page: pathlib.Path) -> None:
    commands = (
        "run",
        "plan",
        "status",
        "stylize",
        "manifest",
        "report",
        "export",
        "demo",
        "weights",
    )
    known = {name for one in commands for a in cli.options_of(one) for name in a.option_strings}
    # What other programs take stands behind their names.
    for said in re.findall(r"`(?:nst |--)[^`\n]*`", page.read_text(encoding="utf-8")):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9_-]*", said):
            assert "_" in option or option in {*known, "--version", *FOREIGN}, said


def test_every_setting_that_is_said_in_a_command_is_one() -> None:
    for page in PAGES:
        for key in re.findall(r"--set (?!key=)([a-z_]+)=", page.read_text(encoding="utf-8")):
            assert key in SETTINGS, f"{page}: {key}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_that_is_linked_is_there(page: pathlib.Path) -> None:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, anchor = link.partition("#")
        if "://" in link:
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path), link


def anchors(path: pathlib.Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings}


def test_the_manual_s_pictures_are_small() -> None:
    files = (path for path in DOCS.rglob("*") if path.suffix in (".jpg", ".png", ".webp"))
    assert sum(path.stat().st_size for path in files) < MOST_BYTES


def test_every_illustration_is_one_that_the_tool_makes() -> None:
    made = {f"{one.name}.webp" for one in pictures.WANTED} | {
        pictures.MASK,
        f"{pictures.SHOWN_MASK}.webp",
    }
    made |= {f"{path.stem}.webp" for path in (ROOT / "pipeline/samples").rglob("*.jpg")}
    assert {path.name for path in pictures.PICTURES.iterdir()} == {*made, "tutorial_report.webp"}


def test_the_mask_is_that_of_the_drawn_sample() -> None:
    written = np.asarray(Image.open(pictures.PICTURES / pictures.MASK), np.float32)
    assert np.abs(written - np.asarray(pictures.mask(), np.float32)).mean() < 1


def test_the_table_of_10_000_pairs_is_the_code_s_estimate() -> None:
    default, square = preset("default"), Size(512, 512)
    compiling = gpus.shapes([(default, square, 10_000)], compiled=True)["compile_seconds"]
    text = (DOCS / "how-to/cost.md").read_text()
    for name in gpus.NAMES:
        seconds = gpus.find(name).seconds(default, square)
        one, eight = (gpus.cost(10_000 * seconds, workers, compiling) for workers in (1, 8))
        assert (
            f"| `{name}` | {seconds:.2g} | {one.hours:.1f} | {eight.hours * 60:.0f} "
            f"| {eight.gpu_hours:.1f} |"
        ) in text
