"""Functions as TensorFlow's graphs, called with next to no work of the host's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from nst_core.compiled.compilation import CompiledFunction

Tensor = Any


class Graph:
    """A function of tensors as a graph, traced once, on the device of its first call.

    A `tf.function` compares all arguments with its signature in every call, which takes 1 ms for
    the fifty tensors of L-BFGS. Here they go to the graph as they are; what is no tensor becomes
    one, and that the shapes agree is the caller's affair. Bytes (uint8) in place of float32 go
    there as bytes, a quarter as many, and are float32 to the function.

    Args:
        function: returns a tensor, or dicts and tuples of them.
        signature: a nest of specs for each argument.
        xla: whether XLA compiles it.
    """

    def __init__(self, function: Callable[..., Any], *signature: Any, xla: bool = False) -> None:
        self._function = function
        self._signature = signature
        self._specs = tf.nest.flatten(signature)
        self._xla = xla
        # Where pictures can be.
        self._pictures = [i for i, spec in enumerate(self._specs) if spec.shape.rank == 4]
        self._traces: dict[tuple[bool, ...], Any] = {}
        # Of what the function returns; known once it is traced.
        self._structure: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        flat = self._flat(arguments)
        if self._xla:
            found = self._compiled(flat)
        else:
            traced = self._traced(tuple(flat[i].dtype == tf.uint8 for i in self._pictures))
            found = traced.inference_fn.call_flat(*flat, *traced.captured_inputs)
        return _packed(self._structure, iter(found))

    def must_compile(self, *arguments: Any) -> bool:
        """Whether a call will have to wait for XLA's compilation for these arguments' shapes."""
        return self._xla and self._compiled.must_compile(self._flat(arguments))

    def _flat(self, arguments: Any) -> list[Tensor]:
        return [
            one if isinstance(one, tf.Tensor) else _tensor(one, spec)
            for one, spec in zip(tf.nest.flatten(arguments), self._specs, strict=True)
        ]

    @functools.cached_property
    def _compiled(self) -> CompiledFunction:
        return CompiledFunction(self._traced())

    @property
    def outputs(self) -> Any:
        """What the function returns, as symbolic tensors."""
        traced = self._traced()
        return _packed(self._structure, iter(traced.outputs))

    def _traced(self, in_bytes: tuple[bool, ...] = ()) -> Any:
        """The graph; `in_bytes`: for each of `_pictures` whether it is uint8."""
        key = in_bytes if any(in_bytes) else ()
        if key not in self._traces:
            self._traces[key] = self._trace(key)
        return self._traces[key]

    def _trace(self, in_bytes: tuple[bool, ...]) -> Any:
        specs = list(self._specs)
        for index, is_bytes in zip(self._pictures, in_bytes, strict=False):
            if is_bytes:
                specs[index] = tf.TensorSpec(specs[index].shape, tf.uint8)

        def flattened(*given: Tensor) -> list[Tensor]:
            flat = [tf.cast(one, spec.dtype) for one, spec in zip(given, self._specs, strict=True)]
            found = self._function(*tf.nest.pack_sequence_as(self._signature, flat))
            self._structure = tf.nest.map_structure(lambda _: None, found)
            return list(tf.nest.flatten(found))

        return tf.function(
            flattened,
            input_signature=specs,
            jit_compile=self._xla,
            autograph=False,
        ).get_concrete_function()


def _tensor(value: Any, spec: tf.TensorSpec) -> Tensor:
    is_bytes = spec.shape.rank == 4 and getattr(value, "dtype", None) == np.uint8
    return tf.constant(value, tf.uint8 if is_bytes else spec.dtype)


def _packed(structure: Any, tensors: Iterator[Tensor]) -> Any:
    """The tensors as they were before `tf.nest.flatten`, which packs ten times as slowly."""
    if isinstance(structure, dict):
        return {name: _packed(structure[name], tensors) for name in sorted(structure)}
    if isinstance(structure, tuple):
        return tuple(_packed(one, tensors) for one in structure)
    return next(tensors)


def graph(*signature: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function as a `Graph` on each device where its first argument lies."""

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        on = functools.cache(lambda _: Graph(function, *signature))

        @functools.wraps(function)
        def call(first: Tensor, *others: Any) -> Any:
            return on(first.device)(first, *others)

        return call

    return decorated
