"""Workers find in a shared folder what others have compiled; without it they work all the same."""

from __future__ import annotations

import logging
import pathlib
import types
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.compiled import compilation
from nst_core.compiled.program_store import ProgramStore
from nst_core.engine import program, programs, style_engine
from pipeline import storage
from pipeline.__main__ import main
from pipeline.worker.program_cache import ProgramCache

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

PROGRAM = {"program.pb": b"0101"}


class Machine:
    """A machine with a local cache of its own."""

    def __init__(self, folder: pathlib.Path, kind: str = "tf-2.21.0-gpu") -> None:
        self.store = ProgramStore(kind, folder)
        self.engine: Any = types.SimpleNamespace(program_store=self.store)

    def worker(self, uri: str) -> ProgramCache:
        """A worker's process that has loaded an engine."""
        cache = ProgramCache(uri)
        cache.fetch_for(self.engine)
        return cache


@pytest.fixture(params=["local", "gs"])
def shared(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> str:
    """The URI of an empty folder."""
    if request.param == "local":
        return str(tmp_path / "shared")
    bucket: EmulatedBucket = request.getfixturevalue("gcs")
    return bucket.uri("shared")


def test_what_one_machine_compiles_another_finds(shared: str, tmp_path: pathlib.Path) -> None:
    first, second = Machine(tmp_path / "1"), Machine(tmp_path / "2")
    worker = first.worker(shared)
    first.store.write("nst_a", PROGRAM)
    worker.give_back()
    assert [uri.rpartition("/")[2] for uri in storage.list_uris(shared)] == ["nst_a.zip"]
    other = second.worker(shared)
    assert second.store.read("nst_a") == PROGRAM
    # What was fetched is not given back; what is new is.
    second.store.write("nst_b", PROGRAM)
    assert second.store.take_new() == ["nst_b.zip"]
    other.give_back()
    assert len(list(storage.list_uris(shared))) == 1


def test_what_is_there_is_never_written_again(tmp_path: pathlib.Path) -> None:
    shared = str(tmp_path / "shared")
    machines = [Machine(tmp_path / name) for name in "12"]
    workers = [machine.worker(shared) for machine in machines]
    for content, machine in zip((b"first", b"second"), machines, strict=True):
        machine.store.write("nst_a", {"program.pb": content})
    for worker in workers:
        worker.give_back()
    third = Machine(tmp_path / "3")
    third.worker(shared)
    assert third.store.read("nst_a") == {"program.pb": b"first"}


def test_programs_of_other_versions_lie_apart(shared: str, tmp_path: pathlib.Path) -> None:
    newer = Machine(tmp_path / "1", "tf-2.22.0-gpu")
    worker = newer.worker(shared)
    newer.store.write("nst_a", PROGRAM)
    worker.give_back()
    older = Machine(tmp_path / "2")
    older.worker(shared)
    assert not older.store.files()


def test_what_is_no_program_is_not_fetched(shared: str, tmp_path: pathlib.Path) -> None:
    machine = Machine(tmp_path / "1")
    folder = storage.join(shared, machine.store.folder.name)
    for name in ("nst_spoiled.zip", "notes.txt"):
        storage.write_bytes(storage.join(folder, name), b"PK spoiled", "text/plain")
    machine.worker(shared)
    assert not machine.store.files()


def test_what_has_gone_since_it_was_listed_keeps_nobody_from_the_others(
    shared: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Machine(tmp_path / "1"), Machine(tmp_path / "2")
    worker = first.worker(shared)
    for name in ("nst_a", "nst_b"):
        first.store.write(name, PROGRAM)
    worker.give_back()
    there = list(storage.list_uris(shared))
    storage.delete(storage.join(shared, first.store.folder.name, "nst_a.zip"))
    monkeypatch.setattr(storage, "list_uris", lambda _: iter(there))
    second.worker(shared)
    assert second.store.files() == ["nst_b.zip"]


def test_a_folder_out_of_reach_is_a_warning(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    machine = Machine(tmp_path / "1")
    worker = machine.worker(str(tmp_path / "file" / "shared"))
    with caplog.at_level(logging.WARNING):
        for name in ("nst_a", "nst_b"):
            machine.store.write(name, PROGRAM)
            worker.give_back()
    (record,) = caplog.records
    assert "each worker compiles its own" in record.getMessage()


def test_a_run_fetches_first_and_gives_back_what_is_new(
    catalog: Catalog,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def compiled(objective: Any, optimizer: Any, **_: bool) -> program.Program:
        return program.Program(objective, optimizer, xla=True)

    stores = [ProgramStore("kind", tmp_path / name) for name in "12"]
    monkeypatch.setattr(programs, "Program", compiled)
    catalog.pairs()
    shared = catalog.uri("shared")
    # Of its own, so that what no other test has compiled is compiled here.
    settings = ("--program-cache", shared, "--set=pooling=max", "--set=average_decay=0.25")
    for store in stores:
        monkeypatch.setattr(compilation, "store_for", lambda _, store=store: store)
        monkeypatch.setattr(style_engine.StyleEngine, "program_store", store)
        assert catalog.run(*settings, "--on-existing=redo") == 0
        assert {*store.files()} == {name.partition("/")[2] for name in catalog.names("shared")}
    assert stores[0].files()
    assert capsys.readouterr().err.count("2 left; compiling ") == 1


def test_a_scheme_that_nothing_reads_is_refused(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs()
    assert main(catalog.arguments("--program-cache", "https://example.com/programs")) == 2
    assert "--program-cache" in capsys.readouterr().err
