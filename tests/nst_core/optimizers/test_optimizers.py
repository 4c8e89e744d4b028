"""Adam and L-BFGS: they minimise, each image by itself, and never do harm."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.objective.losses import total_variation_loss, variation_stiffness
from nst_core.optimizers.lbfgs import Lbfgs
from nst_core.optimizers.loop import (
    LONGEST_CALL,
    Adam,
    Evaluate,
    Optimizer,
    State,
    pixel_range,
    run,
)

SHAPE = (4, 5, 3)
Loss = Callable[[Any], Any]


_loops: dict[Any, Any] = {}


def evaluation(loss: Loss) -> Evaluate:
    """Terms `[B, 1]` and gradient of a loss `[B, H, W, 3] → [B]`."""

    def evaluate(x: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        return value[:, None], tape.gradient(value, x)

    return evaluate


def loop_of(optimizer: Optimizer, function: Callable[..., Any]) -> Any:
    """Steps of a loss of some images and what else it takes; traced once."""
    key = type(optimizer), tuple(sorted(vars(optimizer).items())), function
    if key not in _loops:

        def loop(state: State, count: Any, learning_rate: Any, given: dict[str, Any]) -> Any:
            evaluate = evaluation(functools.partial(function, **given))
            return run(optimizer, state, evaluate, count, learning_rate)

        _loops[key] = tf.function(loop, autograph=False)
    return _loops[key]


def advanced(
    optimizer: Optimizer, state: State, loss: Loss, steps: int, learning_rate: float
) -> tuple[State, np.ndarray]:
    """The state after many steps, and the losses `[steps, B]`."""
    function, given = loss, {}
    if isinstance(loss, functools.partial):
        function, given = loss.func, {k: tf.constant(v) for k, v in loss.keywords.items()}
    loop = loop_of(optimizer, function)
    rows = []
    while len(rows) < steps:
        count = min(LONGEST_CALL, steps - len(rows))
        state, log = loop(state, tf.constant(count), tf.constant(learning_rate), given)
        rows += list(log.numpy()[:count, :, 0])
    return state, np.array(rows)


def minimised(
    optimizer: Optimizer, x: np.ndarray, loss: Loss, steps: int, learning_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Final images and the losses `[steps, B]`."""
    start = optimizer.start(tf.constant(x, tf.float32), 1)
    state, losses = advanced(optimizer, start, loss, steps, learning_rate)
    return optimizer.result(state).numpy(), losses


def random(seed: int, batch: int = 1, deviation: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, deviation, (batch, *SHAPE)).astype(np.float32)


def bowl(x: Any, target: Any, curvature: Any) -> Any:
    return tf.reduce_sum(curvature * (x - target) ** 2, axis=[1, 2, 3])


def quadratic(target: np.ndarray, curvature: np.ndarray) -> Loss:
    return functools.partial(bowl, target=target, curvature=curvature)


def stretched(seed: int, batch: int = 1) -> np.ndarray:
    """Curvatures from 0.1 to 10."""
    exponents = np.random.default_rng(seed).uniform(-1, 1, (batch, *SHAPE))
    return (10**exponents).astype(np.float32)


def rosenbrock(x: Any) -> Any:
    """Curved, narrow valleys between neighbouring pixels; the minimum is 1 everywhere."""
    flat = tf.reshape(x, [tf.shape(x)[0], 30, 2])
    first, second = flat[..., 0], flat[..., 1]
    return tf.reduce_sum(100 * (second - first**2) ** 2 + (1 - first) ** 2, axis=1)


def test_lbfgs_finds_the_minimum_of_a_quadratic() -> None:
    target = random(1, deviation=5)
    found, losses = minimised(Lbfgs(), random(2), quadratic(target, stretched(3)), 60, 1.0)
    np.testing.assert_allclose(found, target, atol=1e-3)
    assert losses[-1] < 1e-6 * losses[0]


def test_adam_finds_the_minimum_of_a_quadratic() -> None:
    target = random(1, deviation=5)
    found, losses = minimised(Adam(), random(2), quadratic(target, stretched(3)), 640, 0.1)
    np.testing.assert_allclose(found, target, atol=0.05)
    assert losses[-1] < 1e-4 * losses[0]


