"""Graphs give what their functions give, nested as they were, and are traced once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from nst_core.compiled.graphs import Graph, graph

VECTOR = tf.TensorSpec([None], tf.float32)


def test_arguments_and_results_keep_their_nesting_whatever_the_order_of_names() -> None:
    traced = []

    def function(first: dict[str, Any], second: Any) -> tuple[dict[str, Any], Any]:
        traced.append(1)
        return {"z": first["b"] + second, "a": (first["a"], second * 2)}, second[0]

    one = Graph(function, {"b": VECTOR, "a": VECTOR}, VECTOR)
    assert one.outputs[1].shape == []
    for length in (2, 3):
        a, b = np.arange(length), 10.0 * np.arange(length)
        # What is no tensor becomes one of the type that was asked for.
        found, number = one({"a": a, "b": tf.constant(b, tf.float32)}, np.ones(length))
        np.testing.assert_array_equal(found["z"], b + 1)
        np.testing.assert_array_equal(found["a"][0], a)
        np.testing.assert_array_equal(found["a"][1], np.full(length, 2))
        assert number == 1
    assert len(traced) == 1


def test_tensors_of_outside_are_part_of_the_graph() -> None:
    outside = tf.constant([1.0, 2.0])
    doubled = graph(VECTOR)(lambda x: x * outside)
    np.testing.assert_array_equal(doubled(tf.constant([3.0, 4.0])), [3, 8])


def test_bytes_are_sent_as_bytes_and_computed_as_floats() -> None:
    pictures = tf.TensorSpec([None, None, None, 3], tf.float32)
    traced = []

    def function(one: Any, other: Any) -> Any:
        traced.append((one.dtype, other.dtype))
        return one - other

    difference = Graph(function, pictures, pictures)
    some, others = np.full((1, 2, 2, 3), 3, np.uint8), np.full((1, 2, 2, 3), 5.5)
    for first in (some, tf.constant(some), some.astype(np.float32), tf.constant(some)):
        found = difference(first, others)
        assert found.dtype == tf.float32
        np.testing.assert_array_equal(found, np.full((1, 2, 2, 3), -2.5))
    # Once for bytes, once for floats.
    assert traced == [(tf.float32, tf.float32)] * 2


def test_too_few_arguments_are_an_error() -> None:
    with pytest.raises(ValueError, match="argument 2"):
        Graph(lambda x, y: x + y, VECTOR, VECTOR)(np.ones(1))
