"""What values a setting may have: each check gives None, or what to give instead.

It has a JSON Schema too, which says as much of that as one can: that scales rise, none can.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import sys
from collections.abc import Callable, Mapping
from typing import Any

from nst_core.layers import CONV_LAYERS

# Of one pair: each is a file, whose name is known before.
MOST_SNAPSHOTS = 10_000
# As Kingma and Ba have them.
ADAMS_BETAS = (0.9, 0.999)
# Settings that Adam alone knows: the value at which they do nothing, and why L-BFGS has none other.
ADAMS_OWN: dict[str, tuple[Any, str]] = {
    "average_decay": (0, ""),
    "betas": (ADAMS_BETAS, ""),
    "normalize_gradients": (
        False,
        ", which checks its steps against the loss whose gradient this is not",
    ),
}


@dataclasses.dataclass(frozen=True)
class Check:
    """A check of one value; `schema` is of what passes it, as JSON and YAML give it."""

    find: Callable[[Any], str | None]
    schema: Mapping[str, Any]

    def __call__(self, value: Any) -> str | None:
        """None for a value that may be, else what to give instead."""
        return self.find(value)


def _is_whole(value: Any) -> bool:
    """Also 512.0: pandas makes floats of whole numbers where some are missing."""
    if isinstance(value, float):
        return value.is_integer()
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether the value is a finite number, Python's or NumPy's."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    if isinstance(value, numbers.Integral):
        # It can be larger than any float.
        return abs(int(value)) <= sys.float_info.max
    return math.isfinite(value)


def number(low: float, high: float = math.inf, *, above: bool = False) -> Check:
    """A finite number in [low, high], or in (low, high] where `above`."""

    def check(value: Any) -> str | None:
        if is_number(value) and (value > low if above else value >= low) and value <= high:
            return None
        start = f"above {low:g}" if above else f"of at least {low:g}"
        return f"a number {start}" + (f" and at most {high:g}" if high < math.inf else "")

    least = {"exclusiveMinimum" if above else "minimum": low}
    return Check(
        check, {"type": "number", **least, **({"maximum": high} if high < math.inf else {})}
    )


def integer(low: int, high: int, *, optional: bool = False) -> Check:
    """A whole number in [low, high], or nothing where `optional`."""

    def check(value: Any) -> str | None:
        if optional and value is None:
            return None
        if _is_whole(value) and low <= value <= high:
            return None
        return f"a whole number from {low} to {high}" + (" or null" if optional else "")

    kind = ["integer", "null"] if optional else "integer"
    return Check(check, {"type": kind, "minimum": low, "maximum": high})


def one_of(*choices: str) -> Check:
    """One of these words."""
    expected = "one of " + ", ".join(choices)
    return Check(lambda value: None if value in choices else expected, {"enum": [*choices]})


def _passing(schema: Mapping[str, Any]) -> Callable[[Callable[[Any], str | None]], Check]:
    """The check that a function is, with the schema of what passes it."""
    return lambda find: Check(find, schema)


@_passing({"type": "string", "pattern": r"\S"})
def text(value: Any) -> str | None:
    """A name, a path or a URI."""
    return None if isinstance(value, str) and value.strip() else "a name, a path or a URI"


@_passing({"type": "boolean"})
def boolean(value: Any) -> str | None:
    """True or false."""
    return None if isinstance(value, bool) else "true or false"


@_passing(
    {
        "type": "object",
        "propertyNames": {"enum": [*CONV_LAYERS]},
        "additionalProperties": {"type": "number", "minimum": 0},
        "minProperties": 1,
        # Not all of them.
        "not": {"additionalProperties": {"const": 0}},
    }
)
def layers(value: Any) -> str | None:
    """Layers and their weights, not all of them 0."""
    if (
        isinstance(value, Mapping)
        and all(name in CONV_LAYERS and is_number(w) and w >= 0 for name, w in value.items())
        and sum(value.values()) > 0
    ):
        return None
    return "layer names from block1_conv1 to block5_conv4, each with a weight of at least 0"


@_passing({"anyOf": [{"enum": ["auto", "grid"]}, integer(1, 512).schema]})
def canvas_multiple(value: Any) -> str | None:
    """By which rule, or to which multiple, contents are padded."""
    if value in ("auto", "grid") or integer(1, 512)(value) is None:
        return None
    return "auto, grid, or a whole number of px from 1 to 512"


@_passing({"anyOf": [{"const": 0}, integer(16, 8192).schema]})
def least_side(value: Any) -> str | None:
    """Whether, and to which short side, to enlarge."""
    if integer(0, 0)(value) is None or integer(16, 8192)(value) is None:
        return None
    return "0, or a whole number of px from 16 to 8192"


@_passing(
    {
        "anyOf": [
            {"enum": ["auto", "off", 0, False]},
            {**integer(64, 8192).schema, "multipleOf": 16},
        ]
    }
)
def tile(value: Any) -> str | None:
    """Whether, or by which side, to tile."""
    # YAML reads an `off` without quotes as false.
    if value in ("auto", "off", 0):
        return None
    if integer(64, 8192)(value) is None and value % 16 == 0:
        return None
    return "auto, off (or 0), or a side from 64 to 8192 px that is a multiple of 16"


@_passing(
    {
        "type": "array",
        "items": number(0, 1, above=True).schema,
        "contains": {"const": 1},
        "uniqueItems": True,
    }
)
def scales(value: Any) -> str | None:
    """Fractions of the canvas, coarse to fine."""
    if (
        isinstance(value, tuple)
        and value
        and all(is_number(v) and 0 < v <= 1 for v in value)
        and list(value) == sorted(set(value))
        and value[-1] == 1
    ):
        return None
    return "rising fractions of the canvas that end with 1, such as [0.5, 1]"


@_passing(
    {
        "anyOf": [
            integer(1, 1_000_000).schema,
            {"type": "array", "items": integer(1, 1_000_000).schema, "minItems": 1},
        ]
    }
)
def steps(value: Any) -> str | None:
    """One count, or one for each scale."""
    counts = value if isinstance(value, tuple) else (value,)
    if counts and all(integer(1, 1_000_000)(v) is None for v in counts):
        return None
    return "a count of at least 1, or a list with one count per scale"


@_passing({"type": "array", "items": number(0, 0.9999).schema, "minItems": 2, "maxItems": 2})
def betas(value: Any) -> str | None:
    """Two decays."""
    is_one = number(0, 0.9999)
    if isinstance(value, tuple) and len(value) == 2 and not any(map(is_one, value)):
        return None
    return "two numbers of at least 0 and at most 0.9999, such as [0.9, 0.999]"


def canonical(value: Any, kind: str) -> Any:
    """Floats where floats are meant, layers in order, Python's own numbers for NumPy's: equal
    settings must compare equal, and go into JSON and YAML."""
    if kind == "float":
        return float(value)
    if kind == "tuple[float, ...]":
        return tuple(map(float, value))
    if kind == "int | str" and not value:
        return "off"
    if isinstance(value, Mapping):
        return {name: float(value[name]) for name in CONV_LAYERS if name in value}
    if isinstance(value, tuple):
        return tuple(map(int, value))
    return int(value) if _is_whole(value) else value


def contradiction(config: Any) -> str | None:
    """The sentence about two settings that contradict each other, if there are such."""
    if (config.image_size is None) == (config.image_height is None):
        return (
            f"image_size is {config.image_size} and image_height is {config.image_height}; "
            "give exactly one of them and set the other to null."
        )
    if isinstance(config.steps, tuple) and len(config.steps) != len(config.scales):
        return (
            f"steps has {len(config.steps)} counts for {len(config.scales)} scales; "
            "give one count per scale, or a single count for all."
        )
    for name, (neutral, why) in ADAMS_OWN.items():
        value = getattr(config, name)
        if value != neutral and config.optimizer != "adam":
            return (
                f"{name} is {json.dumps(value)} with optimizer {config.optimizer}{why}; "
                f"set optimizer to adam, or {name} to {json.dumps(neutral)}."
            )
    total = sum(config.steps_per_scale)
    if config.snapshot_every and total // config.snapshot_every > MOST_SNAPSHOTS:
        return (
            f"snapshot_every is {config.snapshot_every}, so {total} steps make "
            f"{total // config.snapshot_every} snapshots, over the limit of {MOST_SNAPSHOTS}; give "
            "more steps between them."
        )
    if config.animation != "none" and not config.snapshot_every:
        return (
            f"animation is {config.animation} with snapshot_every 0, so it has no images; "
            "set snapshot_every to a count of steps, or animation to none."
        )
    return None
