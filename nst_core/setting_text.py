"""Settings as text: YAML values, and paths or URIs as they stand."""

from __future__ import annotations

import re
from typing import Any, TypeGuard

from nst_core.errors import ConfigError, shown
from nst_core.yaml_values import read_yaml

# Settings that hold a path or URI, and the names that stand beside these.
URI_SETTINGS = {
    "weights": ("imagenet", "procedural"),
    "init": ("content", "noise", "style_statistics"),
    "keep": ("none",),
}
# Settings that hold layers with their weights.
LAYER_SETTINGS = ("content_layers", "style_layers")
_WITHOUT_BLANK = re.compile(r"(\w):(?=[-+.\d])")


def parse_value(text: str) -> Any:
    """The value of `key=value`, read as YAML: `0.5`, `[0.5, 1]`, `{block4_conv2: 1}`, `adam`.

    Raises:
        ConfigError: the text is not YAML, or a comment alone, as a spreadsheet's `#N/A` is.
    """
    value = read_yaml(text, shown(text))
    if value is None and text.lstrip().startswith("#"):
        raise ConfigError(f"{shown(text)} is a comment in YAML and no value; give one, or nothing.")
    return value


def names_file(value: Any, key: str) -> TypeGuard[str]:
    """Whether the value of a setting is a path or URI, and not a name that stands beside these."""
    is_text = isinstance(value, str) and value.strip() != ""
    return is_text and key in URI_SETTINGS and value not in URI_SETTINGS[key]


def parse_setting(key: str, text: str) -> Any:
    """The value of one setting's text: YAML, but a path or URI that is not quoted as it is.

    Layers may go without blanks and braces: `block3_conv2:1,block4_conv2:0.5`.

    Raises:
        ConfigError: the text is not YAML.
    """
    if key in LAYER_SETTINGS:
        # In YAML, a colon without a blank is a part of the name.
        text = _WITHOUT_BLANK.sub(r"\1: ", text.strip())
        is_bare = ": " in text and "\n" not in text and not text.startswith(("{", '"', "'", "["))
        return parse_value(f"{{{text}}}" if is_bare else text)
    if key not in URI_SETTINGS or text.lstrip().startswith(("'", '"', "{")):
        return parse_value(text)
    # In YAML, `a #1.png` is `a`, `b: 1.png` a mapping, and `%20.png` nothing at all.
    try:
        value = parse_value(text)
    except ConfigError:
        return text.strip()
    return value if isinstance(value, int | float | list) else text.strip()


def parse_settings(text: str, source: str) -> dict[str, Any]:
    """The settings in a YAML document; `source` names it in errors.

    Raises:
        ConfigError: not YAML, or not a mapping.
    """
    values = read_yaml(text, source)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{source} holds no settings; write lines such as `image_size: 512`.")
    return {str(key): value for key, value in values.items()}
