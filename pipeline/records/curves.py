"""Loss curves in few points: what a record keeps of a loss log, for whoever draws it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

MOST_POINTS = 40
TERMS = ("total", "content", "style", "tv")

Curve = dict[str, list[float]]


def curve_of(columns: Sequence[str], rows: Sequence[Sequence[float]]) -> Curve:
    """Steps and weighted terms of at most `MOST_POINTS` rows, the first and the last among them.

    Args:
        columns: of the loss log: `step` and the terms are among them.
        rows: of the loss log, at least one.
    """
    places = {name: columns.index(name) for name in ("step", *TERMS)}
    last, most = len(rows) - 1, min(MOST_POINTS, len(rows))
    chosen = [rows[round(last * index / max(1, most - 1))] for index in range(most)]
    found: Curve = {"step": [int(row[places["step"]]) for row in chosen]}
    for term in TERMS:
        found[term] = [float(f"{row[places[term]]:.4g}") for row in chosen]
    return found


def curve_of_csv(data: bytes) -> Curve | None:
    """The curve of a loss log as it lies in an output; None where it is none."""
    try:
        columns, *lines = csv.reader(io.StringIO(data.decode()))
        return curve_of(columns, [[float(cell) for cell in line] for line in lines])
    except (ValueError, IndexError, csv.Error):
        return None