def test_lbfgs_follows_curved_valleys() -> None:
    found, losses = minimised(Lbfgs(), random(5, batch=2), rosenbrock, 384, 0.5)
    assert (losses[-1] < 1e-4).all()
    np.testing.assert_allclose(found, np.ones_like(found), atol=0.02)


@pytest.mark.parametrize("bounds", [tf.identity, pixel_range])
def test_the_loss_of_lbfgs_never_rises(bounds: Any) -> None:
    start = np.abs(random(5, batch=3, deviation=2))
    for loss in (rosenbrock, quadratic(random(1, 3, 90), stretched(3, 3))):
        _, losses = minimised(Lbfgs(bounds), start, loss, 128, 4.0)
        before, after = losses[:-1], losses[1:]
        assert (after <= before + 1e-6 * np.abs(before)).all()
        assert (losses[-1] < losses[0]).all()


def test_lbfgs_goes_on_below_the_rounding_of_a_loss_that_it_is_told_of() -> None:
    target, curvature = random(1, deviation=5), stretched(3)
    exact = quadratic(target, curvature)

    def rough(x: Any) -> Any:
        """To three digits: what is left of the minimum is far less than one of them."""
        value = exact(x) + 1e4
        return value * (1 + 5e-4 * tf.sin(1e5 * tf.reduce_sum(x, axis=[1, 2, 3])))

    def evaluate_with_exact_gradient(x: Any) -> Any:
        return exact(x) + tf.stop_gradient(rough(x) - exact(x))

    left = []
    for rounding in (1e-6, 1e-3):
        optimizer = Lbfgs(rounding=rounding)
        found, _ = minimised(optimizer, random(2), evaluate_with_exact_gradient, 60, 1.0)
        left.append(float(exact(found)[0]))
    assert left[1] < 1e-4 < 1 < left[0]


@pytest.mark.parametrize(
    ("optimizer", "learning_rate"), [(Lbfgs(), 1.0), (Adam(), 0.2), (Adam(0.9), 0.2)]
)
def test_an_image_in_a_batch_takes_the_path_it_takes_alone(
    optimizer: Optimizer, learning_rate: float
) -> None:
    start, target, curvature = random(2, 3), random(1, 3, 5), stretched(3, 3)
    together, losses = minimised(optimizer, start, quadratic(target, curvature), 30, learning_rate)
    for index in range(3):
        one = slice(index, index + 1)
        loss = quadratic(target[one], curvature[one])
        alone, its_losses = minimised(optimizer, start[one], loss, 30, learning_rate)
        np.testing.assert_allclose(together[one], alone, atol=1e-4)
        np.testing.assert_allclose(losses[:, one], its_losses, rtol=1e-3, atol=1e-4)


def test_a_trial_whose_loss_is_no_number_is_drawn_back() -> None:
    # A logarithm's wall: the first steps of 20 px end behind it.
    def barrier(x: Any) -> Any:
        return tf.reduce_sum(x - tf.math.log(x), axis=[1, 2, 3])

    start = 2 + np.abs(random(2, 2))
    found, losses = minimised(Lbfgs(), start, barrier, 64, 20.0)
    assert np.isfinite(losses).all()
    assert (np.diff(losses, axis=0) <= 1e-6 * np.abs(losses[:-1])).all()
    assert (losses[1] == losses[0]).all()
    np.testing.assert_allclose(found, np.ones_like(found), atol=5e-3)


@pytest.mark.parametrize("broken", [(np.inf, 0.0), (0.0, np.nan)])
def test_after_many_refused_trials_lbfgs_begins_again_more_carefully(
    broken: tuple[float, float],
) -> None:
    optimizer, rate = Lbfgs(), tf.constant(1.0)
    evaluate = evaluation(quadratic(random(1), stretched(3)))
    state = optimizer.start(tf.constant(random(2)), 1)
    for _ in range(5):
        state = optimizer.step(state, evaluate, rate)
    assert state["pairs"].numpy() == [4]
    before = state
    tried: list[np.ndarray] = []

    def refused(x: Any) -> tuple[Any, Any]:
        tried.append((x - before["x"]).numpy())
        terms, gradient = evaluate(x)
        return terms + broken[0], gradient + broken[1]

    for _ in range(optimizer.most_rejections + 1):
        assert (state["x"].numpy() == before["x"].numpy()).all()
        state = optimizer.step(state, refused, rate)
    lengths = [float(np.linalg.norm(one)) for one in tried]
    assert lengths[:-1] == sorted(lengths[:-1], reverse=True)
    # Down the slope, a tenth of the first step, with nothing remembered.
    slope = before["gradient"].numpy()
    np.testing.assert_allclose(tried[-1], -0.1 * slope / np.abs(slope).max(), atol=1e-6)
    assert state["pairs"].numpy() == [0]


