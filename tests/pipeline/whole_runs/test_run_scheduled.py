"""What a schedule needs of `nst run`: globs, a given run id, JSON logs, the lock, its status."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.errors import ConfigError
from pipeline import cli, storage
from pipeline.__main__ import main
from pipeline.manifest.columns import ManifestError
from pipeline.manifest.rows import find_manifests

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

TONIGHT = ("--run-id", "tonight")


@pytest.fixture
def incoming(catalog: Catalog) -> Catalog:
    """A catalog whose manifests arrive one by one, each with its pictures beside it."""
    for name in ("monday", "tuesday"):
        arrive(catalog, name)
    return catalog


def arrive(catalog: Catalog, day: str, **more: str) -> None:
    """A manifest of one pair, with an id of its own."""
    for picture in ("a.png", "s.png"):
        catalog.picture(f"{day}/{picture}")
    row = {"id": day, "content": "a.png", "style": "s.png", **more}
    catalog.manifest([row], f"{day}/pairs.jsonl")


def entries(stderr: str) -> list[dict[str, Any]]:
    """The log entries in JSON; that there is nothing else."""
    return [json.loads(line) for line in stderr.splitlines()]


def test_a_glob_names_several_manifests_whose_rows_are_relative_to_their_own(
    incoming: Catalog,
) -> None:
    assert incoming.run(manifest="*/pairs.jsonl") == 0
    assert [(r["id"], r["row"], r["manifest"]) for r in sorted_results(incoming)] == [
        ("monday", 1, incoming.uri("monday/pairs.jsonl")),
        ("tuesday", 1, incoming.uri("tuesday/pairs.jsonl")),
    ]
    sources = {i: r["sources"]["content"] for i, r in incoming.records().items()}
    assert sources == {day: incoming.uri(f"{day}/a.png") for day in ("monday", "tuesday")}

    # Of what arrives later, only the new pairs are done.
    arrive(incoming, "wednesday")
    assert incoming.run(manifest="*/pairs.jsonl") == 0
    statuses = {result["id"]: result["status"] for result in incoming.results()}
    assert statuses == {"monday": "skipped", "tuesday": "skipped", "wednesday": "ok"}


def test_ids_are_unique_over_all_manifests(incoming: Catalog) -> None:
    arrive(incoming, "wednesday", id="monday")
    assert incoming.run(manifest="*/pairs.jsonl") == 3
    (failure,) = incoming.failures()
    assert failure["status"] == "duplicate_id"
    assert f"of row 1 of {incoming.uri('monday/pairs.jsonl')}" in failure["error"]
    assert failure["content"] == incoming.uri("wednesday/a.png")


def sorted_results(catalog: Catalog) -> list[dict[str, Any]]:
    """The results of the last run, by id."""
    return sorted(catalog.results(), key=lambda result: str(result["id"]))


def test_globs_of_a_bucket_are_found_in_order_and_a_plain_name_is_itself(
    gcs: EmulatedBucket,
) -> None:
    for name in ("b/2.jsonl", "b/1.jsonl", "b/deep/3.jsonl", "b/4.csv"):
        storage.write_bytes(gcs.uri(name), b"x", "text/plain")
    assert find_manifests(gcs.uri("b/*.jsonl")) == [gcs.uri("b/1.jsonl"), gcs.uri("b/2.jsonl")]
    assert find_manifests(gcs.uri("none.csv")) == [gcs.uri("none.csv")]
    with pytest.raises(ManifestError, match="matches no file"):
        find_manifests(gcs.uri("c/*.jsonl"))


def test_what_runs_have_written_is_no_manifest_unless_the_glob_names_its_folder(
    catalog: Catalog,
) -> None:
    named = [catalog.pairs(("a.png",)), catalog.manifest([{"content": "a.png"}], "runs/more.csv")]
    assert catalog.run(manifest="*.csv") == 0
    assert {name.partition("/")[0] for name in catalog.names("out")} > {"losses", "runs"}
    assert find_manifests(catalog.uri("**/*.csv")) == named
    failures = catalog.uri(f"{catalog.run_folder}/failures.csv")
    assert find_manifests(catalog.uri("out/runs/*/failures.csv")) == [failures]
    assert find_manifests(failures) == [failures]
    with pytest.raises(ManifestError, match="matches only what runs have written"):
        find_manifests(catalog.uri("out/**/*.csv"))


def test_one_bad_manifest_of_several_stops_the_run_before_any_work(
    incoming: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Callable[[str], str]
) -> None:
    incoming.write("zoo/pairs.jsonl", b"caf\x81")
    assert incoming.run(manifest="*/pairs.jsonl") == 2
    assert "zoo/pairs.jsonl" in one_sentence(capsys.readouterr().err)
    assert incoming.names("out") == set()


def test_a_given_run_id_names_the_folder_and_a_retry_replaces_its_reports(
    incoming: Catalog,
) -> None:
    os.rename(incoming.uri("tuesday/a.png"), incoming.uri("tuesday/gone.png"))
    again = ("--results-shards", "2")
    assert incoming.run(*TONIGHT, *again, manifest="*/pairs.jsonl") == 3
    assert incoming.run_folder == "out/runs/tonight"
    os.rename(incoming.uri("tuesday/gone.png"), incoming.uri("tuesday/a.png"))
    assert incoming.run(*TONIGHT, manifest="out/runs/tonight/failures.csv") == 0
    incoming.run_folder = "out/runs/tonight"
    assert incoming.statuses() == ["ok"]
    assert incoming.summary()["statuses"] == {"ok": 1}
    assert incoming.records()["tuesday"]["run"] == "tonight"


def test_a_retry_under_the_same_run_id_does_again_what_it_is_told_to(incoming: Catalog) -> None:
    def written() -> list[int]:
        images = (incoming.uri(f"out/images/{day}.png") for day in ("monday", "tuesday"))
        return [os.stat(image).st_mtime_ns for image in images]

    assert incoming.run(*TONIGHT, manifest="*/pairs.jsonl") == 0
    before = written()
    redo = ("--on-existing", "redo")
    assert incoming.run(*TONIGHT, *redo, manifest="*/pairs.jsonl") == 0
    first, second = written()
    assert (first > before[0], second > before[1]) == (True, True)

    # What is no record of this program stands in nobody's way.
    record = next(name for name in incoming.names("out/records") if name.startswith("monday."))
    incoming.write(f"out/records/{record}", b'{"run": "tonight"}')
    assert incoming.run(*TONIGHT, manifest="*/pairs.jsonl") == 0
    again = written()
    assert (again[0] > first, again[1]) == (True, second)
    assert incoming.records()["monday"]["steps"] == 2


@pytest.mark.parametrize("is_link", [False, True])
def test_a_retry_may_read_the_rows_that_the_run_has_kept(incoming: Catalog, is_link: bool) -> None:
    kept = "out/runs/tonight/manifest.jsonl"
    content, style = incoming.uri("monday/a.png"), incoming.uri("monday/s.png")
    incoming.manifest([{"id": "a", "content": content, "style": style}], kept)
    rows = incoming.read(kept)
    os.symlink(incoming.uri(kept), incoming.uri("link.jsonl"))
    for _ in range(2):
        incoming.write("out/runs/tonight/manifest.csv", b"of another try")
        assert incoming.run(*TONIGHT, manifest="link.jsonl" if is_link else kept) == 0
        assert incoming.read(kept) == rows
        assert "manifest.csv" not in incoming.names("out/runs/tonight")


@pytest.mark.parametrize("run_id", ["", ".hidden", "a/b", "2026-01-01T00:00", "x" * 101, "é"])
def test_a_run_id_that_cannot_name_a_folder_is_refused(run_id: str) -> None:
    given = cli.parse(["run", "--manifest", "m.csv", "--output", "o", f"--run-id={run_id}"])
    with pytest.raises(ConfigError, match="--run-id"):
        cli.run_options(given)


def test_json_logs_are_one_object_in_a_line_and_name_run_and_pair(
    incoming: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    os.remove(incoming.uri("tuesday/a.png"))
    json_logs = ("--log-format", "json", "--verbose")
    assert incoming.run(*TONIGHT, *json_logs, manifest="*/pairs.jsonl") == 3
    captured = capsys.readouterr()
    found = entries(captured.err)
    assert all({"severity", "time", "message", "run"} <= entry.keys() for entry in found)
    assert {entry["run"] for entry in found} == {"tonight"}
    of_pairs = {e["pair"]: (e["severity"], e["message"]) for e in found if "pair" in e}
    assert of_pairs["monday"] == ("INFO", "monday: ok")
    severity, message = of_pairs["tuesday"]
    assert severity == "WARNING"
    assert "does not exist" in message
    last = found[-1]
    assert last["severity"] == "WARNING"
    assert last["summary"]["statuses"] == {"input_not_found": 1, "ok": 1}
    assert captured.out == ""


def test_without_verbose_json_logs_have_failed_pairs_and_the_end_alone(
    incoming: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    os.remove(incoming.uri("tuesday/a.png"))
    assert incoming.run("--log-format=json", manifest="*/pairs.jsonl") == 3
    failed, end = entries(capsys.readouterr().err)
    assert failed["pair"] == "tuesday"
    assert "1 ok" in end["message"]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["--mainfest=x"], 2), (["--manifest=none.csv", "--output=o"], 2), (["--output=o"], 2)],
)
def test_errors_of_usage_are_json_too(
    arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--log-format", "json", "--weights=procedural", *arguments]) == status
    (entry,) = entries(capsys.readouterr().err)
    assert entry["severity"] == "ERROR"
    assert "manifest" in entry["message"]


def test_the_second_of_two_scheduled_runs_ends_with_a_sentence_and_status_4(
    incoming: Catalog,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def meanwhile(*_: Any) -> None:
        statuses.append(incoming.run("--lock", "--run-id=second", manifest="*/pairs.jsonl"))

    statuses: list[int] = []
    monkeypatch.setattr("pipeline.commands.run.execute", meanwhile)
    # Nothing was executed, so that there is no summary.
    assert incoming.run(*TONIGHT, "--lock", manifest="*/pairs.jsonl") == 1
    assert statuses == [4]
    sentence = one_sentence(capsys.readouterr().err.splitlines()[0])
    assert "Run tonight" in sentence
    assert "--lock" in sentence
    names = ("config.yaml", "failures.csv", "run.json")
    assert incoming.names("out/runs") == {f"tonight/{name}" for name in names}


def test_the_lock_goes_with_its_run_however_that_ends(
    incoming: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = ("--lock", "--weights=procedural")
    assert incoming.run(*locked, manifest="*/pairs.jsonl") == 0
    assert ".lock" not in incoming.names("out/runs")

    def stop(*_: Any) -> None:
        assert ".lock" in incoming.names("out/runs")
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.commands.run.execute", stop)
    assert incoming.run(*locked, manifest="*/pairs.jsonl") == 130
    assert ".lock" not in incoming.names("out/runs")


def test_a_run_that_is_stopped_gives_its_lock_back_and_says_so_in_json(incoming: Catalog) -> None:
    scheduled = ("--lock", "--log-format=json", "--set", "steps=100000")
    arguments = incoming.arguments(*TONIGHT, *scheduled, manifest="*/pairs.jsonl")
    command = [sys.executable, "-m", "pipeline", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 200
        while not {".lock", "tonight/config.yaml"} <= incoming.names("out/runs"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out, error = process.communicate(timeout=100)
    assert process.returncode == 143
    assert ".lock" not in incoming.names("out/runs")
    found = entries(error.decode())
    assert {entry["run"] for entry in found} == {"tonight"}
    assert found[-1]["severity"] == "ERROR"
    assert "SIGTERM" in found[-1]["message"]
    assert any("stopped" in entry["message"] for entry in found)
    assert out == b""
