"""The moves and changes that L-BFGS remembers: one tensor each, or, for XLA, a ring in one buffer.

Outside of what XLA compiles, and in checkpoints, a history is `moves`, `changes` and `rises`, the
inner product of both: tuples, the newest first. Nothing there is copied to remember a pair more,
and in tiles only the pairs that there are take memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from nst_core.optimizers import HISTORY
from nst_core.optimizers.loop import State, dot, per_image, where

Tensor = Any
# A gradient [B, H, W, 3] → the first guess of the inverse Hessian times it.
Guess = Callable[[Tensor], Tensor]

# Names of a history in the state, in either form.
NAMES = frozenset({"moves", "changes", "rises", "products", "newest"})


def start(x: Tensor) -> State:
    """No pairs, of images `[B, H, W, 3]`."""
    nothing = tf.zeros_like(x)
    return {
        "moves": (nothing,) * HISTORY,
        "changes": (nothing,) * HISTORY,
        "rises": (tf.zeros(tf.shape(x)[:1]),) * HISTORY,
    }


def pushed(state: State, move: Tensor, change: Tensor, rise: Tensor, useful: Tensor) -> State:
    """The history with one more pair where it is useful `[B]`, and the oldest gone there."""
    if "products" in state:
        return _put(state, move, change, useful)
    new = {"moves": move, "changes": change, "rises": rise}
    return {name: _shifted(state[name], one, useful) for name, one in new.items()}


def _shifted(items: tuple[Tensor, ...], new: Tensor, useful: Tensor) -> tuple[Tensor, ...]:
    """The newest item first where it is useful, and the oldest gone."""
    shifted = (new, *items[:-1])
    if tf.executing_eagerly() and useful.shape[0] == 1:
        # Of a large picture on the host there is no room for a second history.
        return shifted if useful[0] else items
    found: tuple[Tensor, ...] = where(useful, shifted, items)
    return found


def newest(known: State) -> tuple[Tensor, Tensor]:
    """The last pair's change `[B, H, W, 3]` and its rise `[B]`."""
    if "products" not in known:
        return known["changes"][0], known["rises"][0]
    place = _places(known["newest"])
    return tf.gather_nd(known["changes"], place), _rises(known)[0]


def direction(known: State, gradient: Tensor, guess: Guess) -> Tensor:
    """Minus the inverse Hessian's estimate times the gradient `[B, H, W, 3]`.

    The two-loop recursion (Nocedal, Wright, algorithm 7.4).
    """
    if "products" in known:
        return _solved(known, gradient, guess)
    pairs = list(zip(known["moves"], known["changes"], known["rises"], strict=True))
    found = -gradient
    shares = []
    for age, (move, change, rise) in enumerate(pairs):
        share = tf.where(age < known["pairs"], dot(move, found) / rise, 0.0)
        shares.append(share)
        found -= per_image(share, change) * change
    found = guess(found)
    for age, (move, change, rise) in reversed(list(enumerate(pairs))):
        rest = shares[age] - dot(change, found) / rise
        rest = tf.where(age < known["pairs"], rest, 0.0)
        found += per_image(rest, move) * move
    return found


def ring(state: State) -> State:
    """A state whose history is a ring: a pair is written in its slot, and nothing is moved.

    `moves` and `changes` become `[HISTORY, B, H, W, 3]`; `products [B, HISTORY, HISTORY]` float64
    are those of each move with the changes that are no older (others have no meaning), `newest [B]`
    is the slot of the last pair.
    """
    others = {name: value for name, value in state.items() if name not in NAMES}
    # Slots count upwards with time: behind the newest, in slot 0, comes the oldest.
    moves, changes = (
        tf.stack((state[name][0], *state[name][:0:-1])) for name in ("moves", "changes")
    )
    # Not in a loop, before which XLA would put a copy of all moves in float64.
    products = tf.stack([_products(moves, change) for change in tf.unstack(changes)])
    return {
        **others,
        "moves": moves,
        "changes": changes,
        "products": tf.ensure_shape(tf.transpose(products, [2, 1, 0]), [None, HISTORY, HISTORY]),
        "newest": tf.zeros_like(state["pairs"]),
    }


