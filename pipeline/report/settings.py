"""What the report tells of a pair's settings: its preset, and how they are given once more."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from nst_core.config import PRESETS, SETTINGS, StyleConfig, preset
from nst_core.errors import has_control
from nst_core.imaging.encoding import EXTENSIONS
from pipeline.manifest.values import OPTION, option_text, plain

_SIZES = ("image_size", "image_height")


@functools.cache
def _defaults() -> dict[str, Any]:
    return StyleConfig().to_dict()


@functools.cache
def _of_presets() -> dict[str, dict[str, Any]]:
    """What each preset changes, those that change most first."""
    found = {name: json.loads(preset(name).changes()) for name in PRESETS}
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def changes_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a record that are not today's defaults; those that it lacks are."""
    return {
        key: value for key, value in config.items() if key in SETTINGS and value != _defaults()[key]
    }


def preset_of(changes: Mapping[str, Any]) -> str:
    """The preset that these settings have most of: all that it changes, and perhaps others.

    Of any size: that is often chosen besides.
    """
    for name, own in _of_presets().items():
        asked = {key: value for key, value in own.items() if key not in _SIZES}
        if asked and all(changes.get(key) == value for key, value in asked.items()):
            return name
    return "default"


def option_cells(changes: Mapping[str, Any]) -> dict[str, str]:
    """The settings as cells of a manifest in CSV, by their columns."""
    return {OPTION + key: option_text(value) for key, value in changes.items()}


def other_cells(columns: Mapping[str, Any]) -> dict[str, str]:
    """A row's other columns as cells of CSV."""
    cells = {}
    for name, value in columns.items():
        if value is not None:
            jsonable = plain(value)
            is_text = isinstance(jsonable, str)
            cells[name] = jsonable if is_text else json.dumps(jsonable, ensure_ascii=False)
    return cells


def style_cell(styles: Sequence[Mapping[str, Any]]) -> str:
    """A row's styles as a cell of CSV."""
    first = styles[0]
    if len(styles) == 1 and first.get("weight", 1) == 1 and not first.get("mask"):
        return str(first["uri"])
    return json.dumps(list(styles), ensure_ascii=False)


def stylize_command(
    name: str, content: str, styles: Sequence[Mapping[str, Any]], changes: Mapping[str, Any]
) -> str:
    """The line that makes the picture of this name again.

    Empty where a name has what a terminal obeys, into which the line is to be pasted.
    """
    extension = EXTENSIONS[changes.get("output_format", _defaults()["output_format"])]
    words = ["nst", "stylize", content, *(style["uri"] for style in styles)]
    words += ["-o", f"{name.rpartition('/')[2]}.{extension}"]
    masks = [style.get("mask") for style in styles]
    if any(masks):
        for mask in masks:
            words += ["--style-mask", mask or "-"]
    weights = [style.get("weight", 1) for style in styles]
    if len({*weights}) > 1:
        for weight in weights:
            words += ["--style-weight", str(weight)]
    for key, value in changes.items():
        if key != "output_format":
            words += ["--set", f"{key}={option_text(value)}"]
    command = shlex.join(words)
    return "" if has_control(command) else command
