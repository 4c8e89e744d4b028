"""Fixtures of the worker's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pipeline import storage
from tests.pipeline.worker.bench import Bench

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


@pytest.fixture
def bench(catalog: Catalog) -> Iterator[Bench]:
    one = Bench(catalog)
    yield one
    one.worker.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read from here on, by name."""
    found: list[str] = []
    real = storage.read_version

    def note(uri: str, **more: Any) -> tuple[bytes, storage.Version]:
        found.append(uri.rpartition("/")[2])
        return real(uri, **more)

    monkeypatch.setattr(storage, "read_version", note)
    return found
