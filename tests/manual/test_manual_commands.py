"""Every command of the manual is run, page by page, or says why it is not, and is understood."""

from __future__ import annotations

import pathlib
import re
import shlex
from collections.abc import Callable

import pytest

from pipeline import cli
from pipeline.runners import dataflow
from tests.manual.pages import DOCS, PAGES, ROOT, Fence, fences, lines, name_of

TUTORIAL = DOCS / "tutorial.md"
# Fences that are no commands: diagrams, tables, what a program prints, other languages.
OTHERS = {"text", "csv", "json", "yaml", "sql"}
WITH_COMMANDS = [
    page
    for page in PAGES
    if page != TUTORIAL
    and any(one.language in ("bash", "python") and not one.reason for one in fences(page))
]


def commands(block: Fence) -> list[str]:
    """What a block says to `nst`."""
    parts = (part.strip() for line in lines(block.text) for part in line.split(" && "))
    return [part for part in parts if re.match(r"nst(\s|$)", part)]


def test_the_tutorial_is_run_as_it_is_typed(tutorial: pathlib.Path) -> None:
    assert (tutorial / "stylized/report/index.html").exists()


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=name_of)
def test_a_page_s_commands_are_run_in_their_order(
    page: pathlib.Path, folder: pathlib.Path, run_page: Callable[..., pathlib.Path]
) -> None:
    run_page(fences(page), folder)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_says_what_it_is(page: pathlib.Path) -> None:
    for block in fences(page):
        assert block.language in {"bash", "python", *OTHERS}, block.text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_is_not_run_is_understood_all_the_same(page: pathlib.Path) -> None:
    for block in fences(page):
        if block.language != "bash" or not block.reason:
            continue
        for command in commands(block):
            # Placeholders in capitals would be no names of buckets.
            said = command.replace("BUCKET", "bucket").replace("REGION", "us").replace("…", "")
            known = cli.parse(shlex.split(said, comments=True)[1:])
            if known.command == "run":
                dataflow.completed(cli.run_options(known))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_script_that_is_named_is_there(page: pathlib.Path) -> None:
    for block in fences(page):
        for name in re.findall(r"^(deploy/\S+\.sh)", block.text, re.MULTILINE):
            assert (ROOT / name).exists()
