"""One line from which a person can judge a run that has ended, without opening a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pipeline.records.tasks import OK, counts_by_kind
from pipeline.runs.reasons import shared_line


def verdict(summary: dict[str, Any]) -> str:
    """Pairs, seconds each, quality, the worst by name, why pairs failed; of a run's summary.

    Empty for a summary of an earlier version, which does not know.
    """
    return "; ".join(_parts(summary))


def _parts(summary: dict[str, Any]) -> Iterator[str]:
    elapsed = summary.get("elapsed_seconds")
    if elapsed is None:
        return
    done = summary["statuses"].get(OK, 0)
    pairs = "1 pair" if done == 1 else f"{done} pairs"
    each = f", {elapsed / done:.3g} s each" if done else ""
    yield f"{pairs} done in {duration(elapsed)}{each}"
    ssim, gram_error = (summary["quality"][name] for name in ("ssim", "gram_error"))
    if ssim:
        yield f"median SSIM {ssim['p50']:.3g}, Gram error {gram_error['p50']:.3g}"
        worst = [f"{one['id']} ({one['gram_error']:.3g})" for one in summary["worst"]]
        yield f"farthest from their styles: {', '.join(worst)}"
    if failed := counts_by_kind(summary["statuses"])["failed"]:
        yield shared_line(summary["reasons"], failed)


def duration(seconds: float) -> str:
    """For people: `40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    for unit, length, most in (("s", 1, 100), ("min", 60, 100), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.{1 if unit == 'h' else 0}f} {unit}"
    return f"{seconds / 86400:.1f} days"
