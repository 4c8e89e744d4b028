"""What happens in this process's workers, told to whoever watches.

A runner that works in this process (the default) shares this module with the command line, which
listens; workers in other processes have no listener, and their events end here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.records.tasks import Outcome

if TYPE_CHECKING:
    from nst_core.results import Compiling, Progress


@dataclasses.dataclass(frozen=True)
class CatalogPlanned:
    """The manifest has so many pairs (rows), of which so many are likely to be done."""

    pairs: int
    to_do: int


@dataclasses.dataclass(frozen=True)
class PairsWaiting:
    """So many pairs wait to be done, or are likely to; replaces the count before it."""

    count: int


@dataclasses.dataclass(frozen=True)
class PairsPlanned:
    """So many pairs go to work now, and wait no more if they did."""

    count: int


@dataclasses.dataclass(frozen=True)
class PairBegun:
    """The work on a pair has begun: it is read."""

    pair_id: str


@dataclasses.dataclass(frozen=True)
class PairEnded:
    """A pair ended like this.

    `was_planned`: whether it was one of those to be done. `was_begun`: whether work on it took its
    time.
    """

    outcome: Outcome
    was_planned: bool
    was_begun: bool = False

    @property
    def status(self) -> str:
        """Of the outcome."""
        return self.outcome.status


@dataclasses.dataclass(frozen=True)
class Steps:
    """A batch (named by its first pair) is at this step."""

    pair_id: str
    progress: Progress


@dataclasses.dataclass(frozen=True)
class Compilation:
    """A batch waits until these programs are there."""

    programs: Compiling


Event = CatalogPlanned | PairsWaiting | PairsPlanned | PairBegun | PairEnded | Steps | Compilation
Listener = Callable[[Event], None]

_listener: Listener | None = None


def listen(listener: Listener | None) -> None:
    """Send this process's events to `listener`, or to nobody."""
    global _listener
    _listener = listener


def emit(event: Event) -> None:
    """Tell the listener, if there is one."""
    listener = _listener
    if listener is not None:
        listener(event)