def unrolled(state: State) -> State:
    """A state of `ring` with its history as tuples, the newest first."""
    others = {name: value for name, value in state.items() if name not in NAMES}
    places = tf.stack([_places(slot) for slot in tf.unstack(_slots(state), axis=1)])
    images = {
        name: tuple(tf.unstack(tf.gather_nd(state[name], places))) for name in ("moves", "changes")
    }
    return {**others, **images, "rises": tuple(_rises(state))}


def _put(state: State, move: Tensor, change: Tensor, useful: Tensor) -> State:
    slot = (state["newest"] + 1) % HISTORY
    place = _places(slot)

    def written(ring: Tensor, new: Tensor) -> Tensor:
        kept = where(useful, new, tf.gather_nd(ring, place))
        return tf.tensor_scatter_nd_update(ring, place, kept)

    moves, changes = written(state["moves"], move), written(state["changes"], change)
    is_slot = tf.range(HISTORY) == slot[:, None]
    column = tf.transpose(_products(moves, change))
    products = tf.where(is_slot[:, None, :], column[:, :, None], state["products"])
    return {
        "moves": moves,
        "changes": changes,
        "products": where(useful, products, state["products"]),
        "newest": tf.where(useful, slot, state["newest"]),
    }


def _solved(known: State, gradient: Tensor, guess: Guess) -> Tensor:
    """The two loops on inner products: each is a triangular system, and two passes over the ring.

    Their sums are in float64: it loses less than the loops in float32.
    """
    slots = _slots(known)
    moves, changes = known["moves"], known["changes"]
    is_known = tf.range(HISTORY) < known["pairs"][:, None]
    both = is_known[:, :, None] & is_known[:, None, :]
    # The triangle of moves with changes that are no older, in the order of age.
    triangle = tf.where(both, _by_age(known), tf.eye(HISTORY, dtype=tf.float64))
    rises = tf.linalg.diag_part(triangle)

    def products(ring: Tensor, x: Tensor) -> Tensor:
        found = tf.gather(tf.transpose(_products(ring, x)), slots, batch_dims=1)
        return tf.where(is_known, found, 0.0)

    def combined(factors: Tensor, ring: Tensor) -> Tensor:
        by_slot = tf.transpose(tf.gather(tf.cast(factors, tf.float32), slots, batch_dims=1))
        return tf.reduce_sum(by_slot[:, :, None, None, None] * ring, axis=0)

    def solution(right: Tensor, adjoint: bool) -> Tensor:
        return tf.linalg.triangular_solve(triangle, right[:, :, None], adjoint=adjoint)[:, :, 0]

    shares = solution(-products(moves, gradient), adjoint=False)
    found = guess(-gradient - combined(shares, changes))
    rests = solution(rises * shares - products(changes, found), adjoint=True)
    return found + combined(rests, moves)


def _products(ring: Tensor, x: Tensor) -> Tensor:
    """Inner products of images `[B, H, W, 3]` with those of every slot: `[HISTORY, B]` float64.

    Those of a pixel's three values are added up in float32, for many GPUs are slow in float64; of
    that rounding nothing is left in the sum.
    """
    colors = tf.reduce_sum(ring * x, axis=4)
    return tf.reduce_sum(tf.cast(colors, tf.float64), axis=[2, 3])


def _slots(state: State) -> Tensor:
    """Each image's slots in the order of age, and as well the ages by slot: `[B, HISTORY]`."""
    return (state["newest"][:, None] - tf.range(HISTORY)) % HISTORY


def _places(slots: Tensor) -> Tensor:
    """Where in a ring the images are that have these slots `[B]`: `[B, 2]`."""
    return tf.stack([slots, tf.range(tf.shape(slots)[0])], axis=1)


def _by_age(state: State) -> Tensor:
    """The products in the order of age."""
    slots = _slots(state)
    rows = tf.gather(state["products"], slots, batch_dims=1)
    return tf.gather(rows, slots, axis=2, batch_dims=1)


def _rises(state: State) -> list[Tensor]:
    """The inner products of each pair, the newest first: `[B]` float32 each."""
    found = tf.cast(tf.linalg.diag_part(_by_age(state)), tf.float32)
    return list(tf.unstack(found, HISTORY, axis=1))
