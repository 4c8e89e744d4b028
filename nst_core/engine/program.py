"""The compiled loop of one objective and one optimiser: steps, targets, Gram matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.config import StyleConfig
from nst_core.objective.objective import Objective, Targets
from nst_core.objective.quality import Grams
from nst_core.optimizers import loop
from nst_core.optimizers.lbfgs import Lbfgs

Tensor = Any

# What the network's arithmetic leaves uncertain of a loss, relative.
LOSS_ROUNDING = {"float32": 1e-6, "bfloat16": 1e-3}

IMAGES = tf.TensorSpec([None, None, None, 3], tf.float32)
MASKS = tf.TensorSpec([None, None, None, 1], tf.float32)


def optimizer_for(config: StyleConfig, precision: str) -> loop.Optimizer:
    """The optimiser that the configuration names, for a network in this arithmetic."""
    bounds = loop.pixel_range if config.clip_pixels else tf.identity
    if config.optimizer == "adam":
        return loop.Adam(config.average_decay, bounds)
    return Lbfgs(bounds, LOSS_ROUNDING[precision])


class Program:
    """Optimisation steps as one graph: traced once, for every canvas, batch and weight.

    On a GPU (`xla`) the network sees a batch at once. On a CPU, where that gains nothing, it sees
    one image after the other: the memory is that of one image, and an image has the same bits
    whatever batch it is in, which convolutions of whole batches do not promise.
    """

    def __init__(self, objective: Objective, optimizer: loop.Optimizer, *, xla: bool) -> None:
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

    def start(self, images: Tensor) -> loop.State:
        """The optimiser's state at `images [B, H, W, 3]`."""
        return self.optimizer.start(images, len(self.objective.columns))

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
        if self._steps is None:
            signature = tf.nest.map_structure(any_size, arguments)
            self._steps = tf.function(
                self._graph, input_signature=signature, jit_compile=self._xla, autograph=False
            )
        state, log = self._steps(*arguments)
        return state, log.numpy()[:count]

    def _graph(
        self,
        state: loop.State,
        targets: Targets,
        weights: dict[str, Tensor],
        learning_rate: Tensor,
        count: Tensor,
    ) -> tuple[loop.State, Tensor]:
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
        return loop.run(self.optimizer, state, evaluate, count, learning_rate, stiffness_at)

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
