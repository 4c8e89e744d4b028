"""An input that the system fails to read is its pair's failure, and the others are done."""

from __future__ import annotations

import errno
import os
import pathlib
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import InputUnreadable, WeightsError
from pipeline import storage
from pipeline.storage.local_errors import SourceFile, reading
from pipeline.worker.inputs import read_picture, read_size
from pipeline.worker.weights import weights_identity

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

# Linux says of this file that it is an ordinary one, and fails every read of it with EIO.
BAD_SECTOR = "/proc/self/mem"
needs_bad_sector = pytest.mark.skipif(
    not os.path.exists(BAD_SECTOR), reason="needs Linux's /proc/self/mem"
)


def fail_reads(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """Let every read of an open file fail with this error."""

    def fail(file: SourceFile, *_: Any) -> Any:
        with reading(str(file.name)):
            raise OSError(code, os.strerror(code))

    for name in ("readinto", "readall"):
        monkeypatch.setattr(SourceFile, name, fail)


@needs_bad_sector
def test_a_run_does_every_pair_whose_inputs_can_be_read(catalog: Catalog) -> None:
    catalog.pairs()
    good = {"content": "a.png", "style": "s.png"}
    rows = [
        {**good, "id": "content", "content": BAD_SECTOR},
        {**good, "id": "style", "style": BAD_SECTOR},
        {**good, "id": "mask", "style": f'[{{"uri": "s.png", "mask": "{BAD_SECTOR}"}}]'},
        {**good, "id": "keep", "options.keep": BAD_SECTOR},
        {**good, "id": "weights", "options.weights": BAD_SECTOR},
        {**good, "id": "good"},
    ]
    catalog.manifest(rows)
    assert catalog.run() == 3
    assert catalog.statuses() == ["input_unreadable"] * 4 + ["options_invalid", "ok"]
    for result in catalog.results()[:5]:
        assert f"{BAD_SECTOR} cannot be read, Input/output error: check the disk" in result["error"]


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENODATA, errno.ETIMEDOUT])
def test_a_read_that_fails_is_about_this_file(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    uri = catalog.picture("a.png")
    fail_reads(monkeypatch, code)
    for read in (read_picture, read_size):
        with pytest.raises(InputUnreadable, match=rf"a\.png cannot be read, {os.strerror(code)}"):
            read(uri, StyleConfig())
    with pytest.raises(WeightsError, match=rf"{os.strerror(code)}.*procedural"):
        weights_identity(uri)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENOMEM])
def test_what_the_process_lacks_is_no_pair_s_failure(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    uri = catalog.picture("a.png")
    fail_reads(monkeypatch, code)
    with pytest.raises(storage.StorageError, match="limits") as caught:
        read_picture(uri, StyleConfig())
    assert not isinstance(caught.value, storage.ABOUT_ONE_FILE)


def test_a_file_that_is_lost_while_it_is_opened_is_about_this_file(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(_: str) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "stat", lost)
    with pytest.raises(storage.Unreadable, match="Stale file handle"):
        storage.read_bytes(str(tmp_path / "a.png"))
