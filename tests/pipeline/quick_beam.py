"""Beam looks up once what it otherwise looks up hundreds of times for every pipeline.

Half of what a small run costs is Beam's reading of the same signatures and its parsing of the same
options, again for every view of them. Both depend on nothing that a test changes.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import logging
import types
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms import core, userstate


@contextlib.contextmanager
def quick_beam() -> Iterator[None]:
    """Pipelines of this process are built and run with what was looked up before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "get_function_args_defaults", remembered_arguments())
        patch.setattr(userstate, "get_dofn_specs", remembered_specs())
        patch.setattr(PipelineOptions, "__init__", remembered_options())
        yield


def remembered_arguments() -> Any:
    """Beam's `get_function_args_defaults`, which asks a function once."""
    real = core.get_function_args_defaults
    known: weakref.WeakKeyDictionary[Any, dict[bool, Any]] = weakref.WeakKeyDictionary()

    def arguments_of(function: Any) -> tuple[list[str], list[Any]]:
        bound = isinstance(function, types.MethodType)
        plain = function.__func__ if bound else function
        if not isinstance(plain, types.FunctionType):
            return real(function)
        found = known.setdefault(plain, {})
        if bound not in found:
            found[bound] = real(function)
        names, defaults = found[bound]
        return list(names), list(defaults)

    return arguments_of


def remembered_specs() -> Any:
    """Beam's `get_dofn_specs`, which asks a `DoFn` once."""
    real = userstate.get_dofn_specs
    known: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def specs_of(function: Any) -> tuple[set[Any], set[Any]]:
        if function not in known:
            known[function] = real(function)
        states, timers = known[function]
        return set(states), set(timers)

    return specs_of


def remembered_options() -> Any:
    """The constructor of Beam's options, which parses the same flags once for each class."""
    real = PipelineOptions.__init__
    known: dict[tuple[type, tuple[str, ...]], tuple[dict[str, Any], list[str]]] = {}

    def start(self: Any, flags: Sequence[str] | None = None, **values: Any) -> None:
        if values or not isinstance(flags, list):
            real(self, flags, **values)
            return
        key = (type(self), tuple(flags))
        if key not in known:
            real(self, flags)
            known[key] = copy.deepcopy(vars(self._visible_options)), list(self._all_options)
            return
        logging.basicConfig()
        visible, names = known[key]
        parsed = argparse.Namespace(**{name: fresh(value) for name, value in visible.items()})
        # All views share the very list of the flags, and both dictionaries the very values.
        vars(self).update(
            _flags=flags,
            _visible_options=parsed,
            _all_options={name: getattr(parsed, name) for name in names},
        )

    return start


def fresh(value: Any) -> Any:
    """The value; a copy where it could change."""
    return value if isinstance(value, str | int | float | None) else copy.deepcopy(value)
