"""Which records vouch for their images, and what is said to have changed where one does not."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import pytest

from nst_core.config import StyleConfig
from pipeline import storage
from pipeline.job.checking import RecordCheck, Verdict
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.records import records
from pipeline.records.fingerprints import (
    alike_recipes,
    fingerprint,
    former_fingerprints,
    recipe,
    roles_of,
)
from pipeline.records.identities import identified, identity_of
from pipeline.records.tasks import RowNumber, Task, sources

CONFIG = StyleConfig(weights="procedural", image_size=64)
STYLES = (StyleReference("/s/one.png"), StyleReference("/s/two.png", 2.0))
PAIR = Pair("town", "/c/town.png", STYLES, {}, {}, {})
WEIGHTS = "procedural:1"


def record_of(pair: Pair) -> dict[str, Any]:
    """What counts here of a record; without `inputs`, as earlier versions wrote them."""
    final = {"total": 1.0, "content": 0.5, "style": 0.5, "tv": 0.0}
    return {
        "run": "before",
        "sources": sources(pair),
        "width": 64,
        "height": 48,
        "steps": 10,
        "seconds": {},
        "terms": {"final": final},
        "quality": None,
    }


def verdict_of_former(output: str, pair: Pair = PAIR, **changes: Any) -> Verdict:
    """Of such a record of `PAIR`, about this pair with changed settings."""
    (mark, *_) = former_fingerprints(PAIR, CONFIG, WEIGHTS)
    uri = records.record_uri(output, PAIR.id, mark)
    storage.write_bytes(uri, records.to_json(record_of(PAIR)), "application/json")
    config = CONFIG.updated(changes)
    task = Task(RowNumber("/pairs.csv", 1), pair, config, recipe(pair, config, WEIGHTS))
    return RecordCheck(output).verdict(task, mark)


def test_what_an_earlier_version_has_done_of_the_same_uris_is_done(tmp_path: pathlib.Path) -> None:
    verdict = verdict_of_former(str(tmp_path))
    assert verdict.done
    assert verdict.summary["total"] == 1.0


@pytest.mark.parametrize(
    ("pair", "changed"),
    [
        ({"content": "/c/other.png"}, "content"),
        ({"styles": STYLES[:1]}, "style"),
        ({"styles": (STYLES[0], STYLES[1]._replace(weight=3.0))}, "style"),
        ({"content": "/c/other.png", "styles": (*STYLES, STYLES[0])}, "content, style"),
    ],
)
def test_of_a_record_of_an_earlier_version_it_is_said_which_sources_are_others(
    tmp_path: pathlib.Path, pair: dict[str, Any], changed: str
) -> None:
    verdict = verdict_of_former(str(tmp_path), dataclasses.replace(PAIR, **pair))
    assert (verdict.done, verdict.changed) == (False, changed)


def test_and_that_settings_are_others_where_its_sources_are_the_same(
    tmp_path: pathlib.Path,
) -> None:
    verdict = verdict_of_former(str(tmp_path), style_weight=50)
    assert (verdict.done, verdict.changed) == (False, "settings")


def done_pair(folder: pathlib.Path) -> Task:
    """A pair of two small files that has its record, which tells of them."""
    (folder / "c.png").write_bytes(b"one")
    (folder / "s.png").write_bytes(b"two")
    style = StyleReference(str(folder / "s.png"))
    pair = Pair("town", str(folder / "c.png"), (style,), {}, {}, {})
    task = Task(RowNumber("/pairs.csv", 1), pair, CONFIG, recipe(pair, CONFIG, WEIGHTS))
    read = {
        uri: identity_of(uri, storage.read_bytes(uri), storage.version(uri))
        for _, uri in roles_of(pair, CONFIG)
    }
    task = identified(task, read)
    uri = records.record_uri(str(folder), pair.id, task.fingerprint)
    record = {**record_of(pair), "inputs": task.inputs}
    storage.write_bytes(uri, records.to_json(record), "application/json")
    return task


def verdict_of(task: Task, folder: pathlib.Path) -> tuple[bool, str | None]:
    """Whether it is done, and what has changed."""
    verdict = RecordCheck(str(folder)).verdict(task, task.fingerprint)
    return verdict.done, verdict.changed


def test_where_a_storage_tells_no_version_the_bytes_are_compared(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "version", lambda _: storage.Version(3, ""))
    task = done_pair(tmp_path)
    assert verdict_of(task, tmp_path) == (True, None)
    (tmp_path / "s.png").write_bytes(b"six")
    assert verdict_of(task, tmp_path) == (False, "style")


def test_a_file_that_cannot_be_looked_at_is_the_same_under_its_name_alone(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = done_pair(tmp_path)
    (tmp_path / "other.png").write_bytes(b"one")
    pair = dataclasses.replace(task.pair, content=str(tmp_path / "other.png"))
    moved = dataclasses.replace(task, pair=pair)

    def unreadable(uri: str, *_: object) -> None:
        raise storage.AccessDenied(f"Nobody may read {uri}; ask its owner.")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "version", lambda _: storage.Version(3, ""))
        patched.setattr(storage, "open_binary", unreadable)
        assert verdict_of(task, tmp_path) == (True, None)
        assert verdict_of(moved, tmp_path) == (False, "content")
    for name in ("c.png", "other.png"):
        (tmp_path / name).unlink()
    assert verdict_of(task, tmp_path) == (True, None)
    assert verdict_of(moved, tmp_path) == (False, "content")


def test_what_an_engine_of_before_has_done_that_looks_the_same_is_done(
    tmp_path: pathlib.Path,
) -> None:
    task = done_pair(tmp_path)
    done = records.record_uri(str(tmp_path), task.pair.id, task.fingerprint)
    checksums = [one["sha256"] for one in task.inputs]
    for of_before in alike_recipes(task.pair, CONFIG, WEIGHTS):
        mark = fingerprint(of_before, checksums)
        uri = records.record_uri(str(tmp_path), task.pair.id, mark)
        storage.write_bytes(uri, storage.read_bytes(done), "application/json")
        assert RecordCheck(str(tmp_path)).verdict(task, mark).done
    other = dataclasses.replace(task, config=CONFIG.updated({"steps": 7}), recipe="0" * 64)
    assert RecordCheck(str(tmp_path)).verdict(other, mark).changed == "settings"


@pytest.mark.parametrize("text", ["", "[]", '{"run": "r"}', '{"run": "r", "sources": {}}'])
def test_what_no_run_has_written_vouches_for_nothing(tmp_path: pathlib.Path, text: str) -> None:
    task = done_pair(tmp_path)
    uri = records.record_uri(str(tmp_path), task.pair.id, task.fingerprint)
    storage.write_bytes(uri, text.encode(), "application/json")
    assert verdict_of(task, tmp_path) == (False, None)
