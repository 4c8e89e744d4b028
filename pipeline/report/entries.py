"""One pair as the report's pages have it: from its record, or from the row that failed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nst_core.errors import shortened
from pipeline import storage
from pipeline.manifest.values import MARK, MARK_OF
from pipeline.records import marks, records
from pipeline.records.curves import curve_of_csv
from pipeline.records.tasks import OK
from pipeline.report import links, settings

NOTHING = math.nan
ERROR_SHOWN = 200  # characters in the grid; one pair in full has all
# What can be sorted by, besides dates and deviations; for all but `ssim`, less is better.
MEASURES = ("total", "content_loss", "style_loss", "ssim", "gram_error", "seconds")


@dataclasses.dataclass(frozen=True)
class Failure:
    """A row that failed: in which run, when that ended, how, and as cells that mean the same."""

    id: str
    run: str
    failed_at: str
    status: str
    error: str
    content: str
    styles: tuple[dict[str, Any], ...]
    columns: dict[str, Any]
    cells: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Entry:
    """One pair: `index` is loaded with the page, `detail` when somebody looks at it.

    `group`: equal for pairs whose losses can be compared. `about`: what the page's head counts.
    """

    id: str
    index: dict[str, Any]
    measures: dict[str, float]
    columns: dict[str, str]
    detail: dict[str, Any]
    group: str
    about: dict[str, str]


def of_record(
    record: Mapping[str, Any], pair_id: str, mark: str, output: str, failure: Failure | None
) -> Entry:
    """A pair that has a result.

    Args:
        record: as it was read, also of an earlier version.
        pair_id: of the record's name, and so is the fingerprint `mark`.
        failure: of a later try, if that has failed.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no record of this program.
    """
    changes = settings.changes_of(record["config"])
    sources = record["sources"]
    styles = list(sources["styles"])
    own = _thumbnails(record)
    image = f"images/{pair_id}.{records.image_extension(record)}"
    columns = {**(record.get("columns") or {})}
    cells = settings.other_cells(columns)
    detail = {
        **_sources(sources["content"], styles, output, own),
        "image": links.below(image),
        "losses": links.below(records.losses_uri("", pair_id)),
        "record": links.below(records.record_uri("", pair_id, mark)),
        **_moving(record, pair_id),
        "settings": changes,
        "terms": record["terms"],
        "quality": record.get("quality") or {},
        "curve": record.get("curve") or _curve(output, pair_id),
        "facts": _facts(record, mark),
        "columns": columns,
        "command": settings.stylize_command(pair_id, sources["content"], styles, changes),
        "row": {
            **_row(pair_id, sources["content"], styles, changes, cells),
            MARK_OF: marks.identity_of(record),
        },
        "error": failure.error if failure else None,
    }
    return Entry(
        id=pair_id,
        index={
            "content": sources["content"],
            "style": _label(styles),
            "run": str(record.get("run", "")),
            "preset": settings.preset_of(changes),
            "status": failure.status if failure else OK,
            "error": shortened(failure.error, ERROR_SHOWN) if failure else "",
            "extension": "" if own else records.image_extension(record),
            "content_image": _shown(detail["content"]),
            "style_image": _shown(detail["styles"][0]),
            "date": _epoch(record.get("finished_at")),
        },
        measures=measures_of(record),
        columns={name: cell for name, cell in cells.items() if name not in (MARK, MARK_OF)},
        detail=detail,
        group=group_of(styles, changes),
        about=_about(record),
    )


def of_failure(failure: Failure, output: str) -> Entry:
    """A pair that has none, since it failed."""
    detail = {
        **_sources(failure.content, failure.styles, output, {}),
        "columns": failure.columns,
        "row": failure.cells,
        "error": failure.error,
    }
    return Entry(
        id=failure.id,
        index={
            "content": failure.content,
            "style": _label(failure.styles),
            "run": failure.run,
            "preset": "",
            "status": failure.status,
            "error": shortened(failure.error, ERROR_SHOWN),
            "extension": "",
            "content_image": _shown(detail["content"]),
            "style_image": _shown(detail["styles"][0]),
            "date": 0,
        },
        measures=dict.fromkeys(MEASURES, NOTHING),
        columns=settings.other_cells(failure.columns),
        detail=detail,
        group="",
        about={},
    )


def measures_of(record: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a record by `MEASURES`, NaN where it has none.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no record of this program.
    """
    final, quality = record["terms"]["final"], record.get("quality") or {}
    errors = [float(value) for value in (quality.get("gram_errors") or {}).values()]
    return {
        "total": float(final["total"]),
        "content_loss": float(final["content"]),
        "style_loss": float(final["style"]),
        "ssim": float(quality.get("ssim", NOTHING)),
        "gram_error": sum(errors) / len(errors) if errors else NOTHING,
        "seconds": float((record.get("seconds") or {}).get("optimize", NOTHING)),
    }


