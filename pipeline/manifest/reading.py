"""What the command line says of manifests: names of columns, styles for rows that have none."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence

from nst_core.config import SETTINGS, unknown_setting
from nst_core.errors import ConfigError, shown
from pipeline import storage
from pipeline.manifest.values import MARK, MARK_OF, OPTION

STANDARD_INPUT = "-"  # as --manifest
# The columns that this program knows, beside those of settings.
KNOWN = ("content", "style", "id", MARK, MARK_OF)
# What a folder of images says of them, by the convention of Hugging Face's datasets: the image of
# a line is `file_name` (https://huggingface.co/docs/datasets/image_dataset).
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE_NAME = "file_name"
_NEXT = re.compile(rf",(?=\s*(?:{'|'.join(KNOWN)}|options\.\w+)\s*=)", re.IGNORECASE)


@dataclasses.dataclass(frozen=True)
class Reading:
    """What the command line says of a manifest.

    Args:
        columns: the manifest's own name of a column for each of these names of this program.
        styles: absolute URIs, for rows that have no style.
        base: beside which file relative names lie, where that is not the manifest's own place.
        name: what the manifest is called, where it is no file of its own.
        more: what belongs to its name besides, since other pairs are made with it.
        schemes: those that the command line itself names.
        notes: what is to be told before the work, as sentences.
    """

    columns: tuple[tuple[str, str], ...] = ()
    styles: tuple[str, ...] = ()
    base: str | None = None
    name: str | None = None
    more: str = ""
    schemes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


AS_IT_IS = Reading()


def parse_columns(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The names in `content=image_url,style=look`, of one text or several.

    Raises:
        ConfigError: one is no name of this program, is there twice, or stands for nothing.
    """
    found: dict[str, str] = {}
    for part in (part for text in texts for part in _NEXT.split(text)):
        known, separator, own = (piece.strip() for piece in part.partition("="))
        if not separator or not known or not own:
            raise ConfigError(
                f"--columns {shown(part)} is no name for another; write content=NAME, with commas "
                "between several, where NAME is the manifest's own name of the column."
            )
        name = _known(known)
        if name in found or own in found.values():
            twice = name if name in found else own
            raise ConfigError(f"--columns has {shown(twice)} twice; leave one of them out.")
        found[name] = own
    return tuple(found.items())


def _known(text: str) -> str:
    """One of the names of this program, in any case; ConfigError with the nearest for another."""
    name = option_name(text) or text.casefold()
    key = name.removeprefix(OPTION)
    if name.startswith(OPTION) and key not in SETTINGS:
        raise ConfigError(f"--columns {OPTION}{key}: {unknown_setting(key)}.")
    if name in KNOWN or name.startswith(OPTION):
        return name
    near = difflib.get_close_matches(name, KNOWN, 1)
    if name in SETTINGS:
        near = [OPTION + name]
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(KNOWN)}, options.KEY."
    raise ConfigError(f"--columns {shown(text)} is no column of this program; {hint}")


def option_name(text: str) -> str | None:
    """`options.KEY` in its own spelling, given in any case and with blanks; None for others."""
    match = re.fullmatch(r"options\s*\.\s*(\S.*)", text, re.IGNORECASE | re.DOTALL)
    if match is None:
        return None
    key = match[1].casefold()
    return OPTION + (key if key in SETTINGS else match[1])


def relative(uri: str, manifest_uri: str) -> str:
    """How a manifest names a file: relative to itself where it lies below, so that both can move.

    Args:
        uri: absolute, and so is `manifest_uri`.
    """
    text = uri.removeprefix(storage.directory(manifest_uri).rstrip("/") + "/")
    # A cell that begins with [ is a list, and a blank one is none.
    is_uri = text.strip() and not text.startswith("[")
    return text if is_uri and storage.resolve(text, manifest_uri) == uri else uri


def is_metadata(uri: str) -> bool:
    """Whether a file is what a folder of images says of them."""
    return uri.rpartition("/")[2].lower() in METADATA
