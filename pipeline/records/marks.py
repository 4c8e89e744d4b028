"""Which result a mark is of: one that is marked redo is done again once, not with every run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def identity_of(record: Mapping[str, Any]) -> str:
    """What tells the result of this record from all others of its pair: its time and its run."""
    return f"{record.get('finished_at')} {record.get('run')}"
