"""Functions as TensorFlow's graphs, called with next to no work of the host's."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from nst_core.engine.compilation import CompiledFunction

Tensor = Any


class Graph:
    """A function of tensors as a graph, traced once, on the device of its first call.

    A `tf.function` compares all arguments with its signature in every call, which takes 1 ms for
    the fifty tensors of L-BFGS. Here they go to the graph as they are; what is no tensor becomes
    one, and that the shapes agree is the caller's affair.

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
        # Of what the function returns; known once it is traced.
        self._structure: Any = None

    def __call__(self, *arguments: Any) -> Any:
        """What the function returns."""
        flat = self._flat(arguments)
        traced = self._traced
        if self._xla:
            found = self._compiled(flat)
        else:
            found = traced.inference_fn.call_flat(*flat, *traced.captured_inputs)
        return _packed(self._structure, iter(found))

    def must_compile(self, *arguments: Any) -> bool:
        """Whether a call will have to wait for XLA's compilation for these arguments' shapes."""
        return self._xla and self._compiled.must_compile(self._flat(arguments))

    def _flat(self, arguments: Any) -> list[Tensor]:
        return [
            one if isinstance(one, tf.Tensor) else tf.constant(one, spec.dtype)
            for one, spec in zip(tf.nest.flatten(arguments), self._specs, strict=True)
        ]

    @functools.cached_property
    def _compiled(self) -> CompiledFunction:
        return CompiledFunction(self._traced)

    @property
    def outputs(self) -> Any:
        """What the function returns, as symbolic tensors."""
        traced = self._traced
        return _packed(self._structure, iter(traced.outputs))

    @functools.cached_property
    def _traced(self) -> Any:
        def flattened(*flat: Tensor) -> list[Tensor]:
            found = self._function(*tf.nest.pack_sequence_as(self._signature, flat))
            self._structure = tf.nest.map_structure(lambda _: None, found)
            return list(tf.nest.flatten(found))

        return tf.function(
            flattened,
            input_signature=self._specs,
            jit_compile=self._xla,
            autograph=False,
        ).get_concrete_function()


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
