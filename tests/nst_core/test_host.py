"""What the machine has for this process."""

from __future__ import annotations

import math
import os
import pathlib
import sys
import tempfile
import threading
from typing import Any

import pytest

from nst_core import host


def test_processors_are_those_that_it_may_run_on() -> None:
    assert 1 <= host.processors() <= (os.cpu_count() or 1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux")
def test_a_thread_that_yields_to_others_does_so_alone_and_never_rises() -> None:
    found = []

    def work(*, before: int) -> None:
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, before)
        host.yield_to_others()
        found.append(os.getpriority(os.PRIO_PROCESS, thread))

    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    for before in (own, 19):
        thread = threading.Thread(target=work, kwargs={"before": before})
        thread.start()
        thread.join()
    assert found == [max(own, host.NICENESS), 19]
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


def test_processors_are_those_that_the_cgroups_allow(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "PROC", tmp_path)
    monkeypatch.setattr(host, "CGROUPS", tmp_path / "cgroups")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text("0::/pod/worker\n")
    (tmp_path / "cgroups/pod/worker").mkdir(parents=True)
    assert host.processors() == 64
    for name, text, count in (
        ("worker", "max 100000", 64),
        ("worker", "850000 100000", 8),
        (".", "350000 100000", 3),
        ("worker", "20000 100000", 1),
    ):
        (tmp_path / "cgroups/pod" / name / "cpu.max").write_text(text)
        assert host.processors() == count


class TestAvailable:
    """What this process can still take, from a made-up `/proc` and `/sys`."""

    @pytest.fixture
    def system(self, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Any:
        monkeypatch.setattr(host, "PROC", tmp_path / "proc")
        monkeypatch.setattr(host, "CGROUPS", tmp_path / "cgroups")

        def write(files: dict[str, str]) -> None:
            for name, text in files.items():
                path = tmp_path / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")

        return write

    def test_where_nothing_tells_it_has_no_bounds(self, system: Any) -> None:
        system({})
        assert host.available_memory() == math.inf

    def test_it_is_the_machines(self, system: Any) -> None:
        system({"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    2000 kB\n"})
        assert host.available_memory() == 2000 * 1024

    def test_it_is_what_the_group_or_one_above_it_leaves(self, system: Any) -> None:
        system(
            {
                "proc/meminfo": "MemAvailable: 1000000 kB\n",
                "proc/self/cgroup": "0::/pod/worker\n",
                "cgroups/pod/worker/memory.max": "max\n",
                "cgroups/pod/worker/memory.current": "500\n",
                "cgroups/pod/memory.max": "4000\n",
                "cgroups/pod/memory.current": "1500\n",
                "cgroups/pod/memory.stat": "anon 900\ninactive_file 300\n",
            }
        )
        assert host.available_memory() == 4000 - 1500 + 300

    def test_in_version_1_groups_and_containers_too(self, system: Any) -> None:
        system(
            {
                "proc/meminfo": "MemAvailable: 1000000 kB\n",
                "proc/self/cgroup": "5:cpu,cpuacct:/\n4:memory:/docker/abc\n",
                "cgroups/memory/memory.limit_in_bytes": "9000\n",
                "cgroups/memory/memory.usage_in_bytes": "2000\n",
                "cgroups/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
            }
        )
        assert host.available_memory() == 9000 - 2000 + 500


def test_the_cache_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    monkeypatch.setenv("NST_CACHE", str(tmp_path / "own"))
    assert host.cache_directory() == tmp_path / "own"
    monkeypatch.delenv("NST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert host.cache_directory() == tmp_path / "xdg" / "nst"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert host.cache_directory() == tmp_path / ".cache" / "nst"


def temporary_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> pathlib.Path:
    """The cache folder of a user who has no home that can be written."""
    for name in ("NST_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").touch(exist_ok=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    host._temporary_cache.cache_clear()
    return host.cache_directory()


def test_without_a_home_the_cache_is_a_temporary_folder_of_this_user_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    found = temporary_cache(monkeypatch, tmp_path)
    assert found.parent == tmp_path
    assert found.stat().st_mode & 0o777 == 0o700
    assert temporary_cache(monkeypatch, tmp_path) == found


@pytest.mark.parametrize("planted", ["writable", "link", "file"])
def test_a_temporary_cache_that_somebody_has_planted_is_not_used(
    planted: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    expected = temporary_cache(monkeypatch, tmp_path)
    expected.rmdir()
    if planted == "writable":
        expected.mkdir()
        expected.chmod(0o777)
    elif planted == "link":
        (tmp_path / "theirs").mkdir(mode=0o700)
        expected.symlink_to(tmp_path / "theirs")
    else:
        expected.touch()
    found = temporary_cache(monkeypatch, tmp_path)
    assert found != expected
    assert found.stat().st_mode & 0o777 == 0o700
    assert "set NST_CACHE" in caplog.text
