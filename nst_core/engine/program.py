"""The compiled loop of one objective and one optimiser, and one scale's course through it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core import optimizers
from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.divergence import diverged
from nst_core.errors import DeadlineExceeded
from nst_core.lbfgs import Lbfgs
from nst_core.objective import Objective, Targets
from nst_core.quality import Grams
from nst_core.results import LOG_COLUMNS, LossLog
from nst_core.snapshots import Camera

Tensor = Any

# The host looks at the optimisation (progress, deadline) about this often.
SECONDS_PER_CALL = 1.0
# What the network's arithmetic leaves uncertain of a loss, relative.
LOSS_ROUNDING = {"float32": 1e-6, "bfloat16": 1e-3}
# Totals are compared after every so many steps; fixed, so that timing changes no pixel.
TOLERANCE_WINDOW = 20
# L-BFGS that finds nothing lower over so many windows is at rest: by then its trials have become
# smaller than what the network's rounding lets it tell apart.
REST_WINDOWS = 2
# A picture of which nothing is left, in 0…255: see `divergence`.
PLAIN_GREY = 127.5

IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32)
MASKS = tf.TensorSpec([None, None, None, 1], tf.float32)


def optimizer_for(config: StyleConfig, precision: str) -> optimizers.Optimizer:
    """The optimiser that the configuration names, for a network in this arithmetic."""
    bounds = optimizers.pixel_range if config.clip_pixels else tf.identity
    if config.optimizer == "adam":
        return optimizers.Adam(config.average_decay, bounds)
    return Lbfgs(bounds, LOSS_ROUNDING[precision])


class Program:
    """Optimisation steps as one graph: traced once, for every canvas, batch and weight.

    On a GPU (`xla`) the network sees a batch at once. On a CPU, where that gains nothing, it sees
    one image after the other: the memory is that of one image, and an image has the same bits
    whatever batch it is in, which convolutions of whole batches do not promise.
    """

    def __init__(self, objective: Objective, optimizer: optimizers.Optimizer, *, xla: bool) -> None:
        self.objective = objective
        self.optimizer = optimizer
        self._content_targets = traced(objective.content_targets, IMAGES)
        self._style_targets = traced(objective.style_targets, IMAGES)
        self._masked_style_targets = traced(objective.style_targets, IMAGES, MASKS)
        self._gram_matrices = traced(self._grams, IMAGES)
        self._masked_gram_matrices = traced(self._grams, IMAGES, MASKS)
        self._steps: Callable[..., Any] | None = None
        self._xla = xla

    def content_targets(self, images: Tensor) -> dict[str, Any]:
        """See `Objective.content_targets`."""
        return self._each(self._content_targets, images)

    def style_targets(self, image: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """See `Objective.style_targets`."""
        found: dict[str, Tensor] = (
            self._style_targets(image) if mask is None else self._masked_style_targets(image, mask)
        )
        return found

    def gram_matrices(self, images: Tensor, mask: Tensor | None = None) -> Grams:
        """Gram matrices per position `[B, C, C]` by style layer of images `[B, H, W, 3]`.

        With a `mask [1, H, W, 1]` in 0…1, those of what is under it in one image.
        """
        found = (
            self._each(self._gram_matrices, images)
            if mask is None
            else self._masked_gram_matrices(images, mask)
        )
        return {name: gram.numpy() for name, gram in found.items()}

    def _each(self, function: Any, images: Tensor) -> dict[str, Tensor]:
        """The function of all images at once on a GPU, of one after the other on a CPU."""
        if self._xla:
            return dict(function(images))
        found = [function(images[i : i + 1]) for i in range(images.shape[0])]
        return {name: tf.concat([one[name] for one in found], axis=0) for name in found[0]}

    def _grams(self, images: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        regions = None if mask is None else self.objective.regions(mask, [1.0])
        return self.objective.grams(self.objective.style_sums(images, regions=regions))

    def start(self, images: Tensor) -> optimizers.State:
        """The optimiser's state at `images [B, H, W, 3]`."""
        return self.optimizer.start(images, len(self.objective.columns))

    def advance(
        self,
        state: optimizers.State,
        targets: Targets,
        weights: dict[str, Tensor],
        learning_rate: float,
        count: int,
    ) -> tuple[optimizers.State, np.ndarray]:
        """`count` steps on the device; the new state and the terms `[count, B, T]`."""
        arguments = (state, targets, weights, tf.constant(learning_rate), tf.constant(count))
        if self._steps is None:
            signature = tf.nest.map_structure(any_size, arguments)
            self._steps = tf.function(
                self._graph, input_signature=signature, jit_compile=self._xla, autograph=False
            )
        state, log = self._steps(*arguments)
        return state, log.numpy()[:count]

    def _graph(
        self,
        state: optimizers.State,
        targets: Targets,
        weights: dict[str, Tensor],
        learning_rate: Tensor,
        count: Tensor,
    ) -> tuple[optimizers.State, Tensor]:
        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            if self._xla:
                return self._evaluate(x, targets, weights)
            terms, gradient = tf.map_fn(
                lambda i: self._evaluate(x[i : i + 1], targets_of(targets, i), weights),
                tf.range(tf.shape(x)[0]),
                fn_output_signature=(tf.float32, tf.float32),
                parallel_iterations=1,
            )
            return tf.squeeze(terms, 1), tf.ensure_shape(tf.squeeze(gradient, 1), x.shape)

        stiffness_at = self.objective.stiffness_at(weights)
        return optimizers.run(self.optimizer, state, evaluate, count, learning_rate, stiffness_at)

    def _evaluate(
        self, x: Tensor, targets: Targets, weights: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Terms `[B, T]` and the gradient of the total `[B, H, W, 3]`."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            terms = self.objective.evaluate(x, targets, weights)
            total = terms[:, 0]
        return terms, tape.gradient(total, x)


def targets_of(targets: Targets, index: Tensor) -> Targets:
    """The targets of one image of a batch; a style's statistics are those of all."""
    return {
        group: {
            name: target
            if group == "style" or (group, name) == ("regions", "share")
            else target[index : index + 1]
            for name, target in found.items()
        }
        for group, found in targets.items()
    }


def traced(function: Callable[..., Any], *signature: Any) -> Any:
    """The function as a graph for arguments of these specs."""
    return tf.function(function, input_signature=signature, autograph=False)


def any_size(tensor: Tensor) -> tf.TensorSpec:
    """A spec for the tensor with batch, height and width left open.

    Feature maps and images have rank 4; the statistics of a style (one for all images, or one for
    each region) keep their rank 3, and smaller tensors all but the batch.
    """
    shape = tensor.shape.as_list()
    if len(shape) == 4:
        shape[:3] = [None, None, None]
    elif shape and len(shape) != 3:
        shape[0] = None
    return tf.TensorSpec(shape, tensor.dtype)


@dataclasses.dataclass
class Leg:
    """One scale's optimisation on its way: the optimiser's state, and what is logged so far."""

    state: optimizers.State
    terms: list[np.ndarray]  # [B, T] after each step
    seconds: list[float]  # after each step, since the scale's start
    steps: np.ndarray  # [B]: of images that have settled, how many they took
    active: np.ndarray  # [B] bool: those that have not

    @classmethod
    def from_images(cls, program: Program, images: np.ndarray, steps: int) -> Leg:
        """The start of a scale of `steps` steps at float32 images `[B, H, W, 3]`."""
        count = len(images)
        state = program.start(tf.constant(images))
        return cls(state, [], [], np.full(count, steps), np.ones(count, bool))


@dataclasses.dataclass(frozen=True)
class Course:
    """One scale's optimisation: final images, terms and seconds per step, steps per image."""

    images: np.ndarray  # [B, H, W, 3]
    terms: np.ndarray  # [S, B, T]
    seconds: np.ndarray  # [S], since the scale's start
    steps: np.ndarray  # [B]
    failed: np.ndarray  # [B] bool: loss or pixels not finite, or loss run away


def follow(
    program: Program,
    start: np.ndarray | Leg,
    targets: Targets,
    config: StyleConfig,
    steps: int,
    deadline: float,
    report: Callable[[int, np.ndarray], None],
    camera: Camera | None = None,
    scale: float = 1.0,
    between: Callable[[Leg], None] | None = None,
) -> Course:
    """Optimise one scale: calls of about a second, between them deadline, tolerance, report.

    Args:
        start: float32 images `[B, H, W, 3]`, or where an earlier call was interrupted.
        steps: at most this many.
        deadline: `time.monotonic()` after which to stop; infinite for none.
        report: called with the steps so far and the totals `[B]`.
        camera: takes snapshots; calls end where one is due.
        scale: the fraction of the full size that the images have.
        between: called after each call to the device.

    Raises:
        DeadlineExceeded: the deadline passed before the last step.
    """
    weights = program.objective.weights(config, scale)
    leg = start if isinstance(start, Leg) else Leg.from_images(program, start, steps)
    terms, active = leg.terms, leg.active
    started = time.monotonic() - (leg.seconds[-1] if leg.seconds else 0.0)
    call = 1
    while len(terms) < steps and active.any():
        before = time.monotonic()
        call = min(call, steps - len(terms))
        if config.tolerance or config.optimizer == "lbfgs":
            call = min(call, TOLERANCE_WINDOW - len(terms) % TOLERANCE_WINDOW)
        if camera:
            call = min(call, camera.due_in(len(terms), active))
        leg.state, log = program.advance(leg.state, targets, weights, config.learning_rate, call)
        now = time.monotonic()
        leg.seconds += list(before - started + (now - before) * np.arange(1, call + 1) / call)
        terms += list(log)
        report(len(terms), log[-1, :, 0])
        if now > deadline and len(terms) < steps:
            raise DeadlineExceeded(
                f"The optimisation was at step {len(terms)} of {steps} of its scale when "
                f"deadline_seconds ({config.deadline_seconds:g}) had passed; "
                "raise it, or lower steps or image_size."
            )
        if camera and (due := camera.due(len(terms), active)).size:
            camera.look(len(terms), due, program.optimizer.result(leg.state).numpy())
        settled = active & _settled(terms, config)
        if settled.any():
            leg.steps[settled] = len(terms)
            active &= ~settled
            leg.state["active"] = tf.constant(active)
        if between:
            between(leg)
        per_step = (now - before) / call
        call = max(1, min(optimizers.LONGEST_CALL, 4 * call, round(SECONDS_PER_CALL / per_step)))
    every = np.stack(terms)
    result = program.optimizer.result(leg.state).numpy()

    def plain() -> np.ndarray:
        grey = program.start(tf.fill(result.shape, PLAIN_GREY))
        totals: np.ndarray = program.advance(grey, targets, weights, 0.0, 1)[1][0, :, 0]
        return totals

    failed = diverged(every, plain) | ~np.isfinite(result).all(axis=(1, 2, 3))
    taken = np.minimum(leg.steps, len(every))
    return Course(result, every, np.array(leg.seconds), taken, failed)


def _settled(terms: list[np.ndarray], config: StyleConfig) -> Any:
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
    columns: tuple[str, ...], courses: list[tuple[float, Size, Course]], index: int
) -> LossLog:
    """One image's terms after every step of all its scales, each with its fraction and canvas."""
    rows: list[tuple[float, ...]] = []
    before = 0.0
    for scale, size, course in courses:
        for step in range(course.steps[index]):
            rows.append(
                (
                    len(rows) + 1,
                    scale,
                    size.width,
                    size.height,
                    before + float(course.seconds[step]),
                    *map(float, course.terms[step, index]),
                )
            )
        before += float(course.seconds[-1])
    return LossLog((*LOG_COLUMNS, *columns), tuple(rows))
