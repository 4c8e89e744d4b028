"""The errors of this project: those of one pair, and those of the whole job.

Every message is one sentence that gives the value, what it means and what to do. It is bounded,
whatever the value: see `shown` and `shortened`.
"""

import json
import re
from typing import Any

SENTENCE_LIMIT = 2000  # characters of a message
SHOWN_LIMIT = 200  # characters of one value in it
# What a terminal obeys or a line ends with, and what turns the direction of the text around it.
_CONTROL = re.compile("[\0-\x08\n-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def shortened(text: str, limit: int) -> str:
    """`text`, of which at most `limit` characters are left: its start and its end."""
    if len(text) <= limit:
        return text
    kept = limit - 1
    return f"{text[: kept - kept // 2]}…{text[len(text) - kept // 2 :]}"


def shown(value: Any, limit: int = SHOWN_LIMIT) -> str:
    """`value` for people: JSON where it can be, on one line, cut off after `limit` characters.

    What does not print, or would print as something else than it is, is escaped.
    """
    if isinstance(value, str):
        value = value[: limit + 1]
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = _represented(value)
    text = "".join(map(_printable, text[: limit + 1]))
    return text if len(text) <= limit else text[:limit] + "…"


def harmless(text: str) -> str:
    """`text` on one line that no terminal obeys: what controls one is escaped as in JSON."""
    return _CONTROL.sub(lambda found: _escaped(found[0]), text)


def has_control(text: str) -> bool:
    """Whether a terminal would obey something in `text`, or show it in another order."""
    return _CONTROL.search(text) is not None


def _represented(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes no whole number of more than 4300 digits.
        return f"a number too long to show, or {type(value).__name__} with one"


def _printable(character: str) -> str:
    return character if character.isprintable() else _escaped(character)


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class _SentenceError(Exception):
    """An error whose message is a sentence, cut in its middle where it would be endless.

    Names in it are those that people give: it goes to terminals and logs, so `harmless`.
    """

    def __init__(self, sentence: object) -> None:
        super().__init__(shortened(harmless(str(sentence)), SENTENCE_LIMIT))


class PairError(_SentenceError):
    """One pair cannot be stylized; the others can. `status` is what its result says."""

    status = "internal"


class InputNotFound(PairError):
    """An input image does not exist."""

    status = "input_not_found"


class InputUnreadable(PairError):
    """An input's bytes are not an image that can be decoded."""

    status = "input_unreadable"


class InputTooLarge(PairError):
    """An input is over the limit on bytes or pixels."""

    status = "input_too_large"


class InputTooSmall(PairError):
    """An input is too small for the network."""

    status = "input_too_small"


class OptionsInvalid(PairError):
    """The settings of a manifest row are wrong."""

    status = "options_invalid"


class ManifestInvalid(PairError):
    """A manifest row is not a pair."""

    status = "manifest_invalid"


class DuplicateId(PairError):
    """The id of a manifest row was used by an earlier row."""

    status = "duplicate_id"


class Diverged(PairError):
    """The loss became infinite or ran away, twice."""

    status = "diverged"


class DeadlineExceeded(PairError):
    """The optimisation took longer than `deadline_seconds`."""

    status = "deadline_exceeded"


class OutOfMemory(PairError):
    """The device has not enough memory for this pair alone."""

    status = "out_of_memory"


class ConfigError(_SentenceError, ValueError):
    """A setting is unknown or has a value that cannot be used."""


class JobError(_SentenceError):
    """Trouble that is not one pair's: the job stops, says this sentence, and exits with 1."""


class WeightsError(JobError):
    """The network's weights cannot be had, or are not VGG19's."""


class DeviceError(JobError):
    """The demanded device is not there."""
