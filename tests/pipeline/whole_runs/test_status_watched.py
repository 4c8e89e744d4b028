"""`nst status --watch` in a terminal: it ends with the run, and leaves the terminal as it was."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pipeline.records import records

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

SCRIPT = (
    "import sys; from pipeline.__main__ import main; from pipeline.commands import status; "
    "status.WATCH_SECONDS = 0.1; sys.exit(main(['status', *sys.argv[1:], '--watch']))"
)
ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
PATIENCE = 60.0


class Watching:
    """The command in a terminal of its own, and all that it has written there."""

    def __init__(self, output: str, columns: int, term: str) -> None:
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        usual = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, output],
            env={**usual, "PYTHONPATH": os.getcwd(), "TERM": term},
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)
        self.said = ""

    def read_until(self, text: str) -> None:
        """Until it has written this."""
        until = time.monotonic() + PATIENCE
        while text not in self.said:
            assert time.monotonic() < until, self.said
            assert self._read(), self.said

    def end(self) -> int:
        """Its exit status, once it has ended by itself."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        """End it, and the terminal."""
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    def _read(self) -> bool:
        # Of a terminal that nobody writes to any more there is an error instead of an end.
        with contextlib.suppress(OSError):
            data = os.read(self._end, 65536)
            self.said += data.decode(errors="replace")
            return bool(data)
        return False


@contextlib.contextmanager
def watching(output: str, columns: int = 100, term: str = "xterm-256color") -> Iterator[Watching]:
    """The command, until the block ends."""
    found = Watching(output, columns, term)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture
def told(catalog: Catalog) -> dict[str, Any]:
    """What a run of this process tells in the middle of its work; it is written."""
    found = {
        "run": "20260101T000000Z-abcd",
        "state": "running",
        "command": "nst run",
        "manifest": {"uri": catalog.uri("pairs.csv")},
        "started_at": records.now(),
        "renewed_at": records.now(),
        "pairs": 40,
        "to_do": 40,
        "done": 3,
        "skipped": 0,
        "postponed": 0,
        "failed": 0,
        "left": 37,
        "pairs_per_hour": 700.0,
        "oldest": {"id": "a" * 90, "since": records.now()},
    }
    tell(catalog, found)
    return found


def tell(catalog: Catalog, told: dict[str, Any], **changes: Any) -> None:
    """Let the run tell this."""
    found = {**told, **changes}
    catalog.write(f"out/runs/{told['run']}/run.json", json.dumps(found).encode())


def lines_after(said: str, mark: str) -> list[str]:
    """What stands in the terminal after the last such mark, without colours."""
    text = said.rpartition(mark)[2]
    return re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", text).replace("\r\n", "\n").splitlines()


def test_it_ends_with_the_run_and_what_was_seen_last_stays(
    catalog: Catalog, told: dict[str, Any]
) -> None:
    with watching(catalog.uri("out")) as seen:
        seen.read_until("37")
        tell(catalog, told, done=20, left=20)
        seen.read_until("20 of 40 pairs done")
        tell(catalog, told, state="finished", done=40, left=0, oldest=None)
        assert seen.end() == 0
    # One screen of its own, which is left again with the cursor shown.
    assert (seen.said.count(ENTER), seen.said.count(LEAVE)) == (1, 1)
    assert seen.said.rindex(SHOW) > seen.said.rindex(HIDE)
    last = lines_after(seen.said, LEAVE)
    assert last[0].split()[:3] == ["run", "state", "done"]
    assert last[1].split()[:3] == [told["run"], "finished", "40"]
    assert last[-1] == "Nothing is left to do."
    # Whoever watches need not be told to.
    assert "--watch" not in seen.said.partition(LEAVE)[0]


def test_ctrl_c_ends_it_without_a_traceback(catalog: Catalog, told: dict[str, Any]) -> None:
    with watching(catalog.uri("out")) as seen:
        seen.read_until("37")
        seen.process.send_signal(signal.SIGINT)
        assert seen.end() == 130
    assert "Traceback" not in seen.said
    assert seen.said.count(LEAVE) == 1
    assert seen.said.rindex(SHOW) > seen.said.rindex(HIDE)
    last = lines_after(seen.said, LEAVE)
    assert [line for line in last if told["run"] in line]


def test_in_a_narrow_terminal_columns_are_left_out_and_none_is_cut(
    catalog: Catalog, told: dict[str, Any]
) -> None:
    with watching(catalog.uri("out"), columns=50) as seen:
        seen.read_until("37")
        tell(catalog, told, state="finished", done=40, left=0, oldest=None)
        assert seen.end() == 0
    shown = lines_after(seen.said.partition(LEAVE)[0], "\x1b[H")
    assert shown[0].split() == ["run", "state", "done", "failed", "left"]
    assert shown[1].split() == [told["run"], "running", "3", "0", "37"]
    assert max(map(len, shown)) <= 50
    assert "…" not in "".join(shown)
    last = lines_after(seen.said, LEAVE)
    assert last[0].split() == ["run", "state", "done", "failed", "left"]


def test_where_a_terminal_can_move_no_cursor_lines_follow_each_other(
    catalog: Catalog, told: dict[str, Any]
) -> None:
    with watching(catalog.uri("out"), term="dumb") as seen:
        seen.read_until("37")
        tell(catalog, told, state="finished", done=40, left=0, oldest=None)
        assert seen.end() == 0
    assert "\x1b" not in seen.said
    assert "Nothing is left to do." in seen.said