def test_a_neighbour_whose_loss_is_no_number_changes_nothing() -> None:
    start, target, curvature = random(2, 2), random(1, 2, 5), stretched(3, 2)
    broken = target.copy()
    broken[1] = np.nan
    for optimizer in (Lbfgs(), Adam()):
        fine, _ = minimised(optimizer, start, quadratic(target, curvature), 20, 1.0)
        found, losses = minimised(optimizer, start, quadratic(broken, curvature), 20, 1.0)
        np.testing.assert_allclose(found[0], fine[0], atol=1e-5)
        assert np.isfinite(losses[:, 0]).all()
        assert not np.isfinite(losses[-1, 1])


def test_pixels_that_are_no_numbers_after_the_last_step_are_in_its_log() -> None:
    def broken_second(x: Any) -> Any:
        return tf.where(tf.constant([False, True])[:, None, None, None], np.nan, x)

    # The loss of the only step is that of its start, which is fine.
    optimizer = Adam(bounds=broken_second)
    _, losses = advanced(
        optimizer,
        optimizer.start(tf.constant(random(2, 2)), 1),
        quadratic(random(1, 2, 5), stretched(3, 2)),
        1,
        0.5,
    )
    assert np.isfinite(losses[0]).tolist() == [True, False]


@pytest.mark.parametrize("optimizer", [Lbfgs(), Adam(), Adam(0.9)])
def test_an_inactive_image_stays_bit_for_bit(optimizer: Optimizer) -> None:
    loss = quadratic(random(1, 3, 5), stretched(3, 3))
    start = optimizer.start(tf.constant(random(2, 3)), 1)
    before, _ = advanced(optimizer, start, loss, 10, 0.5)
    before["active"] = tf.constant([True, False, True])
    after, losses = advanced(optimizer, before, loss, 10, 0.5)
    for name in before:
        for one, other in zip(
            tf.nest.flatten(after[name]), tf.nest.flatten(before[name]), strict=True
        ):
            np.testing.assert_array_equal(one[1], other[1], err_msg=name)
    assert (losses[:, 1] == losses[0, 1]).all()
    assert np.abs(after["x"][0] - before["x"][0]).max() > 1e-3


@pytest.mark.parametrize("optimizer", [Lbfgs(), Adam(), Adam(0.9), Lbfgs(pixel_range)])
def test_ten_and_ten_steps_are_twenty(optimizer: Optimizer) -> None:
    loss = quadratic(random(1, 2, 5), stretched(3, 2))
    start = optimizer.start(tf.constant(random(2, 2)), 1)
    whole, losses = advanced(optimizer, start, loss, 20, 0.5)
    half, first = advanced(optimizer, start, loss, 10, 0.5)
    again, second = advanced(optimizer, half, loss, 10, 0.5)
    np.testing.assert_array_equal(np.concatenate([first, second]), losses)
    for name in whole:
        np.testing.assert_array_equal(again[name], whole[name], err_msg=name)


@pytest.mark.parametrize(("decay", "squares_decay"), [(0.9, 0.999), (0.99, 0.95)])
def test_adam_takes_the_steps_of_its_paper(decay: float, squares_decay: float) -> None:
    target, curvature = random(1).astype(np.float64), stretched(3).astype(np.float64)
    x = random(2).astype(np.float64)
    first = second = np.zeros_like(x)
    adam = Adam(betas=(decay, squares_decay))
    found, _ = minimised(adam, x, quadratic(*map(np.float32, (target, curvature))), 25, 0.3)
    for count in range(1, 26):
        gradient = 2 * curvature * (x - target)
        first = decay * first + (1 - decay) * gradient
        second = squares_decay * second + (1 - squares_decay) * gradient**2
        root = np.sqrt(second / (1 - squares_decay**count))
        x = x - 0.3 * (first / (1 - decay**count)) / root
    np.testing.assert_allclose(found, x, atol=1e-4)


