"""`nst status`: what has become of the runs of an output, and what to do next."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import itertools
import json
import os
import shlex
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from nst_core.errors import ConfigError
from pipeline import storage
from pipeline.console.verdict import duration
from pipeline.manifest.reading import STANDARD_INPUT
from pipeline.records import records
from pipeline.runs import run_states
from pipeline.runs.catalog_state import CatalogState, catalog_of
from pipeline.runs.reasons import reason_line
from pipeline.runs.retry import allowed_in, retry_command
from pipeline.runs.run_states import ACTIVE, ENDED_EARLY, RunState

EXIT_ALL_DONE = 0
EXIT_SOME_FAILED = 3
EXIT_RUNNING = 5
EXIT_ENDED_EARLY = 6
EXIT_INTERRUPTED = 130

WATCH_SECONDS = 5.0
# Those before are in --json.
MOST_RUNS = 10
# What is said besides them, with room for sentences that need several lines.
LINES_BESIDE_RUNS = 14
_WIDE = 10_000
# Columns that a narrow terminal does without, these first.
DROPPED = ("heard", "skipped", "pairs/h", "to go")
_COLORS = {"running": "cyan", "launched": "cyan", "finished": "green"}


@dataclasses.dataclass(frozen=True)
class Found:
    """What there is to say of an output at one moment.

    `catalog`: None where one run was asked for. `records`: how many there are, if they were
    counted. `next`: the command to give next, None where there is nothing to do.
    """

    output: str
    now: datetime.datetime
    runs: list[RunState]
    catalog: CatalogState | None
    records: int | None
    next: str | None
    exit_status: int


def status(
    output: str,
    *,
    run: str | None = None,
    watch: bool = False,
    as_json: bool = False,
    count: bool = False,
) -> int:
    """Say what has become of the runs, or of one; the exit status.

    Args:
        output: URI of the output folder.
        watch: again every few seconds, until nothing runs any more.
        count: count the records too: on `gs://` a listing of all.

    Raises:
        ConfigError: there are no runs, or none of this name.
        StorageError: their files cannot be listed or read.
    """
    try:
        found = look(output, run, count=count)
        if not watch:
            _print(found, as_json=as_json)
            return found.exit_status
        console = Console()
        if as_json or not console.is_terminal or console.is_dumb_terminal:
            return _watch_lines(found, run, count=count, as_json=as_json)
        return _watch_screen(found, run, console, count=count)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def look(output: str, run: str | None, *, count: bool) -> Found:
    """Look once; arguments and errors as of `status`."""
    now = datetime.datetime.now(datetime.UTC)
    runs = run_states.read_runs(output, now, run)
    if not runs:
        raise ConfigError(_nothing(output, run, now))
    catalog = None if run else catalog_of(runs)
    heads = catalog.heads if catalog else tuple(runs)
    number = None
    if count:
        number = sum(1 for _ in storage.list_uris(storage.join(output, "records")))
    following = next_command(output, runs, heads, catalog)
    return Found(output, now, runs, catalog, number, following, _exit_status(runs, heads, catalog))


def _nothing(output: str, run: str | None, now: datetime.datetime) -> str:
    if run is None:
        return f"{output} has no runs; give the folder that nst run --output names."
    names = [one.run for one in run_states.read_runs(output, now)]
    near = difflib.get_close_matches(run, names, 1, 0.0) or ["none at all"]
    return f"{output} has no run {run!r}; the nearest is {near[0]}."


def _exit_status(
    runs: list[RunState], heads: tuple[RunState, ...], catalog: CatalogState | None
) -> int:
    if _may_be_at_work(runs, heads):
        return EXIT_RUNNING
    if any(run.state in ENDED_EARLY for run in heads):
        return EXIT_ENDED_EARLY
    if _count("failed", heads, catalog):
        return EXIT_SOME_FAILED
    return EXIT_ENDED_EARLY if _count("postponed", heads, catalog) else EXIT_ALL_DONE


def _may_be_at_work(runs: list[RunState], heads: tuple[RunState, ...]) -> bool:
    """Whether a run goes on: of a launched one nothing more is heard where its job has failed.

    So it counts until another of its manifest begins.
    """
    last = {run.run for run in heads}
    return any(run.state in ACTIVE and (run.state == "running" or run.run in last) for run in runs)


def _count(name: str, heads: tuple[RunState, ...], catalog: CatalogState | None) -> int:
    counts = [vars(catalog)[name]] if catalog else [run.counts[name] or 0 for run in heads]
    return sum(counts)


def next_command(
    output: str,
    runs: list[RunState],
    heads: tuple[RunState, ...],
    catalog: CatalogState | None,
) -> str | None:
    """The command to give next: watch, go on, or retry what has failed; None: nothing is left."""
    if _may_be_at_work(runs, heads):
        return shlex.join(["nst", "status", output, "--watch"])
    latest = list(reversed(heads))
    for run in latest:
        if run.state in ENDED_EARLY and (command := run.command):
            return _from_its_folder(run, command)
    failed = [run for run in latest if run.counts["failed"]]
    if to_retry := failed if catalog is None else catalog.to_retry:
        failures = storage.join(output, "runs", to_retry[0].run, "failures.csv")
        return retry_command(failures, output, allowed_in(to_retry[0].told))
    for run in latest:
        if run.counts["postponed"] and (command := run.command):
            return _from_its_folder(run, command)
    return None


def _from_its_folder(run: RunState, command: str) -> str:
    """The command as it was given, from where it was: its names can be relative."""
    words = shlex.split(command)
    if _gives(words, "--on-existing", "error"):
        # What this run has done is there.
        command = f"{command} --on-existing skip"
    manifest = run.told.get("manifest")
    kept = manifest.get("rows") if isinstance(manifest, dict) else None
    if isinstance(kept, str) and _gives(words, "--manifest", STANDARD_INPUT):
        # What was piped into it, the run has kept.
        rows = shlex.quote(kept)
        forms = {"": f"{command} < {rows}", "gs": f"gcloud storage cat {rows} | {command}"}
        command = forms.get(storage.scheme(kept), f"{command}  # its standard input: {rows}")
    folder = run.whole("directory")
    is_local = not storage.scheme(run.manifest) or not storage.scheme(run.whole("output") or "")
    if folder and is_local and folder != os.getcwd():
        command = f"cd {shlex.quote(folder)} && {command}"
    if _gives(words, "--on-existing", "redo"):
        command = f"{command}  # begins with the first pair again"
    return command


def _gives(words: Sequence[str], option: str, value: str) -> bool:
    """Whether a command line gives an option this value."""
    return f"{option}={value}" in words or (option, value) in itertools.pairwise(words)


def _watch_screen(found: Found, run: str | None, console: Console, *, count: bool) -> int:
    """On a screen of its own, which is as it was before at the end; what was last seen stays."""
    try:
        with Live(auto_refresh=False, console=console, screen=True) as screen:
            while found.exit_status == EXIT_RUNNING:
                screen.update(_watched(found, console), refresh=True)
                time.sleep(WATCH_SECONDS)
                found = look(found.output, run, count=count)
    finally:
        _print(found, as_json=False)
    return found.exit_status


def _watched(found: Found, console: Console) -> RenderableType:
    """As much as a terminal holds: runs before the last ones are left out first."""
    most = min(MOST_RUNS, max(1, console.height - LINES_BESIDE_RUNS))
    keys = Text(
        "Every few seconds, until nothing runs any more; Ctrl-C ends watching, not the run."
    )
    return Group(*_state(found, most, console.width), keys)


def _watch_lines(found: Found, run: str | None, *, count: bool, as_json: bool) -> int:
    """Where there is no terminal: again whenever a run has told something new."""
    _print(found, as_json=as_json)
    while found.exit_status == EXIT_RUNNING:
        time.sleep(WATCH_SECONDS)
        before, found = found.runs, look(found.output, run, count=count)
        if found.runs != before:
            _print(found, as_json=as_json)
    return found.exit_status


def _print(found: Found, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(to_json(found), ensure_ascii=False), flush=True)
    else:
        # Lines that are longer than the terminal are to be copied whole.
        here = Console()
        width = here.width if here.is_terminal else _WIDE
        Console(width=_WIDE).print(_shown(found, width), crop=False)


def to_json(found: Found) -> dict[str, Any]:
    """All there is to say, with the runs' own files."""
    catalog = None
    if found.catalog:
        runs = {name: vars(found.catalog)[name] for name in ("heads", "to_retry")}
        names = {name: [run.run for run in several] for name, several in runs.items()}
        catalog = {**vars(found.catalog), **names}
    return {
        "output": found.output,
        "at": found.now.isoformat(timespec="seconds"),
        "runs": [
            {
                **run.told,
                "run": run.run,
                "state": run.state,
                **run.counts,
                "seconds_to_go": run.seconds_to_go(found.now),
                "seconds_since_heard": _since(found.now, run.heard_at),
            }
            for run in found.runs
        ],
        "catalog": catalog,
        "records": found.records,
        "next": found.next,
        "exit_status": found.exit_status,
    }


