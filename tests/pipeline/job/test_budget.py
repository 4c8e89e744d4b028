"""Budgets: a run that fails too much stops early, and one may do only so many pairs."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from benchmarks.scale import InstantEngines
from nst_core.errors import ConfigError
from pipeline.job.budget import LEAST_PAIRS, BudgetError, Failures, MaxFailures
from pipeline.records.tasks import Outcome, RowNumber

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

FAILED = Outcome(
    RowNumber("/c/pairs.csv", 7), "x", "diverged", "The loss of x ran away.", {}, {}, {}
)
DONE = Outcome(8, "y", "ok", None, {}, {}, {})


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("0", MaxFailures(0)),
        ("100", MaxFailures(100)),
        ("5%", MaxFailures(percent=5.0)),
        (" 0.5 % ", MaxFailures(percent=0.5)),
    ],
)
def test_a_count_or_a_share_may_be_given(text: str, most: MaxFailures) -> None:
    assert MaxFailures.parse(text) == most
    assert MaxFailures.parse(str(most)) == most


@pytest.mark.parametrize("text", ["", "-1", "many", "5.5", "100%", "%", "-5%", "5%%"])
def test_anything_else_is_refused_with_what_to_give(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--max-failures.*100.*5%"):
        MaxFailures.parse(text)


def test_the_failures_of_all_steps_count_together_also_in_copies() -> None:
    failures = Failures("count", MaxFailures(2))
    failures.take("rows", FAILED, None, DONE)
    pickle.loads(pickle.dumps(failures)).take("contents", FAILED)
    with pytest.raises(BudgetError, match=r"3 pairs.*--max-failures 2.*row 7 .*x ran away"):
        failures.take("pairs", DONE, FAILED)


def test_runs_do_not_count_together() -> None:
    Failures("one run", MaxFailures(0)).take("rows", DONE)
    with pytest.raises(BudgetError):
        Failures("one run", MaxFailures(0)).take("rows", FAILED)
    Failures("another run", MaxFailures(1)).take("rows", FAILED)


def test_a_share_is_of_the_pairs_of_one_step_and_of_a_hundred_at_least() -> None:
    failures = Failures("share", MaxFailures(percent=5))
    failures.take("rows", *[FAILED] * 5)
    failures.take("rows", *[None] * (LEAST_PAIRS - 5))
    with pytest.raises(BudgetError, match="6 of 101 pairs"):
        failures.take("rows", FAILED)
    failures.take("pairs", *[FAILED] * 5, *[DONE] * 95)
    failures.take("pairs", *[DONE] * 20, FAILED)
    with pytest.raises(BudgetError, match="7 of 122 pairs"):
        failures.take("pairs", FAILED)


def test_without_a_limit_nothing_stops() -> None:
    Failures("unlimited", None).take("rows", *[FAILED] * 1000)


def test_past_the_limit_the_job_stops_in_one_sentence_before_any_pair_is_optimised(
    catalog: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
    no_network: None,
) -> None:
    del no_network
    catalog.pairs(("a.png", "b.png", "c.png"))
    for name in ("a.png", "b.png"):
        os.remove(catalog.uri(name))
    assert catalog.run("--max-failures=1") == 1
    sentence = one_sentence(capsys.readouterr().err)
    assert "2 pairs have failed, more than --max-failures 1" in sentence
    assert "does not exist" in sentence
    assert "same command" in sentence
    assert catalog.names("out/images") == set()


@pytest.mark.parametrize(
    ("on_existing", "going_on"),
    [
        ("skip", "the same command goes on where this run ended"),
        ("redo", "the same command, with --on-existing redo, begins with the first pair again"),
        ("error", "the same command with --on-existing skip goes on where this run ended"),
    ],
)
def test_how_a_person_goes_on_is_by_what_the_command_does_with_pairs_that_are_done(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], on_existing: str, going_on: str
) -> None:
    catalog.manifest([{"id": "a", "content": "", "style": ""}])
    assert catalog.run("--max-failures=0", f"--on-existing={on_existing}") == 1
    assert capsys.readouterr().err.endswith(f"raise the limit, and {going_on}.\n")


def test_what_is_done_stays_done_and_the_next_run_goes_on(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", InstantEngines)
    names = [f"{letter}.jpg" for letter in "abcdef"]
    catalog.pairs(names)
    whole = {name: catalog.read(name) for name in names[:3]}
    for name, data in whole.items():
        # The header is good: only when its turn has come is it found to be cut off.
        catalog.write(name, data[: 2 * len(data) // 3])
    assert catalog.run("--batch-size=1", "--max-failures=2") == 1
    before = catalog.records()
    assert before.keys() <= set("def")
    assert catalog.run("--batch-size=1", "--max-failures=3") == 3
    for name, data in whole.items():
        catalog.write(name, data)
    assert catalog.run("--max-failures=0") == 0
    assert catalog.statuses() == ["ok"] * 3 + ["skipped"] * 3
    assert before.items() <= catalog.records().items()


def test_past_the_limit_no_more_headers_are_read_than_at_once(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.job.batch_transforms.HEADERS_AT_ONCE", 3)
    names = [f"{letter}.png" for letter in "abcdefghijkl"]
    catalog.pairs(names)
    for name in names:
        os.remove(catalog.uri(name))
    assert catalog.run("--max-failures=1") == 1
    assert [row["id"] for row in catalog.failures()] == ["a", "b", "c"]


def test_workers_of_one_process_count_together(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    for name in ("a.png", "b.png"):
        os.remove(catalog.uri(name))
    two = ("--direct_num_workers=2", "--direct_running_mode=multi_threading")
    assert catalog.run("--max-failures=1", *two) == 1
    assert "2 pairs have failed" in capsys.readouterr().err


def test_a_limited_run_does_the_first_pairs_that_are_not_done_and_the_next_goes_on(
    catalog: Catalog, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", InstantEngines)
    letters = "abcdef"
    catalog.pairs([f"{letter}.png" for letter in letters])
    catalog.manifest([{"id": "b", "content": "b.png", "style": "s.png"}], "b.csv")
    assert catalog.run(manifest="b.csv") == 0
    assert catalog.run("--limit=2") == 0
    assert catalog.statuses() == ["ok", "skipped", "ok", *["postponed"] * 3]
    assert catalog.summary()["statuses"] == {"ok": 2, "postponed": 3, "skipped": 1}
    assert catalog.failures() == []
    assert "postponed" in capsys.readouterr().out
    assert catalog.run("--limit=2") == 0
    assert catalog.statuses() == [*["skipped"] * 3, "ok", "ok", "postponed"]
    assert catalog.run("--limit=2") == 0
    assert catalog.statuses() == [*["skipped"] * 5, "ok"]


def test_rows_that_are_no_pairs_do_not_count_for_the_limit(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", InstantEngines)
    catalog.pairs(("a.png", "b.png", "c.png"))
    rows = [
        {"id": "../x", "content": "a.png", "style": "s.png"},
        {"id": "a", "content": "a.png", "style": "s.png"},
        {"id": "a", "content": "b.png", "style": "s.png"},
        {"id": "c", "content": "c.png", "style": "s.png"},
    ]
    catalog.manifest(rows)
    assert catalog.run("--limit=1") == 3
    assert catalog.statuses() == ["manifest_invalid", "ok", "duplicate_id", "postponed"]
