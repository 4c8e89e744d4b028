"""The runs of an output, and what failed in the last of them."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import shlex
from collections.abc import Iterator
from typing import Any

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, PairError
from nst_core.setting_text import parse_settings
from pipeline import storage
from pipeline.manifest.columns import ManifestError, Row
from pipeline.manifest.pairs import Pair, parse_pair
from pipeline.manifest.rows import read_rows
from pipeline.manifest.schemes import default_schemes, scheme_name
from pipeline.manifest.values import OPTION, OUTCOME
from pipeline.records.tasks import OK
from pipeline.report import settings
from pipeline.report.entries import Failure

# Failed rows that the pages show; failures.csv has all.
MOST_FAILURES = 20_000


@dataclasses.dataclass(frozen=True)
class Run:
    """One run that came to its end, by its summary."""

    name: str
    started_at: str
    finished_at: str
    statuses: dict[str, int]
    failures: str
    hours: float

    @property
    def done(self) -> int:
        """Pairs that it made."""
        return self.statuses.get(OK, 0)

    @property
    def failed(self) -> int:
        """Rows that failed."""
        left = {OK, "skipped", "postponed"}
        return sum(count for status, count in self.statuses.items() if status not in left)

    @property
    def pairs_per_hour(self) -> float | None:
        """How many it made in an hour, from its begin to its end; None where it made none."""
        return self.done / self.hours if self.done and self.hours > 0 else None


def runs_of(output: str) -> list[Run]:
    """The runs that have a summary, the last first."""
    folder = storage.join(output, "runs")
    found = []
    for uri in storage.list_uris(folder):
        if uri.endswith("/summary.json"):
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
                found.append(_run(uri, json.loads(storage.read_bytes(uri))))
    return sorted(found, key=lambda run: run.finished_at, reverse=True)


def _run(uri: str, summary: dict[str, Any]) -> Run:
    begin, end = (
        datetime.datetime.fromisoformat(summary[f"{name}_at"]) for name in ("started", "finished")
    )
    folder = storage.directory(uri)
    return Run(
        name=folder.rpartition("/")[2],
        started_at=summary["started_at"],
        finished_at=summary["finished_at"],
        statuses={str(name): int(count) for name, count in summary["statuses"].items()},
        failures=storage.join(folder, "failures.csv"),
        hours=max((end - begin).total_seconds(), 1) / 3600,
    )


def failures_of(run: Run) -> Iterator[Failure]:
    """The rows that failed in a run; ids are empty for those that never became a pair."""
    config = _config_of(run)
    with contextlib.suppress(ManifestError):
        for row in read_rows(run.failures):
            yield _failure(row, run, config)


def _failure(row: Row, run: Run, config: StyleConfig) -> Failure:
    columns = row.columns
    status, error = (str(columns.get(name) or "?") for name in OUTCOME)
    try:
        pair = parse_pair(row, run.failures)
    except PairError:
        named = {name: str(columns.get(name) or "") for name in ("content", "style")}
        return Failure("", status, error, named["content"], ({"uri": named["style"]},), {}, {})
    styles = tuple(style.to_dict() for style in pair.styles)
    cells = {
        **settings.other_cells({k: v for k, v in pair.row.items() if not k.startswith(OPTION)}),
        "id": pair.id,
        "style": settings.style_cell(styles),
        **_options(pair, config),
    }
    return Failure(pair.id, status, error, pair.content, styles, pair.columns, cells)


def _options(pair: Pair, config: StyleConfig) -> dict[str, str]:
    """All that the run and the row have set, as the row's own options."""
    try:
        changes = json.loads(config.updated(pair.options).changes())
    except ConfigError:
        changes = {**json.loads(config.changes()), **pair.options}
    return settings.option_cells(changes)


def _config_of(run: Run) -> StyleConfig:
    """What the run was told; the defaults where that cannot be read any more."""
    uri = config_uri(run)
    try:
        return StyleConfig().updated(parse_settings(storage.read_bytes(uri).decode(), uri))
    except (ConfigError, UnicodeDecodeError, *storage.ABOUT_ONE_FILE):
        return StyleConfig()


def config_uri(run: Run) -> str:
    """Where the run's configuration lies."""
    return storage.join(storage.directory(run.failures), "config.yaml")


def retry_command(run: Run, output: str, failures: list[Failure]) -> str:
    """The command that does again what failed in a run."""
    words = ["--manifest", run.failures, "--output", output, "--config", config_uri(run)]
    named = {scheme_name(uri["uri"]) for one in failures for uri in one.styles if one.id}
    named |= {scheme_name(one.content) for one in failures if one.id}
    usual = default_schemes(run.failures, output)
    if named - {*usual}:
        words += ["--allow-schemes", ",".join(sorted({*named, *usual}))]
    return shlex.join(["nst", "run", *words])
