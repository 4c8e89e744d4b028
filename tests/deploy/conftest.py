"""Fixtures for the tests of deploy/: stand-ins for commands, and what was said to them."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Callable

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"

Script = Callable[..., "subprocess.CompletedProcess[str]"]

# Writes its name and arguments, one in a line, and an empty line. Keeps the file that a scheduler
# is to send, and makes the pip of an environment.
STAND_IN = """#!/bin/sh
for word in "${0##*/}" "$@"; do printf '%s\\n' "$word" >> "$CALLS"; done
echo >> "$CALLS"
for word in "$@"; do
    [ "$last" = --message-body-from-file ] && cp "$word" "$CALLS.body"
    last=$word
done
case "$*" in "-m venv "*) mkdir -p "$3/bin" && ln -s "$0" "$3/bin/pip" ;; esac
"""


class StandIns:
    """Commands that do nothing but write down how they were called."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.calls_file = folder / "calls"

    def add(self, *names: str) -> None:
        """Put stand-ins of these names before the real commands."""
        for name in names:
            path = self.folder / name
            path.write_text(STAND_IN)
            path.chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a script among them."""
        path = f"{self.folder}{os.pathsep}{os.environ['PATH']}"
        own = {"PATH": path, "CALLS": str(self.calls_file), **environment}
        return subprocess.run(
            command,
            env={**os.environ, **own},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def calls(self) -> list[list[str]]:
        """Every call: the command's name and its arguments."""
        if not self.calls_file.exists():
            return []
        text = self.calls_file.read_text()
        return [call.splitlines() for call in text.split("\n\n") if call.strip()]


@pytest.fixture
def stand_ins(tmp_path: pathlib.Path) -> StandIns:
    """No stand-ins yet."""
    folder = tmp_path / "stand-ins"
    folder.mkdir()
    return StandIns(folder)
