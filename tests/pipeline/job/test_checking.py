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
from pipeline.records.fingerprints import former_fingerprints, recipe, roles_of
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


def test_where_a_storage_tells_no_version_the_bytes_are_compared(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content, style = tmp_path / "c.png", tmp_path / "s.png"
    content.write_bytes(b"one")
    style.write_bytes(b"two")
    monkeypatch.setattr(storage, "version", lambda _: storage.Version(3, ""))
    pair = Pair("town", str(content), (StyleReference(str(style)),), {}, {}, {})
    of_pair = recipe(pair, CONFIG, WEIGHTS)
    read = {
        uri: identity_of(uri, storage.read_bytes(uri), storage.version(uri))
        for _, uri in roles_of(pair, CONFIG)
    }
    task = identified(Task(RowNumber("/pairs.csv", 1), pair, CONFIG, of_pair), read)
    uri = records.record_uri(str(tmp_path), pair.id, task.fingerprint)
    record = {**record_of(pair), "inputs": task.inputs}
    storage.write_bytes(uri, records.to_json(record), "application/json")
    assert RecordCheck(str(tmp_path)).verdict(task, task.fingerprint).done
    style.write_bytes(b"six")
    verdict = RecordCheck(str(tmp_path)).verdict(task, task.fingerprint)
    assert (verdict.done, verdict.changed) == (False, "style")
