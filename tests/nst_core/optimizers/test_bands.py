"""The estimate by bands: an independent transform's, of what was seen, and it saves steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft
import tensorflow as tf

from nst_core.optimizers import bands, lbfgs
from nst_core.optimizers.loop import run

HEIGHT, WIDTH = 40, 56
NAMES = ("band_moves", "band_turns")


def random(count: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(count, HEIGHT, WIDTH, 3)).astype(np.float32)


def groups() -> np.ndarray:
    """Of every wave in every colour its group, `[H, W, 3]`."""
    rows, columns = (np.arange(side) / (2 * side) for side in (HEIGHT, WIDTH))
    frequency = np.hypot(rows[:, None], columns)
    band = np.searchsorted(bands.BANDS, frequency)[..., None]
    return np.where(band < len(bands.BANDS), 3 * band + np.arange(3), bands.GROUPS - 1)


def to_waves(image: np.ndarray) -> np.ndarray:
    """The factors of all waves, `[H, W, 3]`, by SciPy."""
    return np.asarray(
        scipy.fft.dctn(image.astype(float), axes=(0, 1), norm="ortho") @ bands.COLORS.T
    )


def to_image(waves: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.idctn(waves @ bands.COLORS, axes=(0, 1), norm="ortho"))


def known(count: int, *, as_ring: bool = False) -> dict[str, Any]:
    shares = np.random.default_rng(3).dirichlet(np.ones(bands.GROUPS), size=(2, count))
    state: dict[str, Any] = {
        name: tf.constant(one, tf.float32) for name, one in zip(NAMES, shares, strict=True)
    }
    return {**state, "products": None} if as_ring else state


@pytest.mark.parametrize("as_ring", [False, True])
def test_each_wave_is_divided_by_the_curvature_of_its_group(as_ring: bool) -> None:
    state = known(3, as_ring=as_ring)
    gradient, change = random(3, 1), random(3, 2)
    rise = np.array([0.3, 2.0, 5.0])
    # A third of the pixels of the last image are held, and none of the others.
    free = np.ones_like(gradient)
    free[2] = random(1, 9)[0] > -0.4
    given = (tf.constant(one, tf.float32) for one in (gradient, free, change, rise))
    found = bands.inverse(state, *given)
    moves, turns = (state[name].numpy().astype(float) for name in NAMES)
    for image in range(3):
        soft = moves[image] / turns[image]
        soft = np.sqrt((soft / soft[-1])[groups()])
        soft = np.clip(soft, 1 / bands.STIFFEST, bands.SOFTEST)

        def divided(one: np.ndarray, soft: np.ndarray = soft, own: Any = free[image]) -> Any:
            return one + own * to_image((soft - 1) * to_waves(own * one))

        size = rise[image] / np.sum(change[image] * divided(change[image]))
        wanted = size * divided(gradient[image])
        assert np.linalg.norm(found[image] - wanted) < 2e-3 * np.linalg.norm(wanted)


def test_a_wave_counts_in_its_own_group_alone() -> None:
    for row, column, color in ((0, 0, 1), (1, 0, 0), (2, 3, 2), (5, 1, 1), (17, 20, 0)):
        waves = np.zeros((HEIGHT, WIDTH, 3))
        waves[row, column, color] = 7.0
        image = tf.constant(to_image(waves)[None], tf.float32)
        state = bands.observed(bands.start(image), image, 3 * image)
        for name in NAMES:
            wanted = np.zeros(bands.GROUPS)
            wanted[groups()[row, column, color]] = 1.0
            np.testing.assert_allclose(state[name][0], wanted, atol=1e-5)


def test_what_was_seen_nowhere_is_a_multiple_of_the_identity() -> None:
    gradient, change, rise = random(2, 1), random(2, 2), np.array([1.0, 2.0])
    given = (tf.constant(one, tf.float32) for one in (gradient, random(2) > 0, change, rise))
    found = bands.inverse(bands.start(gradient), *given)
    for image in range(2):
        wanted = rise[image] / np.sum(change[image] ** 2) * gradient[image]
        np.testing.assert_allclose(found[image], wanted, rtol=1e-4, atol=1e-9)


def test_l_bfgs_needs_fewer_steps_where_coarse_waves_of_colours_are_stiff(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stiffness = np.array([2, 17, 12, 1, 5, 5, 1, 2, 2.5, 1, 1.5, 1.8, 1])[groups()]
    start = random(2, 5) * 30

    def evaluate(x: Any) -> tuple[Any, Any]:
        def turned(images: np.ndarray) -> np.ndarray:
            stiff = [to_image(stiffness * to_waves(image)) for image in images]
            return np.stack(stiff).astype(np.float32)

        gradient = tf.ensure_shape(tf.numpy_function(turned, [x], tf.float32), x.shape)
        return tf.reduce_sum(x * gradient, axis=[1, 2, 3])[:, None] / 2, gradient

    def losses() -> np.ndarray:
        optimizer = lbfgs.Lbfgs()
        state = optimizer.start(tf.constant(start), 1)
        _, log = run(optimizer, state, evaluate, tf.constant(12), 1.0)
        return log.numpy()[:12, :, 0]

    found = losses()
    # Where nothing is seen, the guess is a multiple of the identity.
    monkeypatch.setattr(bands, "observed", lambda *_: {})
    plain = losses()
    assert (found[-1] < 0.2 * plain[-1]).all(), (found[-1], plain[-1])
