"""Checkpoints: what an interrupted optimisation needs to go on, as plain arrays of one image.

| name | array |
|---|---|
| `identity` | 16 bytes, of what the checkpoint belongs to |
| `rows` | the steps logged in each scale, to the one that it is in |
| `retried` | whether it is of the second, careful try |
| `spent` | the image's share of the seconds so far |
| `log/<scale>/…` | `terms` `[S, T]`, `seconds` `[S]`, `steps`, `failed`: of each of these scales |
| `state/<name>`, `state/<name>/<number>` | the optimiser's state: `[H, W, C]`, or one number |

An image's optimisation does not depend on its neighbours: the images of a batch have a checkpoint
each, and those that are at the same step go on together, whatever batches they were in before.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.engine.program import Program
from nst_core.engine.scale import ScaleResult, ScaleState
from nst_core.optimizers import bands
from nst_core.optimizers.loop import State

Tensor = Any
# The arrays of one checkpoint, by name.
Arrays = Mapping[str, np.ndarray]
# Takes a content's index in the batch, and names and arrays one after the other: of a large image
# they need not all be there at once.
Save = Callable[[int, Iterable[tuple[str, np.ndarray]]], None]

# Raised with the meaning of the arrays, so that nothing goes on from those of another meaning.
FORMAT = 1
# Parts of a state that checkpoints of earlier versions lack, and go on without.
LATER_PARTS = bands.NAMES
# Checkpoints take at most this share of the time, however slow they are to write.
MOST_TIME = 0.1


@dataclasses.dataclass(frozen=True)
class Interrupted:
    """Images of one batch that were interrupted at the same step: their checkpoints."""

    found: list[Arrays]

    @property
    def scale(self) -> int:
        """Which scale they are in; those before it are done."""
        return len(self.found[0]["rows"]) - 1

    @property
    def seconds(self) -> float:
        """What all of them have taken."""
        return float(sum(one["spent"] for one in self.found))

    def steps(self, index: int) -> int:
        """How many steps one image has taken, over all scales."""
        one = self.found[index]
        return sum(
            min(int(one[f"log/{number}/steps"]), int(rows))
            for number, rows in enumerate(one["rows"])
        )

    def result(self, number: int) -> ScaleResult:
        """A scale that is done, without its images: no later one needs them."""
        steps, failed = (self._stacked(f"log/{number}/{name}") for name in ("steps", "failed"))
        nothing = tf.zeros([len(self.found), 0, 0, 3])
        return ScaleResult(nothing, self._terms(number), self._seconds(number), steps, failed, {})

    def state(self, program: Program) -> ScaleState:
        """The scale that they are in, from where it was interrupted."""
        # Names and nesting are those of any image.
        at_start = program.start(tf.zeros([1, 1, 1, 3]))
        state = {
            name: tuple(self._tensor(f"{name}/{i}", one) for i, one in enumerate(value))
            if isinstance(value, tuple)
            else self._tensor(name, value)
            for name, value in at_start.items()
        }
        return ScaleState(
            state,
            self._terms(self.scale),
            self._seconds(self.scale),
            self._stacked(f"log/{self.scale}/steps"),
            self._stacked("state/active"),
        )

    def _tensor(self, name: str, at_start: Tensor) -> Tensor:
        """A part of the state; of one that came later, where there is none, as at the start."""
        if name in LATER_PARTS:
            parts = [one.get(f"state/{name}", at_start[0].numpy()) for one in self.found]
            return tf.constant(np.stack(parts))
        return tf.constant(self._stacked(f"state/{name}"))

    def _terms(self, number: int) -> np.ndarray:
        return np.stack([one[f"log/{number}/terms"] for one in self.found], axis=1)

    def _seconds(self, number: int) -> np.ndarray:
        """The mean: they may come from several batches, which took their own time."""
        seconds: np.ndarray = self._stacked(f"log/{number}/seconds").mean(axis=0)
        return seconds

    def _stacked(self, name: str) -> np.ndarray:
        return np.stack([one[name] for one in self.found])


class Checkpoints:
    """The checkpoints of one call: those to go on from, and when to save new ones.

    Args:
        given: for each content what an earlier call has saved of it, or None.
        save: called with new ones, where they are wanted.
        every: seconds of optimisation between them; 0: none are saved.
        identify: the `identity` of a content's checkpoints; given ones of another are ignored.
    """

    def __init__(
        self,
        given: Sequence[Arrays | None],
        save: Save | None,
        every: float,
        identify: Callable[[int], bytes],
    ) -> None:
        self._save = save
        self._every = every
        self._identify = identify
        self._last = time.monotonic()
        self._pause = every
        self._given = {
            place: one
            for place, one in enumerate(given)
            if one is not None and bytes(one.get("identity", b"")) == identify(place)
        }

    def position(self, place: int) -> tuple[Any, ...]:
        """Equal for contents that can go on together."""
        one = self._given.get(place)
        return () if one is None else (bool(one["retried"]), *map(int, one["rows"]))

    def interrupted(self, places: Sequence[int], retried: bool) -> Interrupted | None:
        """Where contents of one position were interrupted in this try; None: at its start."""
        found = [self._given[place] for place in places if place in self._given]
        return Interrupted(found) if found and bool(found[0]["retried"]) is retried else None

    def between(
        self,
        places: Sequence[int],
        done: Sequence[ScaleResult],
        reached: ScaleState,
        spent: float,
        retried: bool,
    ) -> None:
        """Save a checkpoint of every content of a batch, if it is time.

        Args:
            done: the scales before that of `reached`.
            spent: each content's share of the seconds so far.
        """
        started = time.monotonic()
        if self._save is None or not self._every or started - self._last < self._pause:
            return
        for index, place in enumerate(places):
            head = {
                "identity": np.frombuffer(self._identify(place), np.uint8),
                "rows": np.array([*(len(one.terms) for one in done), len(reached.terms)]),
                "retried": np.array(retried),
                "spent": np.array(spent),
            }
            self._save(place, _chained(head, done, reached, index))
        self._last = time.monotonic()
        self._pause = max(self._every, (self._last - started) / MOST_TIME)


def _chained(
    head: Arrays, done: Sequence[ScaleResult], reached: ScaleState, index: int
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of one image of a batch."""
    yield from head.items()
    for number, result in enumerate(done):
        yield from _log(number, result, result.failed[index], index)
    # Whether the loss has run away is asked at the end of a scale.
    yield from _log(len(done), reached, np.False_, index)
    for name, value in _flat(reached.state):
        # Cut out on the device: the whole batch would come to the host once for each image.
        yield f"state/{name}", np.asarray(value[index])


def _log(
    number: int, scale: ScaleResult | ScaleState, failed: np.bool_, index: int
) -> Iterator[tuple[str, np.ndarray]]:
    """What is logged of one image in a scale, done or not."""
    yield f"log/{number}/terms", scale.terms[:, index]
    yield f"log/{number}/seconds", scale.seconds
    yield f"log/{number}/steps", np.asarray(scale.steps[index])
    yield f"log/{number}/failed", np.asarray(failed)


def _flat(state: State) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a state by name; those of tuples are numbered."""
    for name, value in state.items():
        if isinstance(value, tuple):
            yield from ((f"{name}/{number}", one) for number, one in enumerate(value))
        else:
            yield name, value


def layout(state: State) -> list[tuple[str, str]]:
    """Names and types of a state's tensors, but for those that came later."""
    found = _flat(state)
    return sorted((name, one.dtype.name) for name, one in found if name not in LATER_PARTS)
