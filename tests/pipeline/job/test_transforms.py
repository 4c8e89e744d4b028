"""The stages' own logic, driven without a runner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import StyleConfig
from pipeline.job import batch_transforms
from pipeline.job.batch_transforms import KeyByCanvas
from pipeline.job.budget import Failures
from pipeline.job.elements import Chunk
from pipeline.job.options import RunOptions
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.records.tasks import RowNumber, Task

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def test_batches_that_are_full_are_formed_at_once_and_only_the_rest_is_grouped(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("wide.png", (64, 48)), ("tall.png", (32, 64))):
        catalog.picture(name, size)
    names = ["wide.png"] * 7 + ["none.png"] + ["tall.png"] * 5 + ["wide.png"] * 3
    config = StyleConfig(weights="procedural", image_size=64)
    tasks = [
        Task(
            RowNumber("/m.csv", number),
            Pair(f"p{number}", catalog.uri(name), (StyleReference("/s.png"),), {}, {}, {}),
            config,
            "0" * 16,
        )
        for number, name in enumerate(names)
    ]
    monkeypatch.setattr(batch_transforms, "HEADERS_AT_ONCE", 6)
    options = RunOptions("/m.csv", "/o", config, batch_size=4)
    stage = KeyByCanvas(options, Failures("run", None))
    stage.setup()
    stage.start_bundle()
    given: list[Any] = []
    for start in range(0, len(tasks), 5):
        given += stage.process(Chunk(tasks[start : start + 5]))
    given += stage.finish_bundle()
    stage.teardown()

    tagged: dict[str, list[Any]] = {"full": [], "ended": [], "rests": []}
    for one in given:
        tag, value = getattr(one, "tag", "rests"), getattr(one, "value", one)
        tagged[tag].append(getattr(value, "value", value))
    full = [[task.number.row for task in batch.tasks] for batch in tagged["full"]]
    assert full == [[0, 1, 2, 3], [8, 9, 10, 11], [4, 5, 6, 13]]
    rests = sorted([task.number.row for task in rest] for _, rest in tagged["rests"])
    assert rests == [[12], [14, 15]]
    assert [[one.number.row for one in ended] for ended in tagged["ended"]] == [[7]]
