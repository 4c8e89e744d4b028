"""Whole runs on Beam's runners, most in processes of their own: the same pixels everywhere."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nst_core.errors import JobError
from pipeline.commands import run
from pipeline.console.watch import LOST_WORKER, is_not_said_again

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog, Command

MULTI_PROCESSING = ("--direct_num_workers=2", "--direct_running_mode=multi_processing")
NAMES = ("a.png", "b.png", "c.png")


def run_apart(catalog: Catalog, nst: Command, *more: str) -> Any:
    """`nst run` with another output in a process of its own, which it leaves in `catalog`."""
    before = catalog.names("out/runs")
    done = nst(*catalog.arguments(*more))
    catalog.note_run(before)
    return done


def pictures(catalog: Catalog) -> list[np.ndarray]:
    """The pixels of all results."""
    return [catalog.pixels(name) for name in NAMES]


def furthest(some: list[np.ndarray], others: list[np.ndarray]) -> int:
    """The largest difference of a pixel, in 255ths."""
    return max(int(np.abs(a - b).max()) for a, b in zip(some, others, strict=True))


def test_another_process_makes_the_same_pixels_and_says_nothing_but_how_far_it_is(
    catalog: Catalog, nst: Command
) -> None:
    catalog.pairs(NAMES)
    noise = ("--set", "init=noise", "--set", "seed=5")
    assert catalog.run(*noise) == 0
    here = pictures(catalog)
    done = run_apart(catalog, nst, *noise, "--on-existing=redo", "--runner=FnApiRunner")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if " done" not in line] == []
    assert catalog.uri("out/images") in done.stdout
    assert catalog.statuses() == ["ok"] * 3
    assert furthest(here, pictures(catalog)) == 0


def test_several_worker_processes_make_the_same_pixels(catalog: Catalog, nst: Command) -> None:
    catalog.pairs(NAMES)
    assert catalog.run("--batch-size", "2") == 0
    here = pictures(catalog)
    done = run_apart(catalog, nst, "--batch-size=2", "--on-existing=redo", *MULTI_PROCESSING)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert catalog.statuses() == ["ok"] * 3
    assert catalog.summary()["statuses"] == {"ok": 3}
    assert furthest(here, pictures(catalog)) <= 1


def test_the_direct_runner_makes_the_same_pixels(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(*_: Any) -> None:
        raise RuntimeError("this runner is downloaded, and there is no network")

    # It would first try a runner that it downloads.
    prism = "apache_beam.runners.portability.prism_runner.PrismRunner.run_pipeline"
    monkeypatch.setattr(prism, absent)
    catalog.pairs(NAMES)
    assert catalog.run() == 0
    here = pictures(catalog)
    assert catalog.run("--runner=DirectRunner", "--on-existing=redo") == 0
    assert catalog.statuses() == ["ok"] * 3
    assert furthest(here, pictures(catalog)) <= 1


def test_a_job_that_fails_in_another_process_ends_with_its_sentence_and_status_1(
    catalog: Catalog, nst: Command
) -> None:
    catalog.pairs(NAMES)
    damaged = catalog.write("damaged.h5", b"\x89HDF\r\n\x1a\n" + b"?" * 500)
    done = nst(*catalog.arguments("--weights", damaged, *MULTI_PROCESSING))
    assert done.returncode == 1
    # Beam's worker processes print their traceback themselves; this one must not repeat it.
    assert "severity: ERROR" not in done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"nst: The weights file {damaged} is damaged")
    assert catalog.names("out/images") == catalog.names("out/records") == set()


def test_the_sentence_of_a_worker_is_found_in_whatever_beam_makes_of_it() -> None:
    text = (
        "Traceback (most recent call last):\n"
        '  File "pipeline/work.py", line 3, in process\n'
        "pipeline.storage.StorageError: The disk is full; free it. [while running 'Stylize-ptr']\n"
        "\nDuring handling of the above exception, another exception occurred:\n"
        "RuntimeError: bundle failed\n"
    )
    assert run.sentence_of(RuntimeError(text)) == "The disk is full; free it."


def test_an_error_that_is_not_this_program_s_is_told_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sentence = run.sentence_of(RuntimeError("first line\nthe harness has gone\n"))
    assert sentence == "The job failed: RuntimeError: the harness has gone"
    assert "RuntimeError" in caplog.text
    lost = run.sentence_of(RuntimeError("Channel closed prematurely."))
    assert lost.startswith("A worker process has died")
    assert run.sentence_of(ValueError()) == "The job failed: ValueError: ValueError()"


def test_tracebacks_of_what_the_last_line_says_are_not_logged_and_others_are() -> None:
    def passes(error: Exception) -> bool:
        try:
            raise error
        except Exception as caught:
            info = (type(caught), caught, caught.__traceback__)
        record = logging.LogRecord("beam", logging.ERROR, "x.py", 1, "it failed", None, info)
        return is_not_said_again(record)

    assert not passes(JobError("The disk is full."))
    assert passes(ValueError("nobody foresaw this"))
    lost = logging.LogRecord(LOST_WORKER[0], logging.ERROR, "x.py", 1, "Failed to read", None, None)
    assert not is_not_said_again(lost)
    escaped = 'message: "it failed\\nnst_core.errors.WeightsError: The file is damaged.\\n"'
    assert not passes(RuntimeError(escaped))


def test_a_run_of_other_processes_that_is_stopped_leaves_its_failures(
    catalog: Catalog, nst: Command
) -> None:
    for name in (*NAMES, "s.png"):
        catalog.picture(name)
    gone = [f"gone{number}.png" for number in range(8)]
    catalog.manifest([{"content": name, "style": "s.png"} for name in (*NAMES, *gone)])
    more = ("--max-failures=2", "--runner=DirectRunner", *MULTI_PROCESSING)
    done = run_apart(catalog, nst, *more)
    assert done.returncode == 1
    assert "--max-failures 2" in done.stderr
    failures = catalog.failures()
    assert {row["status"] for row in failures} == {"input_not_found"}
    assert {row["content"] for row in failures} <= {catalog.uri(name) for name in gone}
    assert len(failures) >= 3
    assert not [name for name in catalog.names("out/runs") if "spill" in name]
    status = json.loads(nst("status", catalog.uri("out"), "--json").stdout)
    (run,) = status["runs"]
    assert run["state"] == "stopped"
    nst("report", catalog.uri("out"))
    page = catalog.read("out/report/index.html").decode()
    assert "gone" in page
    assert "(stopped)" in page
