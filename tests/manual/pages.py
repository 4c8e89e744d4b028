"""The manual's pages as text: their fences, links, quoted messages."""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Iterator

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted((*DOCS.rglob("*.md"), ROOT / "README.md"))
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclasses.dataclass(frozen=True)
class Fence:
    """A block of code; `reason` says why it is not run, "" where it is."""

    language: str
    text: str
    reason: str


def name_of(page: pathlib.Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def fences(page: pathlib.Path) -> list[Fence]:
    """The blocks of code of a page, in their order."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Fence(one["language"], one["text"], one["reason"] or "") for one in found]


def lines(script: str) -> Iterator[str]:
    """The commands of a shell block, each whole: continued lines, and texts that follow `<<`."""
    waiting = iter(script.replace("\\\n", " ").splitlines())
    for line in waiting:
        command = line
        if end := re.search(r"<<\s*'?(\w+)'?", line):
            for more in waiting:
                command += f"\n{more}"
                if more == end[1]:
                    break
        if command.strip() and not command.lstrip().startswith("#"):
            yield command
