"""What one cell of a manifest can hold: as JSON, as YAML, in an error message."""

import contextlib
import datetime
import decimal
import functools
import json
import math
import re
from typing import Any

from nst_core.errors import ConfigError, shortened, shown
from nst_core.setting_text import parse_value
from nst_core.yaml_values import DEPTH_LIMIT, DIGITS_LIMIT, repeated

OPTION = "options."  # what the columns with settings begin with
OUTCOME = ("status", "error")  # the columns that failures.csv adds to a row
MARK = "mark"  # the column in which the report's pages say what somebody thought of a result
MARK_OF = "mark_of"  # beside it, which result that was, see `records.marks`
REDO = "redo"
MARKS = ("keep", REDO, "reject")
NEAR_MARK = 0.88  # how alike, from 0 to 1, what is nearly a mark is to it


# Of a style among several; beyond these, shares are no numbers to compute with.
LEAST_WEIGHT, MOST_WEIGHT = 1e-9, 1e9
WEIGHTS = f"a number from {LEAST_WEIGHT:g} to {MOST_WEIGHT:g}"


def plain(value: Any) -> Any:
    """`value` as JSON can hold it; what it cannot hold becomes text."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def number(value: Any) -> Any:
    """A decimal number, as databases have them, as one that JSON has; else the value itself."""
    if isinstance(value, decimal.Decimal) and value.is_finite():
        return int(value) if value == int(value) else float(value)
    return value


def whole(value: Any) -> Any:
    """A whole number without its point, which pandas gives it where one is missing; else itself."""
    value = number(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value


def defect(value: Any, depth: int = 0) -> str | None:
    """Why `value` could not be written into a manifest again, as a phrase that follows its name."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return "is not UTF-8; save it as UTF-8"
        if "\0" in value:
            return "contains a NUL character; remove it"
        return None
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if not isinstance(value, list | tuple):
        return None
    if depth == DEPTH_LIMIT:
        return f"is nested more than {DEPTH_LIMIT} levels deep; flatten it"
    return next(filter(None, (defect(item, depth + 1) for item in value)), None)


def json_value(text: str) -> Any:
    """The value of strict JSON: every key once, no NaN, no infinity, text that is UTF-8.

    Raises:
        ValueError: what is wrong, as a phrase that follows the name of the text.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_finite,
        )
    except json.JSONDecodeError as error:
        reason = f"is not JSON ({error.msg} at character {error.pos + 1}); mend it"
        raise ValueError(reason) from error
    except RecursionError as error:
        reason = f"is nested more than {DEPTH_LIMIT} levels deep; flatten it"
        raise ValueError(reason) from error
    problem = defect(value)
    if problem:
        raise ValueError(problem)
    return value


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = repeated(key for key, _ in items)
    if twice is not None:
        raise ValueError(f"has the key {shown(twice)} twice; remove one of them")
    return dict(items)


def _whole(text: str) -> int:
    # Python refuses to read, and to write, longer ones.
    if len(text) > DIGITS_LIMIT:
        raise ValueError(f"holds a number of {len(text)} digits; write it as text")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(
            f"holds {shortened(text, 40)}, which is no finite number; give one, or null"
        )
    return number


def option_text(value: Any) -> str:
    """Text that `parse_setting` reads as `value`: itself where it can be, else YAML in one line."""
    return value if isinstance(value, str) and _reads_as_itself(value) else _yaml_flow(value)


# Most rows share their options, and finding out how YAML reads a text takes long.
@functools.lru_cache(maxsize=4096)
def _reads_as_itself(text: str) -> bool:
    with contextlib.suppress(ConfigError):
        return bool(parse_value(text) == text)  # Under any key.
    return False


def _yaml_flow(value: Any) -> str:
    """JSON as YAML 1.1 can read it: floats need a point, and fewer characters stand unescaped."""
    if isinstance(value, dict):
        items = (f"{_yaml_flow(str(key))}: {_yaml_flow(item)}" for key, item in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_yaml_flow, value)) + "]"
    if isinstance(value, float):
        text = repr(value)
        if not math.isfinite(value):
            return text.replace("nan", ".nan").replace("inf", ".inf")
        return text if "." in text else text.replace("e", ".0e")
    return re.sub(
        "[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]",
        lambda found: f"\\u{ord(found[0]):04x}",
        json.dumps(plain(value), ensure_ascii=False),
    )
