"""What failed in the runs of an output, and was neither done nor tried again since."""

from __future__ import annotations

import functools
import itertools
import json
import logging
from collections.abc import Iterable, Iterator, Sequence

from nst_core.config import StyleConfig
from nst_core.errors import ConfigError, PairError
from nst_core.setting_text import parse_settings
from pipeline import storage
from pipeline.manifest.columns import Row
from pipeline.manifest.values import MARK_OF, OPTION, OUTCOME
from pipeline.pairs.parsing import Pair, parse_pair
from pipeline.pairs.schemes import default_schemes, scheme_name
from pipeline.report import settings
from pipeline.report.entries import Failure
from pipeline.report.runs import Run, last_tries, without_failure
from pipeline.runs import run_file
from pipeline.runs.reports import failed_id, failed_rows
from pipeline.runs.retry import Allowed, allowed_in, retry_command
from pipeline.runs.run_states import told_in

# Failed rows that the pages show; failures.csv has all.
MOST_FAILURES = 20_000
# Failed ids that are looked for at once in the results of later runs.
MOST_IDS = 200_000
_LOGGER = logging.getLogger(__name__)


def failures_of(runs: Sequence[Run], output: str) -> list[Failure]:
    """The rows that failed, with the last failure of each id; it is empty where none became a pair.

    Not those of a run that was tried again as a whole, nor those that a later run has found done.
    Whether a record has come since, who reads the records knows.

    Args:
        runs: all of the output, the last first.
    """
    found: list[Failure] = []
    failed: set[str] = set()
    tries = last_tries(runs)
    for start, end, ids in _spans(tries):
        asked, done = ids - failed, set[str]()
        for place, run in enumerate(tries[:end]):
            if place >= start:
                # Of the same id twice in a run, all.
                failures = [one for one in _failures_in(run) if one.id not in failed]
                found += (one for one in failures if one.id not in done)
                own = {one.id for one in failures} - {""}
                failed |= own
                asked -= own
                if len(found) > MOST_FAILURES:
                    _LOGGER.warning("The report shows %d failures of %s.", MOST_FAILURES, output)
                    return found[:MOST_FAILURES]
            if asked:
                now = without_failure(run, asked)
                done |= now
                asked -= now
    return found


def _spans(tries: Sequence[Run]) -> Iterator[tuple[int, int, set[str]]]:
    """The tries in spans, each from one place to another, with the ids that failed in it.

    Those of the last try of all are left out, which no later one can have done. Results are read
    once for a span: there is rarely more than one.
    """
    start, ids = 0, set[str]()
    for end, run in enumerate(tries, 1):
        if end > 1:
            ids |= {*map(failed_id, _rows_of(run))} - {""}
        if len(ids) > MOST_IDS or end == len(tries):
            yield start, end, ids
            start, ids = end, set()


def _failures_in(run: Run) -> Iterator[Failure]:
    if not run.failed:
        return
    config = _config_of(run)
    allowed = _allowed(run).settings
    for row in _rows_of(run):
        yield _failure(row, run, config, allowed)


def _rows_of(run: Run) -> Iterator[Row]:
    rows = failed_rows(run.failures) if run.failed else ()
    return itertools.islice(rows, MOST_FAILURES + 1)


def _failure(row: Row, run: Run, config: StyleConfig, allowed: Sequence[str] | None) -> Failure:
    columns = row.columns
    status, error = (str(columns.get(name) or "?") for name in OUTCOME)
    try:
        pair = parse_pair(row, run.failures)
    except PairError:
        content, style = (str(columns.get(name) or "") for name in ("content", "style"))
        named = ({"uri": style},)
        return Failure("", run.name, run.finished_at, status, error, content, named, {}, {})
    styles = tuple(style.to_dict() for style in pair.styles)
    # A mark of before is of no result that this failure is about.
    others = {k: v for k, v in pair.row.items() if not k.startswith(OPTION) and k != MARK_OF}
    cells = {
        **settings.other_cells(others),
        "id": pair.id,
        "style": settings.style_cell(styles),
        **_options(pair, config, allowed),
    }
    when = (run.name, run.finished_at)
    return Failure(pair.id, *when, status, error, pair.content, styles, pair.columns, cells)


def _options(pair: Pair, config: StyleConfig, allowed: Sequence[str] | None) -> dict[str, str]:
    """All that the run and the row have set, as the row's own options.

    Without what it may not set: that is not allowed by marking it.
    """
    own = {k: v for k, v in pair.options.items() if allowed is None or k in allowed}
    try:
        return _cells_of((config.updated(own) if own else config).changes())
    except ConfigError:
        return settings.option_cells({**json.loads(config.changes()), **own})


@functools.lru_cache(maxsize=1024)
def _cells_of(changes: str) -> dict[str, str]:
    """Most rows share theirs, and a preset has twenty."""
    return settings.option_cells(json.loads(changes))


def _config_of(run: Run) -> StyleConfig:
    """What the run was told; the defaults where that cannot be read any more."""
    uri = storage.join(storage.directory(run.failures), "config.yaml")
    try:
        return StyleConfig().updated(parse_settings(storage.read_bytes(uri).decode(), uri))
    except (ConfigError, UnicodeDecodeError, *storage.ABOUT_ONE_FILE):
        return StyleConfig()


def retry_commands(
    runs: Iterable[Run], output: str, failures: Sequence[Failure]
) -> Iterator[tuple[Run, str]]:
    """The runs, of these, that these failures are of, with the command that does them again."""
    for run in runs:
        if those := [one for one in failures if one.run == run.name]:
            yield run, _retry_command(run, output, those)


def _retry_command(run: Run, output: str, failures: Sequence[Failure]) -> str:
    # What the run was not allowed its retry is not either.
    allowed = _allowed(run)
    if allowed.schemes is None:
        named = {scheme_name(uri["uri"]) for one in failures for uri in one.styles if one.id}
        named |= {scheme_name(one.content) for one in failures if one.id}
        schemes = sorted({*named, *default_schemes(run.failures, output)})
        allowed = allowed._replace(schemes=schemes)
    return retry_command(run.failures, output, allowed)


def _allowed(run: Run) -> Allowed:
    return allowed_in(told_in(storage.directory(run.failures), run_file.NAME))
