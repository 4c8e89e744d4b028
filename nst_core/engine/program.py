"""The compiled loop of one objective and one optimiser: steps, targets, errors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nst_core.canvas import Size
from nst_core.compiled.graphs import Graph
from nst_core.config import StyleConfig
from nst_core.devices import batch_sizes
from nst_core.objective import quality
from nst_core.objective.objective import Aims, Objective, Targets
from nst_core.optimizers import loop
from nst_core.optimizers.lbfgs import Lbfgs

Tensor = Any

# What the network's arithmetic leaves uncertain of a loss, relative.
LOSS_ROUNDING = {"float32": 1e-6, "bfloat16": 1e-3}

IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32)
ONE_IMAGE = tf.TensorSpec([1, None, None, 3], tf.float32)
MASKS = tf.TensorSpec([None, None, None, 1], tf.float32)
STATISTICS = tf.TensorSpec([None, None, None], tf.float32)
SHARES = tf.TensorSpec([None, None], tf.float32)
# Which image of a batch, its height and its width, px.
PLACE = tf.TensorSpec([3], tf.int32)


def filled(tensors: Any, size: int) -> Any:
    """A nest of tensors `[B, …]` as `[size, …]`, with copies of the first."""

    def enlarged(one: Tensor) -> Tensor:
        more = size - one.shape[0]
        return tf.concat([one, tf.repeat(one[:1], more, axis=0)], axis=0) if more else one

    return tf.nest.map_structure(enlarged, tensors)


def optimizer_for(config: StyleConfig, precision: str) -> loop.Optimizer:
    """The optimiser that the configuration names, for a network in this arithmetic."""
    bounds = loop.pixel_range if config.clip_pixels else tf.identity
    if config.optimizer == "adam":
        return loop.Adam(config.average_decay, bounds, config.betas)
    return Lbfgs(bounds, LOSS_ROUNDING[precision])


class Ahead(NamedTuple):
    """A call that makes steps ready and takes none; whether XLA compiles them, not only loads."""

    call: Callable[[], Any]
    must_compile: bool


class Program:
    """Optimisation steps as one graph: traced once, for every canvas, batch and weight.

    On a GPU (`xla`) the network sees a batch at once. On a CPU, where that gains nothing, it sees
    one image after the other: the memory is that of one image, and an image has the same bits
    whatever batch it is in, which convolutions of whole batches do not promise.
    """

    def __init__(self, objective: Objective, optimizer: loop.Optimizer, *, xla: bool) -> None:
        self.objective = objective
        self.optimizer = optimizer
        # Seconds for a step as last measured, by batch, height and width: see `optimize_scale`.
        self.pace: dict[tuple[int, ...], float] = {}
        self._stepped = objective.for_xla() if xla else objective
        images = IMAGES if xla else ONE_IMAGE
        self._content_targets = Graph(objective.content_targets, images)
        self._style_targets = Graph(objective.style_targets, images)
        self._masked_style_targets = Graph(objective.style_targets, images, MASKS)
        by_layer = dict.fromkeys(objective.style_layers, STATISTICS)
        self._gram_errors = Graph(objective.gram_errors, by_layer, by_layer, SHARES)
        self._similarity = Graph(_similarity, IMAGES, IMAGES, PLACE)
        self._start = Graph(lambda images: optimizer.start(images, len(objective.columns)), IMAGES)
        self._steps: Graph | None = None
        self.xla = xla
        # Batch, height and width of what this process has begun to compile.
        self._compiled: set[tuple[int, ...]] = set()

    def content_targets(self, images: Tensor) -> dict[str, Any]:
        """See `Objective.content_targets`."""
        return self._each(self._content_targets, images)

    def style_targets(self, images: Tensor, mask: Tensor | None = None) -> dict[str, Tensor]:
        """See `Objective.style_targets`; with a mask, of one image."""
        if mask is None:
            return self._each(self._style_targets, images)
        return dict(self._masked_style_targets(images, mask))

    def gram_errors(
        self, found: dict[str, Tensor], styles: dict[str, Tensor], shares: np.ndarray
    ) -> Tensor:
        """See `Objective.gram_errors`."""
        return self._gram_errors(found, styles, shares)

    def similarities(self, finished: Tensor, own: Tensor, sizes: Sequence[Size]) -> Tensor:
        """`quality.structural_similarity` of images without their padding: `[B]`.

        Args:
            finished, own: images on the canvas `[B, H, W, 3]`, float32, `own` also uint8.
            sizes: of the images.
        """
        # One by one: they are of several sizes.
        found = [
            self._similarity(finished, own, np.array([index, size.height, size.width]))
            for index, size in enumerate(sizes)
        ]
        return found[0] if len(found) == 1 else tf.concat(found, axis=0)

    def _each(self, function: Any, images: Tensor) -> dict[str, Tensor]:
        """The function of all images at once on a GPU, of one after the other on a CPU."""
        count = images.shape[0]
        if self.xla:
            # cuDNN tries its ways for every number of images: there are few, as of steps.
            found = function(filled(images, batch_sizes.next_power_of_two(count)))
            return {name: one[:count] for name, one in found.items()}
        if count == 1:
            return dict(function(images))
        found = [function(images[i : i + 1]) for i in range(count)]
        return {name: tf.concat([one[name] for one in found], axis=0) for name in found[0]}

    def start(self, images: Tensor) -> loop.State:
        """The optimiser's state at `images [B, H, W, 3]`."""
        state: loop.State = self._start(images)
        return state

    def advance(
        self,
        state: loop.State,
        targets: Targets,
        weights: dict[str, Tensor],
        learning_rate: float,
        count: int,
    ) -> tuple[loop.State, np.ndarray]:
        """`count` steps on the device; the new state and the terms `[count, B, T]`."""
        arguments = (state, targets, weights, tf.constant(learning_rate), tf.constant(count))
        state, log = self._steps_of(arguments)(*arguments)
        return state, log.numpy()[:count]

    def has_compiled(self, shape: Sequence[int]) -> bool:
        """Whether the steps for images of this shape `[B, H, W, 3]` need no compilation by XLA.

        Also where it has begun here.
        """
        return not self.xla or tuple(shape) in self._compiled

    def batch_sizes(self, canvas: Size) -> set[int]:
        """For how many images of a canvas at once there are programs, or will be soon."""
        place = (canvas.height, canvas.width)
        return {batch for batch, *size, _ in self._compiled if tuple(size) == place}

    def ahead(self, images: Tensor, targets: Targets, weights: dict[str, Tensor]) -> Ahead:
        """The call that makes ready the steps for images, targets and weights of these shapes."""
        self._compiled.add(tuple(images.shape))
        arguments = (self.start(images), targets, weights, tf.constant(0.0), tf.constant(0))
        steps = self._steps_of(arguments)
        return Ahead(functools.partial(steps, *arguments), steps.must_compile(*arguments))

    def _steps_of(self, arguments: Any) -> Graph:
        if self._steps is None:
            signature = tf.nest.map_structure(any_size, arguments)
            self._steps = Graph(self._graph, *signature, xla=self.xla)
        return self._steps

    def _graph(
        self,
        state: loop.State,
        targets: Targets,
        weights: dict[str, Tensor],
        learning_rate: Tensor,
        count: Tensor,
    ) -> tuple[loop.State, Tensor]:
        # Once for all steps.
        aims = self._stepped.aims(targets)

        def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
            if self.xla:
                return self._evaluate(weights, x, targets, aims)
            terms, gradient = tf.map_fn(
                lambda index: self._evaluate(weights, *rows((x, targets, aims), index)),
                tf.range(tf.shape(x)[0])[:, None],
                fn_output_signature=(tf.float32, tf.float32),
                parallel_iterations=1,
            )
            return tf.squeeze(terms, 1), tf.ensure_shape(tf.squeeze(gradient, 1), x.shape)

        stiffness_at = self.objective.stiffness_at(weights)
        if self.xla:
            state = self.optimizer.packed(state)
        state, log = loop.run(self.optimizer, state, evaluate, count, learning_rate, stiffness_at)
        return self.optimizer.unpacked(state) if self.xla else state, log

    def _evaluate(
        self, weights: dict[str, Tensor], x: Tensor, targets: Targets, aims: Aims
    ) -> tuple[Tensor, Tensor]:
        """Terms `[B, T]` and the gradient of the total `[B, H, W, 3]`."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            terms = self._stepped.evaluate(x, targets, aims, weights)
            total = terms[:, 0]
        return terms, tape.gradient(total, x)


def rows(batch: Any, images: Tensor) -> Any:
    """A nest of tensors `[B, …]`, of some images of the batch alone, by their numbers."""
    return tf.nest.map_structure(lambda one: tf.gather(one, images), batch)


def stacked(several: Sequence[Any]) -> Any:
    """Nests of tensors `[1, …]` as one of tensors `[N, …]`."""
    if len(several) == 1:
        return several[0]
    return tf.nest.map_structure(lambda *one: tf.concat(one, axis=0), *several)


def _similarity(finished: Tensor, own: Tensor, place: Tensor) -> Tensor:
    """`quality.structural_similarity` of one image of a batch `[1]`; see `PLACE`."""
    index, height, width = tf.unstack(place)
    pair = (one[index : index + 1, :height, :width] for one in (finished, own))
    return quality.structural_similarity(*pair)


def any_size(tensor: Tensor) -> tf.TensorSpec:
    """A spec for the tensor with batch, height and width left open.

    Feature maps and images have rank 4; statistics of styles and smaller tensors keep all but the
    batch.
    """
    shape = tensor.shape.as_list()
    open_axes = 3 if len(shape) == 4 else 1
    shape[:open_axes] = [None] * len(shape[:open_axes])
    return tf.TensorSpec(shape, tensor.dtype)