def _since(now: datetime.datetime, then: datetime.datetime | None) -> float | None:
    return None if then is None else round(max(0.0, (now - then).total_seconds()), 1)


def _shown(found: Found, width: int) -> RenderableType:
    following = f"Next: {found.next}" if found.next else "Nothing is left to do."
    if not found.next and found.exit_status != EXIT_ALL_DONE:
        following = "What is next cannot be told: no run.json has the command that began its run."
    return Group(*_state(found, MOST_RUNS, width), Text(following))


def _state(found: Found, most_runs: int, width: int) -> Iterator[RenderableType]:
    runs = found.runs[-most_runs:]
    yield _table(runs, found.now, width)
    lines = [text for run in runs[-1:] for text in _details(run, found.now)]
    if found.catalog:
        lines.append(_catalog_line(found.catalog))
    if found.records is not None:
        lines.append(f"Records: {found.records}")
    if len(found.runs) > len(runs):
        lines.append(f"{len(found.runs) - len(runs)} earlier runs are in --json.")
    yield from map(Text, lines)


def _table(runs: list[RunState], now: datetime.datetime, width: int) -> Table:
    """One line for each run; where a terminal is narrow, with fewer columns."""
    rows = [_cells(run, now) for run in runs]
    names = list(rows[-1])
    for name in DROPPED:
        widths = (max(len(name), *(row[name].cell_len for row in rows)) for name in names)
        if sum(widths) + 2 * (len(names) - 1) <= width:
            break
        names.remove(name)
    table = Table(box=None, pad_edge=False)
    for name in names:
        is_text = name in ("run", "state")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=name != "run")
    for row in rows:
        table.add_row(*(row[name] for name in names))
    return table


