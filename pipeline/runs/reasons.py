"""Why pairs fail: the commonest reasons, however many different files they name."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from nst_core.errors import harmless, shortened
from pipeline.records.tasks import Outcome

# Reasons that are told apart; what comes later counts by its status alone.
MOST_KINDS = 500
MOST_SHOWN = 300  # characters of an example
MOST_IN_A_LINE = 150  # of it, where several reasons share one
# What differs between pairs that fail for one reason: names of files, quoted values, numbers.
_OWN = re.compile(r"""\S*[/\\]\S*|'[^']*'|"[^"]*"|\b\S+\.[A-Za-z]\w+\b|\d+(?:[.,]\d+)*""")


@dataclasses.dataclass
class _Kind:
    """A reason: how many pairs it has failed, and the first of them."""

    count: int
    status: str
    id: str | None
    row: int
    example: str


class Reasons:
    """Counts failures by what their sentences say apart from names and numbers."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def add(self, outcome: Outcome) -> None:
        """Count a failure."""
        said = " ".join(str(outcome.error or "").split())
        kind = _Kind(1, outcome.status, outcome.id, outcome.number.row, shortened(said, MOST_SHOWN))
        self._count((outcome.status, _OWN.sub("…", said)), kind)

    def merge(self, other: Reasons) -> None:
        """Count what another one has counted."""
        for key, kind in other._kinds.items():
            self._count(key, dataclasses.replace(kind))

    def _count(self, key: tuple[str, str], kind: _Kind) -> None:
        if key not in self._kinds and len(self._kinds) >= MOST_KINDS:
            key = (kind.status, "")
        if key in self._kinds:
            self._kinds[key].count += kind.count
        else:
            self._kinds[key] = kind

    def commonest(self, most: int = 5) -> list[dict[str, Any]]:
        """At most so many, the commonest first: count, status; id, row, sentence of one."""
        kinds = sorted(self._kinds.values(), key=lambda kind: -kind.count)
        return [dataclasses.asdict(kind) for kind in kinds[:most]]


def reason_line(reason: Mapping[str, Any]) -> str:
    """A reason for people, whoever tells it, with the first pair that it has failed."""
    count, row = reason.get("count"), reason.get("row")
    first = reason.get("id") or (f"row {row}" if row else "")
    named = f" ({first}{'' if count == 1 else ', …'})" if first else ""
    return harmless(f"{count} × {reason.get('status')}{named}: {reason.get('example')}")


def shared_line(reasons: list[dict[str, Any]], failed: int) -> str:
    """The reasons for which so many pairs have failed, in one line."""
    which = "" if failed == sum(one["count"] for one in reasons) else ", the commonest"
    lines = (
        reason_line({**one, "example": shortened(one["example"], MOST_IN_A_LINE).rstrip(".")})
        for one in reasons
    )
    return f"{failed} failed{which}: {'; '.join(lines)}"
