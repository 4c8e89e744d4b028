"""Fixtures for the storage's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import EmulatedBucket
from tests.pipeline.storage.filesystems import MemoryFiles, TreeFiles


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """Makes a URI from a path, in every kind of storage in turn."""
    if request.param == "local":
        return lambda path: str(tmp_path / path)
    if request.param == "file":
        return lambda path: f"file://{tmp_path}/{path}"
    if request.param == "gs":
        bucket: EmulatedBucket = request.getfixturevalue("gcs")
        return bucket.uri
    MemoryFiles.contents.clear()
    TreeFiles.directories.clear()
    return lambda path: f"{request.param}://root/{path}"