def test_the_average_is_the_bias_corrected_mean_of_the_iterates() -> None:
    decay, steps = 0.8, 12
    loss = quadratic(random(1, 2, 5), stretched(3, 2))
    optimizer = Adam(decay)
    state = optimizer.start(tf.constant(random(2, 2)), 1)
    average = np.zeros((2, *SHAPE))
    for _ in range(steps):
        state, _ = advanced(optimizer, state, loss, 1, 0.5)
        average = decay * average + (1 - decay) * state["x"].numpy().astype(np.float64)
    np.testing.assert_allclose(optimizer.result(state), average / (1 - decay**steps), atol=1e-5)


def test_the_average_of_one_iterate_is_that_iterate() -> None:
    optimizer = Adam(0.99)
    start = optimizer.start(tf.constant(random(2)), 1)
    state, _ = advanced(optimizer, start, quadratic(random(1), stretched(3)), 1, 0.5)
    np.testing.assert_allclose(optimizer.result(state), state["x"], rtol=1e-5)


@pytest.mark.parametrize(
    ("optimizer", "steps", "learning_rate"),
    [(Lbfgs(pixel_range), 128, 4.0), (Adam(0.0, pixel_range), 640, 2.0)],
)
def test_bounded_pixels_stay_within_0_and_255_and_find_the_best_there(
    optimizer: Optimizer, steps: int, learning_rate: float
) -> None:
    target = 128 + random(1, 2, 150)
    assert target.min() < 0
    assert target.max() > 255
    start = np.clip(128 + random(2, 2, 30), 0, 255)
    found, _ = minimised(optimizer, start, quadratic(target, stretched(3, 2)), steps, learning_rate)
    assert found.min() >= 0
    assert found.max() <= 255
    np.testing.assert_allclose(found, np.clip(target, 0, 255), atol=0.5)


def stiff(x: Any) -> Any:
    """The known curvature of a total variation."""
    return variation_stiffness(x, "l2", 1.0)


@pytest.mark.parametrize("known", [None, stiff])
def test_the_first_step_of_lbfgs_changes_a_pixel_by_the_learning_rate(known: Any) -> None:
    start, loss = random(2, 2), quadratic(random(1, 2, 5), stretched(3, 2))
    state = Lbfgs().start(tf.constant(start), 1)
    for _ in range(2):
        state = Lbfgs().step(state, evaluation(loss), tf.constant(0.25), known)
    moved = np.abs(state["x"].numpy() - start).max(axis=(1, 2, 3))
    np.testing.assert_allclose(moved, [0.25, 0.25], rtol=1e-4)


def test_a_step_that_shows_no_positive_curvature_teaches_lbfgs_nothing() -> None:
    optimizer, rate = Lbfgs(), tf.constant(1.0)
    evaluate = evaluation(quadratic(random(1), stretched(3)))
    state = optimizer.start(tf.constant(random(2)), 1)
    for _ in range(5):
        state = optimizer.step(state, evaluate, rate)

    def bent(x: Any) -> tuple[Any, Any]:
        return state["terms"] - 1.0, state["gradient"] - 0.1 * (x - state["x"])

    after = optimizer.step(state, bent, rate)
    assert not (after["x"].numpy() == state["x"].numpy()).all()
    assert after["pairs"].numpy() == state["pairs"].numpy() == [4]
    for name in ("moves", "changes", "rises"):
        np.testing.assert_array_equal(after[name][0], state[name][0])


def test_the_curvature_that_is_known_is_not_taken_for_the_networks() -> None:
    def variation(x: Any) -> Any:
        return total_variation_loss(x, "l2")

    state = Lbfgs().start(tf.constant(random(2)), 1)
    for _ in range(4):
        state = Lbfgs().step(state, evaluation(variation), tf.constant(0.5), stiff)
    assert state["moved"].numpy().max() > 0
    assert state["turned"].numpy().max() < 1e-9 * state["moved"].numpy().max()


def test_at_the_minimum_nothing_moves() -> None:
    target = random(1, 2)
    for optimizer in (Lbfgs(), Adam()):
        found, losses = minimised(optimizer, target, quadratic(target, stretched(3, 2)), 10, 1.0)
        np.testing.assert_array_equal(found, target)
        assert (losses == 0).all()
