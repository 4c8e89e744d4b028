"""Whole runs on a Cloud Storage that goes wrong, on a disk that fills up, and two at once."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any

import pytest
from fault_proxy import ALWAYS, CORRUPT, CUT, RESET, STALL, UNHEARD, FaultProxy

from nst_core.results import StyleResult
from pipeline.__main__ import main
from pipeline.storage import gcs_faults
from pipeline.worker.engine_cache import EngineCache
from pipeline.worker.work import BatchWorker
from tests.pipeline.fake_engine import FakeEngine, result

if TYPE_CHECKING:
    from tests.pipeline.conftest import BadBucket, Catalog, Command

NAMES = ("a.png", "b.png", "c.png")
STEPS_OF_A_RUN = {
    "read": ("pairs.csv", "a.png", "b.png", "s.png", "out/runs/*/summary.json"),
    "metadata": ("a.png", "c.png", "out/images/a.png"),
    "list": ("*/records/", "*/images/"),
    "write": ("*/images/a.png", "*/losses/b.csv", "*/runs/*/results-*", "*/runs/*/summary.json"),
    "create": ("*/records/a.*", "*/records/b.*"),
    "delete": ("*/.nst-tmp-*", "*/records/c.*"),
}
PASSING = (429, 500, 503, RESET, CUT, CORRUPT, UNHEARD)
# Metadata and listings have no checksum.
VERIFIED = ("read", "write", "create")


@pytest.fixture
def proxy(bad_bucket: BadBucket) -> FaultProxy:
    """The proxy in front of the bucket of `bad_catalog`."""
    return bad_bucket.proxy


@pytest.fixture
def bad_catalog(catalog: Catalog, bad_bucket: BadBucket) -> Catalog:
    """A catalog of three pairs in a bucket that goes wrong as its proxy is told."""
    catalog.root = bad_bucket.uri("catalog")
    catalog.pairs(NAMES)
    return catalog


@pytest.fixture
def negatives(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    """Runs make negatives of their contents: what they read decides what they write."""

    def answer(_: list[str]) -> list[StyleResult]:
        contents = engine.given["contents"]
        return [dataclasses.replace(result(), image=255 - content) for content in contents]

    engine = FakeEngine(answer)
    monkeypatch.setattr("pipeline.job.stylize_transforms.EngineCache", EngineCache)
    monkeypatch.setattr("pipeline.worker.engine_cache.load_engine", lambda *_: engine)


def files_of_pairs(catalog: Catalog) -> dict[str, bytes]:
    """Images, and the loss logs without their times."""
    found = {name: catalog.read(f"out/images/{name}") for name in catalog.names("out/images")}
    for name in catalog.names("out/losses"):
        rows = [row.split(b",") for row in catalog.read(f"out/losses/{name}").splitlines()]
        found[name] = b"\n".join(b",".join(row[:4] + row[5:]) for row in rows)
    return found


@pytest.mark.usefixtures("negatives")
def test_a_run_through_every_fault_that_passes_leaves_the_right_bytes(
    bad_catalog: Catalog,
    proxy: FaultProxy,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whoever goes there by Beam verifies nothing: nobody does.
    monkeypatch.setattr("apache_beam.io.gcp.gcsio.GcsIO.__init__", None)
    assert bad_catalog.run() == 0
    right = files_of_pairs(bad_catalog)
    capsys.readouterr()
    for operation, names in STEPS_OF_A_RUN.items():
        for name in names:
            for what in PASSING:
                if what != CORRUPT or operation in VERIFIED:
                    proxy.fail(what, operation, f"catalog/{name}")
    assert bad_catalog.run("--on-existing=redo") == 0
    assert proxy.pending == []
    assert bad_catalog.statuses() == ["ok"] * 3
    assert files_of_pairs(bad_catalog) == right
    assert bad_catalog.records().keys() == {"a", "b", "c"}
    assert bad_catalog.summary()["statuses"] == {"ok": 3}
    assert capsys.readouterr().err == ""
    assert not [name for name in bad_catalog.names("") if "nst-tmp" in name]


@pytest.mark.usefixtures("negatives")
def test_a_stalled_connection_holds_a_run_up_and_no_more(
    bad_catalog: Catalog, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs_faults, "TIMEOUT_SECONDS", 0.5)
    for operation, name in (("read", "a.png"), ("write", "out/images/b.png"), ("list", "*")):
        proxy.fail(STALL, operation, f"catalog/{name}")
    assert bad_catalog.run() == 0
    assert proxy.pending == []
    assert bad_catalog.statuses() == ["ok"] * 3


@pytest.mark.usefixtures("impatient", "negatives")
@pytest.mark.parametrize(
    ("operation", "name"),
    [("read", "b.png"), ("create", "out/records/b.*")],
)
def test_a_fault_that_lasts_stops_the_job_with_a_sentence_and_the_next_run_finishes(
    bad_catalog: Catalog,
    proxy: FaultProxy,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
    operation: str,
    name: str,
) -> None:
    proxy.fail(503, operation, f"catalog/{name}", times=ALWAYS)
    assert bad_catalog.run("--batch-size=1") == 1
    said = one_sentence(capsys.readouterr().err)
    assert "b." in said
    assert "in spite of retries" in said
    assert said.endswith("run the same command again.")
    proxy.heal()
    done = bad_catalog.records().keys()
    assert "b" not in done
    assert bad_catalog.run() == 0
    expected = ["skipped" if name in done else "ok" for name in "abc"]
    assert bad_catalog.statuses() == expected


@pytest.mark.usefixtures("impatient", "negatives")
def test_what_is_damaged_every_time_or_in_no_bucket_fails_its_pair_only(
    bad_catalog: Catalog, proxy: FaultProxy
) -> None:
    contents = ("a.png", "b.png", "gs://no-such-bucket/x.png")
    bad_catalog.manifest([{"content": content, "style": "s.png"} for content in contents])
    proxy.fail(CORRUPT, "read", "catalog/b.png", times=ALWAYS)
    assert bad_catalog.run() == 3
    assert bad_catalog.statuses() == ["ok", "input_unreadable", "input_not_found"]
    assert "do not have its checksum" in bad_catalog.failures()[0]["error"]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("fault", "more", "status", "words"),
    [
        (("write", "*"), (), 1, "grant this account roles/storage.objectUser"),
        (("read", "*/out/*"), (), 1, "grant this account roles/storage.objectUser"),
        (("list", "*"), (), 1, "grant this account roles/storage.objectUser"),
        (("delete", "*"), (), 1, "grant this account roles/storage.objectUser"),
        (("read", "*/pairs.csv"), (), 2, "grant it roles/storage.objectViewer"),
        (("metadata", "*/vgg19.h5"), ("--weights=gs://nets/vgg19.h5",), 1, "cannot be read"),
        (None, ("--output=gs://no-such-bucket/out",), 1, "bucket no-such-bucket does not exist"),
        (None, ("--weights=gs://no-such-bucket/w.h5",), 1, "cannot be read"),
        (None, ("--config=gs://no-such-bucket/c.yaml",), 2, "cannot be read"),
    ],
)
def test_a_refusal_or_a_missing_bucket_stops_the_job_before_any_work(
    bad_catalog: Catalog,
    proxy: FaultProxy,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
    fault: tuple[str, str] | None,
    more: tuple[str, ...],
    status: int,
    words: str,
) -> None:
    if fault:
        proxy.fail(403, *fault, times=ALWAYS)
    assert main([*bad_catalog.arguments(), *more]) == status
    assert words in one_sentence(capsys.readouterr().err)
    proxy.heal()
    left = [name for name in bad_catalog.names("out") if not name.startswith(".nst-tmp-")]
    assert left == []


@pytest.mark.usefixtures("no_network")
def test_a_manifest_in_a_missing_bucket_is_one_sentence(
    bad_catalog: Catalog, capsys: pytest.CaptureFixture[str], one_sentence: Callable[[str], str]
) -> None:
    given = ["--manifest=gs://no-such-bucket/m.csv", "--output", bad_catalog.uri("out")]
    assert main(["run", *given]) == 2
    assert "does not exist" in one_sentence(capsys.readouterr().err)
    assert not bad_catalog.names("out")


def test_a_refused_glob_is_one_sentence(
    bad_bucket: BadBucket,
    proxy: FaultProxy,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    proxy.fail(403, times=ALWAYS)
    images = ["--contents", bad_bucket.uri("a.png"), "--styles", bad_bucket.uri("s.png")]
    assert main(["manifest", *images, "-o", bad_bucket.uri("pairs.csv")]) == 1
    assert "grant it roles/storage.objectViewer" in one_sentence(capsys.readouterr().err)


# Two runs at once


@pytest.mark.timeout(600)
def test_two_commands_at_once_on_a_bad_storage_leave_one_good_record_a_pair(
    bad_catalog: Catalog, proxy: FaultProxy, nst: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other process takes its time to start.
    monkeypatch.setattr(gcs_faults, "TIMEOUT_SECONDS", 240.0)
    for what, operation, name in (
        (503, "read", "pairs.csv"),
        (RESET, "list", "out/records/"),
        (CORRUPT, "read", "a.png"),
        (CUT, "read", "s.png"),
        (429, "write", "out/images/*"),
        (CORRUPT, "write", "out/losses/*"),
        (RESET, "create", "out/records/a.*"),
    ):
        proxy.fail(what, operation, f"catalog/{name}")
    # Both plan before either is done, and create each record at the same moment.
    proxy.fail(Barrier(2).wait, "write", "*/config.yaml", times=2)
    for pair_id in "abc":
        proxy.fail(Barrier(2).wait, "create", f"*/records/{pair_id}.*", times=2)
    with ThreadPoolExecutor() as threads:
        other = threads.submit(nst, *bad_catalog.arguments())
        assert main(bad_catalog.arguments()) == 0
        done = other.result()
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if " done" not in line] == []
    assert proxy.pending == []

    for pair_id, record in bad_catalog.records().items():
        for folder in {name.partition("/")[0] for name in bad_catalog.names("out/runs")}:
            bad_catalog.run_folder = f"out/runs/{folder}"
            (status,) = (one["status"] for one in bad_catalog.results() if one["id"] == pair_id)
            assert status == ("ok" if record["run"] == folder else "skipped")
    assert bad_catalog.records().keys() == {"a", "b", "c"}
    there = files_of_pairs(bad_catalog)
    assert bad_catalog.run("--on-existing=redo") == 0
    assert files_of_pairs(bad_catalog) == there


@pytest.mark.usefixtures("negatives")
def test_a_run_that_was_overtaken_takes_what_the_other_run_has_made(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.pairs(NAMES)
    optimize, folders = BatchWorker._optimize, []

    def overtaken(worker: BatchWorker, *arguments: Any) -> Any:
        if not folders:
            folders.append("")
            assert catalog.run() == 0
            folders.append(catalog.run_folder)
        return optimize(worker, *arguments)

    monkeypatch.setattr(BatchWorker, "_optimize", overtaken)
    assert main(catalog.arguments()) == 0
    monkeypatch.undo()
    (slow,) = {name.partition("/")[0] for name in catalog.names("out/runs")} - {
        folders[1].rpartition("/")[2]
    }
    assert catalog.statuses() == ["ok"] * 3
    catalog.run_folder = f"out/runs/{slow}"
    assert catalog.statuses() == ["skipped"] * 3
    assert {f"out/runs/{record['run']}" for record in catalog.records().values()} == {folders[1]}


# A disk that fills up

PAGE = 4096


@pytest.fixture
def small_disk(tmp_path: pathlib.Path) -> Iterator[pathlib.Path]:
    """An empty filesystem of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if done.returncode:
        pytest.skip(f"needs a small disk, and may not mount one ({done.stderr.strip()})")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def pages_of_a_pair(catalog: Catalog, pair_id: str) -> int:
    """How many pages of a disk the files of a finished pair take."""
    names = [name for name in catalog.names("out") if f"/{pair_id}." in name]
    return sum(-(-len(catalog.read(f"out/{name}")) // PAGE) for name in names)


@pytest.mark.usefixtures("negatives")
def test_a_disk_that_fills_up_during_a_run_stops_it_and_the_next_run_finishes(
    catalog: Catalog,
    small_disk: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    catalog.root = str(small_disk)
    catalog.pairs(("probe.png", *NAMES))
    catalog.manifest([{"id": "probe", "content": "probe.png", "style": "s.png"}], "probe.csv")
    assert catalog.run(manifest="probe.csv") == 0
    # And for the run's own files, and thumbnails.
    room = PAGE * (2 * pages_of_a_pair(catalog, "probe") + 8)
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize - room))
    capsys.readouterr()

    assert catalog.run("--batch-size=1") == 1
    lines = capsys.readouterr().err.splitlines()
    # It has no room for its heartbeat either.
    said = one_sentence("\n".join(one for one in lines if "The heartbeat could not" not in one))
    assert "cannot be written, disk full" in said
    assert "free space there" in said
    done = catalog.records().keys() - {"probe"}
    # None where all three were being written at once.
    assert len(done) < 3
    assert catalog.names("out/images") >= {f"{name}.png" for name in done}
    for name in catalog.names("out/images"):
        catalog.pixels(name)
    assert not list(small_disk.rglob(".nst-tmp-*"))

    (small_disk / "filler").unlink()
    assert catalog.run() == 0
    expected = ["skipped" if name in done else "ok" for name in "abc"]
    assert catalog.statuses() == ["skipped", *expected]
    assert catalog.records().keys() == {"probe", "a", "b", "c"}


@pytest.mark.parametrize("name", ["images", "losses", "records", "runs"])
def test_a_file_in_place_of_a_folder_stops_the_job_before_any_work(
    catalog: Catalog,
    name: str,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    catalog.pairs(NAMES)
    catalog.write(f"out/{name}", b"mine")
    assert catalog.run() == 1
    assert f"{catalog.uri('out')}/{name} is a file, " in one_sentence(capsys.readouterr().err)
    assert catalog.names("out") == {name}


def test_a_disk_that_is_full_stops_the_job_before_any_work(
    catalog: Catalog,
    small_disk: pathlib.Path,
    request: pytest.FixtureRequest,
    capsys: pytest.CaptureFixture[str],
    one_sentence: Callable[[str], str],
) -> None:
    request.getfixturevalue("no_network")
    catalog.root = str(small_disk)
    catalog.pairs(NAMES)
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize))
    before = catalog.names("")
    assert catalog.run() == 1
    assert "cannot be written, disk full" in one_sentence(capsys.readouterr().err)
    assert catalog.names("") == before
    assert not (small_disk / "out").exists()
