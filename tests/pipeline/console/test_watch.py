"""For a person watching: counts, the bar in a terminal, lines elsewhere, the closing table."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.results import Compiling, Progress
from pipeline import storage
from pipeline.__main__ import main
from pipeline.commands import run
from pipeline.commands.endings import LiveRun
from pipeline.console import events, logs, watch
from pipeline.console.events import (
    CatalogPlanned,
    Compilation,
    PairBegun,
    PairEnded,
    PairsPlanned,
    PairsWaiting,
    Steps,
)
from pipeline.console.pulse import Pace, Pulse
from pipeline.console.verdict import duration
from pipeline.console.watch import Tracker, watching
from pipeline.job.options import RunOptions
from pipeline.records.tasks import Outcome, RowNumber
from pipeline.runners.shutdown import Ending
from pipeline.runs.reasons import reason_line
from pipeline.runs.reports import Place
from pipeline.runs.run_file import About, RunFile

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


END = b"<end of the test>"


class Terminal:
    """A pseudo-terminal that stands for stderr."""

    def __init__(self) -> None:
        self._master, slave = os.openpty()
        self.stream = os.fdopen(slave, "w", encoding="utf-8")
        self._received = b""
        # A terminal that nobody reads blocks its writer.
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while not self._received.endswith(END):
            self._received += os.read(self._master, 65536)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Stand for stderr in this block; pytest's own stands there when a test begins."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "stderr", self.stream)
            yield

    def text(self) -> str:
        """What was shown, to its end; the terminal is then closed."""
        self.stream.write(END.decode())
        self.stream.flush()
        self._reader.join(timeout=30)
        self.stream.close()
        os.close(self._master)
        return self._received.removesuffix(END).decode()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 160 columns."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    return Terminal()


@pytest.fixture(autouse=True)
def nobody_listens() -> Iterator[None]:
    """After a test nobody listens any more."""
    yield
    events.listen(None)


def tracker_of(*events: Any) -> Tracker:
    """A tracker that has taken these events."""
    tracker = Tracker()
    for event in events:
        tracker.take(event)
    return tracker


PLANNED = [PairsPlanned(4)]


def ended(status: str, *, was_planned: bool) -> PairEnded:
    """The end of a pair."""
    number = RowNumber("/pairs.csv", 1)
    outcome = Outcome(number, "a", status, None, {}, {}, {})
    return PairEnded(outcome, was_planned, was_begun=was_planned)


SKIPPED = ended("skipped", was_planned=False)
DONE = ended("ok", was_planned=True)
DIVERGED = ended("diverged", was_planned=True)
UNPLANNED = ended("input_not_found", was_planned=False)
STEPS = Steps("town--wave", Progress(30, 120, 0.5, (2.0, 4.0)))
COMPILATION = Compilation(Compiling(Size(512, 384), 2))


def test_pairs_are_counted_by_how_they_ended() -> None:
    tracker = tracker_of(*PLANNED, SKIPPED, SKIPPED, DONE, DIVERGED, UNPLANNED)
    assert (tracker.done, tracker.failed, tracker.skipped, tracker.left) == (1, 2, 2, 2)
    assert tracker.counts() == "1 done, 2 failed, 2 skipped, 2 left"


def test_pairs_that_wait_for_others_are_left_too() -> None:
    tracker = tracker_of(PairsWaiting(9), *PLANNED, PairsWaiting(5), DONE)
    assert tracker.counts() == "1 done, 0 failed, 0 skipped, 8 left"
    tracker.started -= 120
    assert tracker.estimate() == "about 16 min left"


def test_pairs_that_go_to_work_count_once() -> None:
    tracker = tracker_of(PairsWaiting(9), *PLANNED, DONE)
    assert tracker.left == 8
    tracker.take(ended("input_not_found", was_planned=True))
    assert tracker.left == 7


def test_of_pairs_that_beam_plans_one_after_another_all_that_were_foreseen_are_left(
    catalog: Catalog,
) -> None:
    tracker = Tracker(Place(catalog.uri("out"), "r", 1))
    for event in (CatalogPlanned(9, 7), *PLANNED, DONE, DIVERGED):
        tracker.take(event)
    assert tracker.left == 5
    # More than were foreseen are done, since their images have changed.
    tracker.take(PairsPlanned(5))
    assert tracker.left == 7


def test_the_time_left_is_not_estimated_by_pairs_that_could_not_be_begun() -> None:
    number = RowNumber("/pairs.csv", 2)
    missing = PairEnded(Outcome(number, "b", "input_not_found", "", {}, {}, {}), True)
    tracker = tracker_of(*PLANNED, missing)
    tracker.started -= 120
    assert (tracker.left, tracker.estimate()) == (3, "")
    tracker.take(DONE)
    assert tracker.estimate() == "about 4 min left"


def test_counts_are_those_of_one_moment_while_other_pairs_end() -> None:
    tracker = tracker_of(*PLANNED, DONE, DIVERGED)
    statuses = iter(tracker.statuses.items())
    assert next(statuses) == ("ok", 1)
    tracker.take(ended("input_not_found", was_planned=True))
    assert next(statuses) == ("diverged", 1)


def test_a_line_names_the_current_pair_its_step_and_its_loss() -> None:
    assert tracker_of(*PLANNED, STEPS).line() == (
        "0 done, 0 failed, 0 skipped, 4 left; town--wave step 30/120 loss 3"
    )


def test_the_bar_moves_with_the_steps_and_never_back() -> None:
    tracker = tracker_of(PairsPlanned(4))
    seen = [tracker.advance]
    for step in (1, 60, 120):
        tracker.take(Steps("town--wave", Progress(step, 120, 0.5, (2.0, 4.0))))
        seen.append(tracker.advance)
    assert seen == [0, 2 / 120, 1, 2]
    # A pair ends, and the second try of another begins anew.
    tracker.take(DONE)
    tracker.take(Steps("a", Progress(60, 120, 0.5, (2.0,))))
    seen.append(tracker.advance)
    tracker.take(Steps("a", Progress(1, 120, 0.5, (2.0,))))
    seen.append(tracker.advance)
    assert seen == sorted(seen)
    assert tracker.advance <= 4


def test_the_time_left_is_estimated_once_a_pair_has_ended() -> None:
    assert tracker_of(*PLANNED, SKIPPED, UNPLANNED).estimate() == ""
    tracker = tracker_of(*PLANNED, DONE)
    tracker.started -= 120
    assert "1 done, 0 failed, 0 skipped, 3 left; about 6 min left" in tracker.line()
    assert tracker_of(PairsPlanned(1), DONE).estimate() == ""


def test_the_time_left_is_not_that_of_looking_through_what_is_done_already() -> None:
    tracker = tracker_of(PairsWaiting(4), SKIPPED)
    tracker.started -= 7200
    tracker.last_end -= 7200
    tracker.take(PairsPlanned(4))
    tracker.take(DONE)
    tracker.started -= 120
    assert tracker.estimate() == "about 6 min left"


def test_the_pace_begins_with_the_work_not_with_looking_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [0.0]
    monkeypatch.setattr("pipeline.console.pulse.Pace", lambda: Pace(lambda: clock[0]))
    pulse, tracker = Pulse(), tracker_of(PairsPlanned(4), DONE)
    clock[0] = 540.0
    pulse.take(PairBegun("a"))
    clock[0] = 600.0
    pulse.take(PairBegun("b"))
    # One in a minute.
    assert pulse.counts(tracker)["pairs_per_hour"] == 60.0


def test_the_time_left_runs_down_while_a_batch_is_in_work() -> None:
    tracker = tracker_of(*PLANNED, *PLANNED, DONE, DONE)
    tracker.started -= 300 + 120
    tracker.last_end -= 300
    # Six pairs of a minute each, of which five minutes have passed.
    assert tracker.estimate() == "about 60 s left"
    tracker.started -= 600
    tracker.last_end -= 600
    assert tracker.estimate() == ""


def test_events_of_nobody_s_interest_are_dropped() -> None:
    events.listen(None)
    events.emit(DONE)


def test_without_a_terminal_there_is_a_line_every_so_often(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], catalog: Catalog
) -> None:
    elsewhere = Place(catalog.uri("out"), "r", 1)
    with watching(verbose=False, elsewhere=elsewhere):
        events.emit(STEPS)
    assert capsys.readouterr().err == ""
    with watching(verbose=False, elsewhere=elsewhere):
        monkeypatch.setattr(watch, "SECONDS_PER_LINE", 0.0)
        events.emit(PairsPlanned(1))
        events.emit(STEPS)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert "1 left; town--wave step 30/120 loss 3" in lines[1]
    assert "\x1b" not in lines[1]


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_compilation_is_told_when_it_begins(
    log_format: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(verbose=False, elsewhere=None, log_format=log_format):
        events.emit(PairsPlanned(1))
        events.emit(COMPILATION)
        events.emit(STEPS)
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)["message"] if log_format == "json" else line
    assert said.endswith("0 done, 0 failed, 0 skipped, 1 left; compiling 512x384 (2 programs)")


def test_the_bar_says_what_is_compiled(terminal: Terminal) -> None:
    with terminal.shown(), watching(verbose=False, elsewhere=None):
        for event in (*PLANNED, COMPILATION):
            events.emit(event)
    shown = terminal.text()
    assert "compiling 512x384 (2 programs)" in shown
    assert "INFO" not in shown


def test_pairs_that_other_processes_do_are_counted_by_their_records(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], catalog: Catalog
) -> None:
    monkeypatch.setattr(watch, "SECONDS_PER_LINE", 0.05)
    catalog.write("out/records/old.json", b"{}")
    with watching(verbose=False, elsewhere=Place(catalog.uri("out"), "r", 1)):
        waited_until(lambda: "0 done, 0 failed in other" in capsys.readouterr().err)
        for name in ("a", "b"):
            catalog.write(f"out/records/{name}.json", b"{}")
        waited_until(lambda: "2 done, 0 failed in other" in capsys.readouterr().err)
        events.emit(PairsPlanned(1))
        waited_until(lambda: events.emit(STEPS) or "1 left" in capsys.readouterr().err)


def test_a_count_that_fails_is_not_the_last(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], catalog: Catalog
) -> None:
    monkeypatch.setattr(watch, "SECONDS_PER_LINE", 0.01)
    list_uris, failed = storage.list_uris, list[str]()

    def list_badly(uri: str) -> Iterator[str]:
        if len(failed) < 3:
            failed.append(uri)
            raise storage.StorageError(f"{uri} cannot be listed.")
        return list_uris(uri)

    with watching(verbose=False, elsewhere=Place(catalog.uri("out"), "r", 1)):
        waited_until(lambda: "0 done, 0 failed in other" in capsys.readouterr().err)
        monkeypatch.setattr(storage, "list_uris", list_badly)
        waited_until(lambda: len(failed) == 3)
        catalog.write("out/records/a.json", b"{}")
        waited_until(lambda: "1 done, 0 failed in other" in capsys.readouterr().err)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(40, "40 s"), (600, "10 min"), (9000, "2.5 h"), (864000, "10.0 days")],
)
def test_times_are_in_the_unit_that_people_would_choose(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def waited_until(happened: Callable[[], bool]) -> None:
    """Returns once it has happened; fails after half a minute."""
    for _ in range(600):
        if happened():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def test_in_a_terminal_there_is_a_bar(terminal: Terminal, catalog: Catalog) -> None:
    elsewhere = Place(catalog.uri("out"), "r", 1)
    with terminal.shown(), watching(verbose=False, elsewhere=elsewhere) as tracker:
        events.emit(*PLANNED)
        tracker.started -= 120
        for event in (DONE, DIVERGED, STEPS):
            events.emit(event)
    shown = terminal.text()
    # However close together the pairs of a batch end.
    assert "about 2 min left" in shown
    assert "1 done, 1 failed, 0 skipped, 2 left" in shown
    assert "town--wave step 30/120 loss 3" in shown
    # Two pairs, and a quarter of the two in work.
    assert "62%" in shown
    assert "━" in shown


def test_a_run_in_a_terminal_shows_the_bar_and_takes_it_away(
    catalog: Catalog, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs()
    with terminal.shown():
        assert catalog.run() == 0
    shown = terminal.text()
    assert "2 done, 0 failed, 0 skipped, 0 left" in shown
    assert "step 2/2" in shown
    # The last thing is that the line of the bar is erased and the cursor comes back.
    assert shown.endswith(("\x1b[2K", "\x1b[?25h"))
    assert "\x1b[?25h" in shown
    assert "Images:" in capsys.readouterr().out


def test_a_run_elsewhere_writes_lines(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(watch, "SECONDS_PER_LINE", 0.001)
    catalog.pairs()
    assert catalog.run() == 0
    lines = capsys.readouterr().err.splitlines()
    assert "done, 0 failed, 0 skipped" in lines[-1]
    assert any("step 2/2 loss" in line for line in lines)


def test_verbose_logs_every_pair(catalog: Catalog, capsys: pytest.CaptureFixture[str]) -> None:
    catalog.pairs()
    assert catalog.run("--verbose") == 0
    said = capsys.readouterr().err
    assert "a: ok" in said
    assert "b: ok" in said


def test_logging_is_as_it_was_afterwards(catalog: Catalog) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    with watching(verbose=True, elsewhere=Place(catalog.uri("out"), "r", 1)):
        assert root.level == logging.INFO
    assert (root.level, list(root.handlers)) == before


def test_the_closing_table_counts_every_status_and_tells_how_to_retry(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs()
    os.remove(catalog.uri("b.png"))
    assert catalog.run() == 3
    said = capsys.readouterr().out
    for status, count in (("ok", 1), ("input_not_found", 1), ("all", 2)):
        assert any(line.split("│")[1:3] == [f" {status} ", f" {count} "] for line in plain(said))
    assert f"Images: {catalog.uri('out/images')}" in said
    (command,) = (line for line in said.splitlines() if "nst run" in line)
    retry = command.partition("nst ")[2].split()
    assert catalog.uri(f"{catalog.run_folder}/failures.csv") in retry

    catalog.picture("b.png")
    before = catalog.names("out/runs")
    assert main(retry) == 0
    catalog.note_run(before)
    assert catalog.statuses() == ["ok"]
    assert catalog.records()["a"]["config"] == catalog.records()["b"]["config"]


def test_names_that_look_like_markup_are_shown_as_they_are(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs()
    os.remove(catalog.uri("b.png"))
    output = catalog.uri("out[final] [/x] :smile:")
    assert catalog.run("--output", output, "--run-id=first") == 3
    said = capsys.readouterr().out.splitlines()
    assert f"Images: {output}/images" in said
    assert any(f"{output}/runs/first/failures.csv" in line for line in said)


def plain(table: str) -> list[str]:
    """The rows of a table, their cells with one space on either side."""
    cells = [[" ".join(c.split()) for c in line.split("│")] for line in table.splitlines()]
    return ["│".join(f" {cell} " for cell in row) for row in cells]


def test_a_run_without_failures_speaks_of_no_retry(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run() == 0
    assert "retry" not in capsys.readouterr().out


def test_runs_of_one_second_have_different_names() -> None:
    names = {run.new_run_name() for _ in range(20)}
    assert len(names) == 20
    assert all(len(name) == len("20260101T000000Z-abcd") for name in names)


def live_run(options: RunOptions, tracker: Tracker, name: str) -> LiveRun:
    """A run that can be stopped; its run.json was not begun."""
    place = Place(options.output, name, 1)
    about = About("nst run", options.manifest, options.schemes, None, "2026-01-01T00:00:00+00:00")
    return LiveRun(options, place, tracker, RunFile(place, about, dict))


STOPPED = Ending("Stopped by SIGTERM.", 143)


def test_a_run_that_is_stopped_asks_its_runner_to_stop_and_counts_what_was_done(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[str] = []

    class Result:
        def cancel(self) -> None:
            stopped.append("the runner's job")
            raise NotImplementedError

    # Killing every process of this one would hit the tests' own.
    kill = "pipeline.processes.kill_descendants"
    monkeypatch.setattr(kill, lambda: stopped.append("processes of this machine"))
    options = RunOptions(catalog.uri("pairs.csv"), catalog.uri("out"), StyleConfig())
    tracker = tracker_of(*PLANNED, SKIPPED, DONE, DIVERGED)
    live = live_run(options, tracker, "20260101T000000Z-abcd")
    live.result = Result()
    live.stop(STOPPED)
    assert stopped == ["the runner's job", "processes of this machine"]
    said = capsys.readouterr().out
    assert "Run 20260101T000000Z-abcd, stopped" in said
    rows = [line.split("│")[1:3] for line in plain(said) if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["diverged", "1"],
        ["ok", "1"],
        ["skipped", "1"],
        ["so far", "3"],
    ]


def test_what_workers_in_other_processes_did_is_counted_once_more_at_the_stop(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("pipeline.processes.kill_descendants", lambda: None)
    options = RunOptions(catalog.uri("pairs.csv"), catalog.uri("out"), StyleConfig())
    tracker = Tracker(Place(catalog.uri("out"), "r", 1))
    catalog.write("out/records/old.json", b"{}")
    tracker.count_records()
    for name in ("a", "b"):
        catalog.write(f"out/records/{name}.json", b"{}")
    live_run(options, tracker, "r").stop(STOPPED)
    assert any(line.split("│")[1:3] == [" ok ", " 2 "] for line in plain(capsys.readouterr().out))


FORGED = "no\x1b]0;mine\x07.jpg\r\n2026-01-01 00:00:00,000 Run r ended: 9 ok\u202e"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_rows_name_neither_steers_a_terminal_nor_passes_for_a_line_of_the_log(
    log_format: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with watching(verbose=True, elsewhere=None, log_format=log_format):
        logging.getLogger("pipeline.worker").warning("%s is damaged.", FORGED)
        try:
            raise ValueError(FORGED)
        except ValueError as error:
            logging.getLogger("pipeline.worker").error("Unforeseen.", exc_info=error)
    logs.say_last(FORGED, as_json=log_format == "json")
    said = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\r", "\u202e"} & {*said}
    assert not any(line.startswith("2026-01-01") for line in said.splitlines())
    assert "Run r ended: 9 ok" in said
    if log_format == "json":
        for line in said.splitlines():
            assert FORGED in json.loads(line)["message"]


def test_a_terminal_obeys_no_line_of_the_log_above_the_bar(terminal: Terminal) -> None:
    with terminal.shown(), watching(verbose=False, elsewhere=None):
        logging.getLogger("pipeline.worker").warning("%s is damaged.", FORGED)
    said = terminal.text()
    assert "\x1b]0;mine" not in said
    assert "u001b" in said


def test_a_reason_of_an_earlier_version_steers_no_terminal() -> None:
    said = reason_line({"count": 1, "status": "internal", "id": "a", "example": FORGED})
    assert r"no\u001b]0;mine\u0007.jpg" in said
    assert "\x1b" not in said


def test_a_warning_of_a_command_without_a_log_steers_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    monkeypatch.setattr(logging.getLogger("nst"), "propagate", False)
    capsys.readouterr()
    logging.getLogger("nst").warning("%s is damaged.", FORGED)
    said = capsys.readouterr().err
    assert r"no\u001b]0;mine\u0007.jpg\u000d" in said
    assert "\x1b" not in said
    assert not any(line.startswith("2026") for line in said.splitlines())
