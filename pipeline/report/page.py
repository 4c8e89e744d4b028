"""The first page of a report, rendered with everything escaped, and its scripts and styles."""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
import time
from importlib import resources
from typing import TYPE_CHECKING, Any

from pipeline import storage
from pipeline.records.tasks import OK
from pipeline.report.entries import Failure
from pipeline.report.numbers import histogram
from pipeline.report.runs import Run
from pipeline.report.shards import DETAIL_PAIRS, SCRIPT, Shards

if TYPE_CHECKING:
    import jinja2

SCRIPTS = ("data.js", "view.js", "grid.js", "compare.js", "detail.js", "marks.js", "main.js")
STYLES = ("report.css", "detail.css")
RUNS_SHOWN = 12
FAILURES_SHOWN = 100  # of each status
# What turns the direction of the text around it, or hides in it.
_DIRECTION = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


@dataclasses.dataclass(frozen=True)
class Head:
    """What the page says before any pair: of which output, made from what, how long it took.

    `private_runs`: those that were told that URLs may lead to private hosts.
    """

    output: str
    name: str
    runs: list[Run]
    failures: list[Failure]
    private_runs: list[str]
    seconds: float
    unreadable: int


def write_assets(folder: str) -> None:
    """Put scripts and styles beside the data."""
    for name in SCRIPTS:
        storage.write_bytes(storage.join(folder, name), _asset("static", name), SCRIPT)
    for name in STYLES:
        data = _asset("static", name)
        storage.write_bytes(storage.join(folder, name), data, "text/css; charset=utf-8")


def render(head: Head, shards: Shards, retries: list[tuple[Run, str]]) -> bytes:
    """The page as HTML.

    Args:
        retries: runs with failures, and the command that does them again.
    """
    totals, ssim = shards.numbers("total"), shards.numbers("ssim")
    text = _template().render(
        head=head,
        made=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        shards=shards,
        detail_pairs=DETAIL_PAIRS,
        scripts=SCRIPTS,
        styles=STYLES,
        done=shards.statuses[OK],
        last=next(iter(head.runs), None),
        runs=head.runs[:RUNS_SHOWN],
        failures=_by_status(head.failures),
        shown_failures=FAILURES_SHOWN,
        failed=len(head.failures),
        retries=retries,
        histograms=[
            ("Loss", "logarithmic", histogram(totals, logarithmic=True)),
            ("SSIM", "1 is the content itself", histogram(ssim)),
        ],
    )
    return text.encode()


def visible(text: Any) -> str:
    """The text with marks that would turn its direction, or hide, written out."""
    return _DIRECTION.sub(lambda found: f"⟨U+{ord(found[0]):04X}⟩", str(text))


def _by_status(failures: list[Failure]) -> dict[str, list[Failure]]:
    found: dict[str, list[Failure]] = collections.defaultdict(list)
    for failure in failures:
        found[failure.status].append(failure)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


@functools.cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["visible"] = visible
    return environment.from_string(_asset("templates", "index.html").decode())


def _asset(folder: str, name: str) -> bytes:
    return (resources.files("pipeline") / "report" / folder / name).read_bytes()
