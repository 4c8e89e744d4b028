"""One scale: from its start through the compiled steps to its images and its log."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.engine.divergence import diverged
from nst_core.engine.program import Program, filled
from nst_core.engine.snapshots import SnapshotSchedule
from nst_core.errors import DeadlineExceeded
from nst_core.objective.objective import Targets
from nst_core.optimizers import loop
from nst_core.results import LOG_COLUMNS, LossLog

Tensor = Any

# The host looks at the optimisation (progress, deadline) about this often.
SECONDS_PER_CALL = 1.0
# Totals are compared after every so many steps; fixed, so that timing changes no pixel.
TOLERANCE_WINDOW = 20
# L-BFGS that finds nothing lower over so many windows is at rest: by then its trials have become
# smaller than what the network's rounding lets it tell apart.
REST_WINDOWS = 2
# A picture of which nothing is left, in 0…255: see `divergence`.
PLAIN_GREY = 127.5


@dataclasses.dataclass
class ScaleState:
    """One scale's optimisation on its way: the optimiser's state, and what is logged so far."""

    state: loop.State
    terms: np.ndarray  # [S, B, T] after each step
    seconds: np.ndarray  # [S] after each step, since the scale's start
    steps: np.ndarray  # [B]: of images that have settled, how many they took
    active: np.ndarray  # [B] bool: those that have not

    @classmethod
    def from_images(
        cls, program: Program, images: Tensor, steps: int, carried: loop.State | None = None
    ) -> ScaleState:
        """The start of a scale of `steps` steps at float32 images `[B, H, W, 3]`.

        `carried`: see `ScaleResult`, of the scale before.
        """
        count = images.shape[0]
        state = {**program.start(tf.convert_to_tensor(images)), **(carried or {})}
        terms = np.empty((0, *state["terms"].shape), np.float32)
        return cls(state, terms, np.empty(0), np.full(count, steps), np.ones(count, bool))

    def filled(self, size: int) -> ScaleState:
        """The same with copies of the first image, which are not optimised, up to `size`."""
        more = size - len(self.active)
        if not more:
            return self
        active = np.pad(self.active, (0, more))
        state = {**filled(self.state, size), "active": tf.constant(active)}
        terms = np.pad(self.terms, ((0, 0), (0, more), (0, 0)), mode="edge")
        return ScaleState(state, terms, self.seconds, np.pad(self.steps, (0, more)), active)


@dataclasses.dataclass(frozen=True)
class ScaleResult:
    """One scale's optimisation: final images, terms and seconds per step, steps per image.

    `carried`: what of the optimiser's state a finer scale starts with.
    """

    images: Tensor  # [B, H, W, 3]
    terms: np.ndarray  # [S, B, T]
    seconds: np.ndarray  # [S], since the scale's start
    steps: np.ndarray  # [B]
    failed: np.ndarray  # [B] bool: loss or pixels not finite, or loss run away
    carried: loop.State


@dataclasses.dataclass
class Deadline:
    """`time.monotonic()` after which to stop; infinite for none."""

    at: float = math.inf


def optimize_scale(
    program: Program,
    reached: ScaleState,
    targets: Targets,
    config: StyleConfig,
    steps: int,
    deadline: Deadline,
    report: Callable[[int, np.ndarray], None],
    schedule: SnapshotSchedule | None = None,
    scale: float = 1.0,
    between: Callable[[ScaleState], None] | None = None,
    count: int | None = None,
) -> ScaleResult:
    """Optimise one scale: calls of about a second, between them deadline, tolerance, report.

    Args:
        reached: where it starts, or where an earlier call was interrupted; it goes on in there.
        steps: at most this many.
        deadline: put off by the first step of a shape where XLA compiles it.
        report: called with the steps so far and the totals `[B]`.
        schedule: takes snapshots; calls end where one is due.
        scale: the fraction of the full size that the images have.
        between: called after each call to the device.
        count: of the images; those behind them fill up the batch, see `ScaleState.filled`.

    Raises:
        DeadlineExceeded: the deadline passed before the last step.
    """
    weights = program.objective.weights(config, scale)
    count = count or len(reached.active)
    terms, active = reached.terms, reached.active
    started = time.monotonic() - (float(reached.seconds[-1]) if len(reached.seconds) else 0.0)
    shape = tuple(reached.state["x"].shape[:3])
    call = _first_call(program, shape)
    while len(terms) < steps and active.any():
        before = time.monotonic()
        call = min(call, steps - len(terms))
        if config.tolerance or config.optimizer == "lbfgs":
            call = min(call, TOLERANCE_WINDOW - len(terms) % TOLERANCE_WINDOW)
        if math.isfinite(deadline.at) and shape in program.pace:
            call = max(1, min(call, int((deadline.at - before) / program.pace[shape])))
        if schedule:
            call = min(call, schedule.due_in(len(terms), active[:count]))
        reached.state, log = program.advance(
            reached.state, targets, weights, config.learning_rate, call
        )
        now = time.monotonic()
        if program.xla and shape not in program.pace:
            deadline.at += now - before
        each = before - started + (now - before) * np.arange(1, call + 1) / call
        reached.seconds = np.concatenate([reached.seconds, each])
        reached.terms = terms = np.concatenate([terms, log])
        report(len(terms), log[-1, :count, 0])
        if now > deadline.at and len(terms) < steps:
            raise DeadlineExceeded(
                f"The optimisation was at step {len(terms)} of {steps} of its scale when "
                f"deadline_seconds ({config.deadline_seconds:g}) had passed; "
                "raise it, or lower steps or image_size."
            )
        if schedule and (due := schedule.due(len(terms), active[:count])).size:
            schedule.take_due(len(terms), due, program.optimizer.result(reached.state))
        settled = active & _settled(terms, config)
        if settled.any():
            reached.steps[settled] = len(terms)
            active &= ~settled
            reached.state["active"] = tf.constant(active)
        if between:
            between(reached)
        program.pace[shape] = (now - before) / call
        call = min(4 * call, _full_call(program.pace[shape]))
    return _result(program, reached, targets, weights, count)


def _result(
    program: Program, reached: ScaleState, targets: Targets, weights: dict[str, Tensor], count: int
) -> ScaleResult:
    """What has become of the first `count` images; the others fill up the batch."""
    result = program.optimizer.result(reached.state)

    def plain() -> np.ndarray:
        grey = program.start(tf.fill(result.shape, PLAIN_GREY))
        totals: np.ndarray = program.advance(grey, targets, weights, 0.0, 1)[1][0, :, 0]
        return totals

    failed = diverged(reached.terms, plain)
    taken = np.minimum(reached.steps, len(reached.terms))
    return ScaleResult(
        result[:count] if len(result) > count else result,
        reached.terms[:, :count],
        reached.seconds,
        taken[:count],
        failed[:count],
        {name: one[:count] for name, one in program.optimizer.carried(reached.state).items()},
    )


def _first_call(program: Program, shape: tuple[int, ...]) -> int:
    """One step where it is not known yet how long it takes."""
    return _full_call(program.pace[shape]) if shape in program.pace else 1


def _full_call(pace: float) -> int:
    """Steps that take `SECONDS_PER_CALL` at so many seconds for each."""
    return max(1, min(loop.LONGEST_CALL, round(SECONDS_PER_CALL / pace)))


def _settled(terms: np.ndarray, config: StyleConfig) -> Any:
    """Images whose total fell by less than `tolerance` over the last window, or is at rest."""
    if len(terms) % TOLERANCE_WINDOW:
        return False
    settled = np.zeros(len(terms[-1]), bool)
    if config.tolerance and len(terms) > TOLERANCE_WINDOW:
        before, now = terms[-1 - TOLERANCE_WINDOW][:, 0], terms[-1][:, 0]
        settled |= before - now < config.tolerance * np.abs(before)
    rest = REST_WINDOWS * TOLERANCE_WINDOW
    if config.optimizer == "lbfgs" and len(terms) > rest:
        settled |= terms[-1][:, 0] >= terms[-1 - rest][:, 0]
    return settled


def loss_log(
    columns: tuple[str, ...], results: list[tuple[float, Size, ScaleResult]], index: int
) -> LossLog:
    """One image's terms after every step of all its scales, each with its fraction and canvas."""
    taken = [result.steps[index] for _, _, result in results]
    rows = np.empty((sum(taken), len(LOG_COLUMNS) + len(columns)))
    rows[:, 0] = np.arange(1, len(rows) + 1)
    first, before = 0, 0.0
    for count, (scale, size, result) in zip(taken, results, strict=True):
        of_scale = rows[first : first + count]
        of_scale[:, 1:4] = scale, size.width, size.height
        of_scale[:, 4] = before + result.seconds[:count]
        of_scale[:, len(LOG_COLUMNS) :] = result.terms[:count, index]
        first += count
        before += float(result.seconds[-1])
    return LossLog((*LOG_COLUMNS, *columns), rows)