def group_of(styles: Sequence[Mapping[str, Any]], changes: Mapping[str, Any]) -> str:
    """Equal for pairs whose losses can be compared: of the same styles and settings."""
    return json.dumps([_label(styles), changes], sort_keys=True)


def _thumbnails(record: Mapping[str, Any]) -> dict[str, Any]:
    found = record.get("thumbnails")
    return dict(found) if isinstance(found, Mapping) else {}


def _sources(
    content: str, styles: Sequence[Mapping[str, Any]], output: str, own: Mapping[str, Any]
) -> dict[str, Any]:
    """Content and styles, each with links to itself and to its thumbnail, where there are."""
    thumbnails = [*(own.get("styles") or ()), *[None] * len(styles)]
    return {
        "content": _source({"uri": content}, output, own.get("content")),
        "styles": [
            _source(style, output, thumbnail)
            for style, thumbnail in zip(styles, thumbnails, strict=False)
        ],
    }


def _source(named: Mapping[str, Any], output: str, thumbnail: Any) -> dict[str, Any]:
    return {
        **named,
        "link": links.source_link(named["uri"], output),
        "thumbnail": links.source_thumbnail(thumbnail),
    }


def _shown(source: Mapping[str, Any]) -> str:
    return source["thumbnail"] or source["link"] or ""


def _label(styles: Sequence[Mapping[str, Any]]) -> str:
    """The styles of a pair as one text, weights and masks left out."""
    return " + ".join(str(style["uri"]) for style in styles)


def _moving(record: Mapping[str, Any], pair_id: str) -> dict[str, Any]:
    """Links to snapshots, by their steps, and to the animation."""
    place = records.snapshot_place("", pair_id)
    names = [str(uri).rpartition("/")[2] for uri in record.get("snapshots") or ()]
    animation = record.get("animation")
    ending = str(animation).rpartition(".")[2]
    return {
        "snapshots": [
            {
                "step": name.partition(".")[0].lstrip("0"),
                "link": links.below(f"{place.folder}/{name}"),
            }
            for name in names
        ],
        "animation": links.below(f"{place.stem}.{ending}") if animation else None,
    }


def _curve(output: str, pair_id: str) -> dict[str, list[float]] | None:
    """From the loss log: records of earlier versions have none."""
    try:
        return curve_of_csv(storage.read_bytes(records.losses_uri(output, pair_id)))
    except storage.ABOUT_ONE_FILE:
        return None


def _facts(record: Mapping[str, Any], mark: str) -> dict[str, Any]:
    """What else there is to know, in the words of the record."""
    names = ("width", "height", "steps", "batch", "tile", "retried", "resumed_at_step")
    more = ("precision", "device", "seconds", "finished_at", "worker", "weights", "versions")
    found = {name: record.get(name) for name in (*names, *more)}
    return {"fingerprint": mark, **{name: one for name, one in found.items() if one is not None}}


def _about(record: Mapping[str, Any]) -> dict[str, str]:
    weights, versions = record.get("weights") or {}, record.get("versions") or {}
    return {
        "weights": str(weights.get("name", "?")),
        "device": str(record.get("device", "?")),
        "precision": str(record.get("precision", "?")),
        "versions": ", ".join(
            f"{name} {versions[name]}"
            for name in ("engine", "nst-catalog", "tensorflow")
            if name in versions
        ),
    }


def _row(
    pair_id: str,
    content: str,
    styles: Sequence[Mapping[str, Any]],
    changes: Mapping[str, Any],
    cells: Mapping[str, str],
) -> dict[str, str]:
    """The row of a manifest that makes this picture, whatever the run's own settings were."""
    first = {"id": pair_id, "content": content, "style": settings.style_cell(styles)}
    return {**cells, **first, **settings.option_cells(changes)}


def _epoch(text: Any) -> int:
    """Seconds since 1970; 0 for what is no date."""
    time = records.parse_time(text)
    return round(time.timestamp()) if time else 0
