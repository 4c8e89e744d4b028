"""The settings in a command's help: in groups, those first that are changed first."""

from __future__ import annotations

import functools
import json
import textwrap
from collections.abc import Iterator

from nst_core.config import SETTINGS, StyleConfig

# A setting that none names is shown in the last.
GROUPS = {
    "first of all": ("image_size", "content_weight", "style_scale", "preserve_colors", "steps"),
    "content": ("content_layers", "content_colors", "init", "keep"),
    "style": ("style_weight", "style_layers", "style_statistics", "style_fit"),
    "total variation": ("tv_weight", "tv_norm"),
    "sizes": ("image_height", "smallest_side", "resample", "canvas_multiple", "output_size"),
    "network": ("weights", "pooling", "padding", "normalization", "normalize_gradients"),
    "optimisation": (
        *("scales", "optimizer", "learning_rate", "betas", "tolerance", "seed"),
        *("average_decay", "clip_pixels"),
    ),
    "files": ("output_format", "jpeg_quality", "metadata", "snapshot_every", "animation"),
    "machine and limits": ("precision", "device", "tile", "deadline_seconds"),
}
_LAST = "machine and limits"
_WIDTH = 96


@functools.cache
def settings_help() -> str:
    """Every setting with what it means and its default, for the end of a help."""
    defaults = StyleConfig().to_dict()
    named = {key for group in GROUPS.values() for key in group}
    lines = ["settings (--set key=value, a YAML file for --config, options.KEY in a manifest):"]
    for title, group in GROUPS.items():
        others = [key for key in SETTINGS if key not in named] if title == _LAST else []
        lines += ["", f" {title}:"]
        for key in (*group, *others):
            lines += _setting(key, defaults[key])
    return "\n".join(lines)


def _setting(key: str, default: object) -> Iterator[str]:
    # As YAML has it, for that is how a setting is given.
    spelt = default if isinstance(default, str) else json.dumps(default)
    text = f"{SETTINGS[key]} (default {spelt})".replace("`", "")
    yield from textwrap.wrap(text, _WIDTH, initial_indent=f"  {key}: ", subsequent_indent="      ")
