"""What earlier versions have made is read, skipped and gone on with."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import inputs
import numpy as np
import pytest

from nst_core.results import StyleResult
from pipeline import storage
from pipeline.__main__ import main

HERE = pathlib.Path(__file__).parent
SETTINGS = ("image_size=64", "scales=[1]", "steps=2", "precision=float32")


# Names without an ASCII letter made ids of dashes; such an id, given as the row's own, stays.
FORMER_ID = ('{"content": "\\u5199', '{"id": "-------cbe894a1", "content": "\\u5199')


def refuse(*_: Any) -> None:
    raise AssertionError("a network was loaded")


@pytest.mark.parametrize("folder", sorted(HERE.glob("output-*")), ids=lambda path: path.name)
def test_what_an_earlier_version_has_done_stays_done(
    folder: pathlib.Path, gcs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in folder.rglob("*.*"):
        name = path.relative_to(folder).as_posix()
        data = path.read_bytes()
        if name == "pairs.jsonl":
            data = data.decode().replace(*FORMER_ID).encode()
        storage.write_bytes(gcs.uri(name), data, "application/octet-stream")
    before = {uri: storage.read_bytes(uri) for uri in storage.list_uris(gcs.uri("out"))}
    assert any(uri.endswith(".json") for uri in before)
    monkeypatch.setattr("pipeline.worker.engine_cache.load_engine", refuse)
    where = ["--manifest", gcs.uri("pairs.jsonl"), "--output", gcs.uri("out"), "--run-id", "again"]
    settings = [text for one in SETTINGS for text in ("--set", one)]
    assert main(["run", *where, "--weights", "procedural", *settings]) == 3
    summary = json.loads(storage.read_bytes(gcs.uri("out/runs/again/summary.json")))
    assert summary["statuses"] == {
        "duplicate_id": 1,
        "input_not_found": 1,
        "options_invalid": 1,
        "skipped": 11,
    }
    after = {uri: storage.read_bytes(uri) for uri in storage.list_uris(gcs.uri("out"))}
    assert before.items() <= after.items()
    new = (gcs.uri("out/runs/again/"), gcs.uri("out/report/"), gcs.uri("out/catalog.json"))
    assert all(uri.startswith(new) for uri in after.keys() - before.keys())


@pytest.mark.parametrize("path", sorted(HERE.glob("checkpoint-*")), ids=lambda path: path.name)
def test_an_optimisation_goes_on_from_an_earlier_version_s_checkpoint(path: pathlib.Path) -> None:
    engine, content, style, config = inputs.interrupted()
    with np.load(path) as arrays:
        (resumed,) = engine.stylize_batch([content], [style], config, checkpoints=[dict(arrays)])
    assert isinstance(resumed, StyleResult)
    assert resumed.resumed_at_step == 1
    whole = engine.stylize(content, [style], config)
    np.testing.assert_allclose(resumed.image, whole.image, atol=1e-3)