def _cells(run: RunState, now: datetime.datetime) -> dict[str, Text]:
    pace, to_go = run.pairs_per_hour, run.seconds_to_go(now)
    heard = _since(now, run.heard_at)
    counts = {name: run.counts[name] for name in ("done", "failed", "skipped", "left")}
    return {
        "run": Text(run.run, overflow="fold"),
        "state": Text(run.state, style=_COLORS.get(run.state, "red")),
        **{name: Text("?" if one is None else str(one)) for name, one in counts.items()},
        "pairs/h": Text("" if pace is None else f"{pace:.3g}" if pace < 100 else f"{pace:.0f}"),
        "to go": Text("" if to_go is None else duration(to_go)),
        "heard": Text("" if heard is None else f"{duration(heard)} ago"),
    }


def _details(run: RunState, now: datetime.datetime) -> Iterator[str]:
    """What there is to know of the last run besides its counts."""
    where = ", process ".join(str(run.told[name]) for name in ("host", "pid") if name in run.told)
    runner = f", {run.text('runner')}" if run.text("runner") else ""
    yield f"{run.run}: {run.state}{f' ({where}{runner})' if where else ''}"
    if run.state == "died":
        heard = f"at {run.heard_at:%Y-%m-%d %H:%M:%S} UTC" if run.heard_at else "never"
        yield f"Last heard {heard}: its process was killed, or cannot reach the output."
    if sentence := run.text("sentence"):
        yield f"It says: {sentence}"
    job = run.told.get("job")
    if isinstance(job, dict):
        yield f"Job: {job.get('console') or job.get('id')}"
        if run.state == "died":
            yield "It may go on without that process: let it end or cancel it before the next run."
    oldest = run.told.get("oldest")
    if run.state in ("running", "died") and isinstance(oldest, dict):
        since = records.parse_time(oldest.get("since"))
        ago = f", {duration(_since(now, since) or 0)}" if since and run.state == "running" else ""
        yield f"Longest in work: {oldest.get('id')}{ago}"
    reasons = run.told.get("reasons")
    for reason in reasons if isinstance(reasons, list) else ():
        if isinstance(reason, dict):
            yield f"  {reason_line(reason)}"


def _catalog_line(catalog: CatalogState) -> str:
    manifests = "1 manifest" if catalog.manifests == 1 else f"{catalog.manifests} manifests"
    later = f", {catalog.postponed} postponed" if catalog.postponed else ""
    if not catalog.pairs and any(run.counts["pairs"] is None for run in catalog.heads):
        return f"Catalog over all runs: its pairs are not counted yet ({manifests})"
    return (
        f"Catalog over all runs: {catalog.done} of {catalog.pairs} pairs done, "
        f"{catalog.failed} failed, {catalog.left} left{later} ({manifests})"
    )
