"""Archives are kept whole or not at all, and within their limit."""

from __future__ import annotations

import logging
import os
import pathlib

import numpy as np
import pytest

from nst_core.compiled import program_store
from nst_core.compiled.program_store import ProgramStore
from nst_core.errors import ConfigError
from tests.nst_core.engine.quick import assert_one_sentence


def noise(seed: int, size: int = 300_000) -> dict[str, bytes]:
    return {"program.pb": np.random.default_rng(seed).bytes(size)}


def test_an_archive_is_read_as_it_was_written_and_written_once(tmp_path: pathlib.Path) -> None:
    store = ProgramStore("kind", tmp_path)
    assert store.read("one") is None
    store.write("one", noise(1))
    store.write("one", noise(2))
    assert store.read("one") == noise(1)
    assert store.has("one")
    assert store.take_new() == ["one.zip"]
    assert not store.take_new()
    assert not list(ProgramStore("other", tmp_path).files())


def test_without_hard_links_archives_are_whole_too(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    store = ProgramStore("kind", tmp_path)
    store.write("one", noise(1))
    assert store.read("one") == noise(1)
    assert [path.name for path in store.folder.iterdir()] == ["one.zip"]


@pytest.mark.parametrize("spoiled", [b"", b"PK\3\4 nothing", None])
def test_a_spoiled_archive_is_none(tmp_path: pathlib.Path, spoiled: bytes | None) -> None:
    store = ProgramStore("kind", tmp_path)
    store.write("one", noise(1))
    path = store.folder / "one.zip"
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + b"?" + whole[middle + 1 :] if spoiled is None else spoiled)
    assert store.read("one") is None
    assert not path.exists()


def test_members_that_could_lie_elsewhere_are_none() -> None:
    assert program_store.is_sound(program_store.packed(noise(1)))
    assert not program_store.is_sound(program_store.packed({"../program.pb": b"x"}))


def test_what_was_used_least_recently_goes_first(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(program_store.LIMIT_VARIABLE, "1")
    old, new = ProgramStore("old", tmp_path), ProgramStore("new", tmp_path)
    for age, (store, name) in enumerate([(new, "c"), (old, "b"), (old, "a")]):
        store.write(name, noise(age))
        moment = 1_000_000 - age
        os.utime(store.folder / f"{name}.zip", (moment, moment))
    assert old.read("a")  # Counts as used now.
    stale = old.folder / "killed.tmp"
    stale.touch()
    os.utime(stale, (0, 0))
    new.write("d", noise(4))
    assert sorted(old.files() + new.files()) == ["a.zip", "c.zip", "d.zip"]
    assert not stale.exists()


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = ProgramStore("kind", tmp_path / "file")
    with caplog.at_level(logging.WARNING):
        for name in ("one", "two"):
            store.write(name, noise(1))
    (record,) = caplog.records
    assert_one_sentence(record.getMessage().partition(". ")[2], "NST_CACHE")
    assert not store.take_new()


@pytest.mark.parametrize("given", ["much", "-1", "1.5"])
def test_a_limit_that_is_no_number_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(program_store.LIMIT_VARIABLE, given)
    with pytest.raises(ConfigError) as error:
        program_store.limit_bytes()
    assert_one_sentence(error.value, given, "MiB")
