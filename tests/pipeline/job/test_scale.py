"""The benchmark of large catalogs on a small one, and what it is for: done pairs cost a listing."""

from __future__ import annotations

import collections
import pathlib
from typing import Any

import pytest

from benchmarks import scale
from pipeline import storage

ROWS = 200


def test_every_pair_is_written_once_and_then_found_done_by_its_record(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = scale.write_catalog(tmp_path, ROWS)
    seconds, cpu, statuses = scale.timed_run(options)
    assert seconds > 0
    assert cpu > 0
    assert statuses == {"ok": ROWS}
    for folder in ("images", "losses", "records"):
        assert len(list(storage.list_uris(f"{options.output}/{folder}"))) == ROWS

    calls: collections.Counter[str] = collections.Counter()
    for name in ("read_bytes", "open_binary", "exists", "list_uris", "version"):
        real = getattr(storage, name)

        def counted(*given: Any, name: str = name, real: Any = real, **more: Any) -> Any:
            calls[name] += 1
            return real(*given, **more)

        monkeypatch.setattr(storage, name, counted)
    statuses = scale.timed_run(options)[-1]
    assert statuses == {"skipped": ROWS}
    # Every record is read, and each image looked at, once; nothing else for each pair.
    assert calls.pop("version") == scale.CONTENTS + 1
    assert calls.pop("read_bytes") < ROWS + 20
    assert calls.total() < 20


def test_results_that_are_put_there_count_as_done(tmp_path: pathlib.Path) -> None:
    options = scale.write_catalog(tmp_path, ROWS)
    scale.put_results(options)
    assert scale.timed_run(options)[-1] == {"skipped": ROWS}


def test_a_catalog_of_another_size_than_was_run_is_refused(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: Any, **__: Any) -> Any:
        return collections.namedtuple("Done", "stdout")('[1.0, 1.0, 2, {"ok": 199}]\n')

    monkeypatch.setattr(scale.subprocess, "run", answer)
    with pytest.raises(RuntimeError, match="200 pairs should end as ok"):
        scale.measure(ROWS)
    del tmp_path
