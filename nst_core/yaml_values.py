"""The text of settings, read as YAML, of bounded size, depth and cost."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import yaml

from nst_core.errors import ConfigError, shortened, shown

TEXT_LIMIT = 65_536  # characters
DEPTH_LIMIT = 32  # levels of nesting
DIGITS_LIMIT = 1000  # of a whole number
REASON_LIMIT = 300  # characters of what the parser says
SHOWN = 40  # characters of a number
_OCTAL = re.compile("0[0-7_]+")


def read_yaml(text: str, what: str) -> Any:
    """The value of a YAML document; `what` names it in errors.

    Aliases and anchors are refused: of them a few hundred bytes make a value without end.

    Raises:
        ConfigError: the text is not YAML, too long, too deep, or one of its numbers is; it has an
            alias, an anchor, or a key twice.
    """
    if len(text) > TEXT_LIMIT:
        raise ConfigError(
            f"{what} has {len(text)} characters, over the limit of {TEXT_LIMIT} for settings; "
            "shorten it."
        )
    try:
        return yaml.load(text, Loader=_Loader)  # a SafeLoader
    except _RefusedError as refused:
        raise ConfigError(f"{what} {refused}.") from refused
    except Exception as error:
        # PyYAML's constructors fail in their own ways: ValueError for 2020-13-45, and others.
        reason = " ".join(str(error).split())[:REASON_LIMIT]
        raise ConfigError(f"{what} is not YAML ({reason}); quote it or mend it.") from error


def repeated(names: Iterable[str]) -> str | None:
    """The first name that is there twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


class _RefusedError(Exception):
    """YAML that is not read here; the message is a phrase that follows the text's name."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without its surprise that `1e-4` is text, and within bounds."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """The next node; before any of it is built."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if event.anchor is not None:
            sign = "*" if isinstance(event, yaml.AliasEvent) else "&"
            raise _RefusedError(
                f"has {shown(sign + event.anchor)}, and anchors and aliases are not read here; "
                "write the value out, or quote it"
            )
        if self.depth == DEPTH_LIMIT and isinstance(event, yaml.CollectionStartEvent):
            raise _RefusedError(f"is nested more than {DEPTH_LIMIT} levels deep; flatten it")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping, whose keys are all different: of two, one would be lost in silence."""
        node = super().compose_mapping_node(anchor)
        keys = (key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        twice = repeated(keys)
        if twice is not None:
            raise _RefusedError(f"has the key {shown(twice)} twice; remove one of them")
        return node

    def construct_yaml_int(self, node: Any) -> int:
        """A whole number that Python can also write."""
        digits = len(node.value)
        if digits > DIGITS_LIMIT:
            raise _RefusedError(f"holds a number of {digits} digits; give a smaller one")
        self._refuse_surprise(node)
        return int(super().construct_yaml_int(node))

    def construct_yaml_float(self, node: Any) -> float:
        """A number with a point or an exponent."""
        self._refuse_surprise(node)
        return float(super().construct_yaml_float(node))

    def _refuse_surprise(self, node: Any) -> None:
        """In YAML 1.1 `0100` is 64 and `1:30` is 90, which is nothing that people mean."""
        plain = node.value.lstrip("+-")
        if ":" in plain:
            raise _RefusedError(
                f"holds {shown(shortened(node.value, SHOWN))}, in YAML a number to the base of 60; "
                "write a plain number"
            )
        if _OCTAL.fullmatch(plain) and int(plain, 8) != int(plain):
            raise _RefusedError(
                f"holds {shown(node.value)}, in YAML a number to the base of 8; leave out the 0 "
                "in front"
            )


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\d[\d_]*(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
