"""Waves planned without a pipeline: however they are cut, every row ends alike."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import StyleConfig
from nst_core.errors import JobError
from pipeline.job import waves
from pipeline.job.budget import Failures
from pipeline.job.options import RunOptions
from pipeline.records.index import Index
from pipeline.records.tasks import Outcome, Task

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

IDS = ("a", "A", "a.png/b", "a.png/b.png/c", "a.csv/b", "a/000001.png", "b", "b.webp/c", "c")
CONFIG = StyleConfig(weights="procedural", steps=1, snapshot_every=1, animation="gif")
CASES = 40
ROWS = 24


def planned(options: RunOptions, rows: int) -> list[Any]:
    """What becomes of every row in waves of so many, in order; or the sentence of what stops it."""
    with pytest.MonkeyPatch.context() as patch, Index() as index:
        patch.setattr(waves, "WAVE_ROWS", rows)
        found: list[Task | Outcome] = []
        try:
            for todo, ended in waves.waves(options, Failures("", None), index):
                assert len(todo) + len(ended) <= rows
                found += [*todo, *ended]
        except JobError as error:
            # Which of several ids is named is not promised.
            return [str(error).partition(" already")[2], len(found)]
    return sorted(found, key=lambda row: row.number)


@pytest.mark.parametrize("on_existing", ["skip", "redo", "error"])
def test_however_a_manifest_is_cut_its_rows_end_alike(catalog: Catalog, on_existing: Any) -> None:
    chance = random.Random(20260715)
    statuses: set[str] = set()
    for case in range(CASES):
        output = catalog.uri(f"out{case}")
        for name in chance.sample(IDS, chance.choice((0, 0, 2))):
            if "/" not in name:
                path = chance.choice(("images/{}.png", f"records/{{}}.{case:016x}.json"))
                catalog.write(f"out{case}/{path.format(name)}", b"")
        rows: list[dict[str, str]] = []
        for number in range(ROWS):
            content = chance.choice((f"c{number}.png", f"{output}/images/{chance.choice(IDS)}.png"))
            name = chance.choice(IDS) if chance.random() < 0.5 else f"x{number}"
            options = {"options.seed": chance.choice(("", "", "1", "no"))}
            style = chance.choice(("s.png", "s.png", "s.png", ""))
            rows.append({"id": name, "content": content, "style": style, **options})
        options = RunOptions(catalog.manifest(rows), output, CONFIG, on_existing=on_existing)
        whole = planned(options, ROWS)
        for size in (1, 5, 11):
            assert planned(options, size) == whole, (case, size)
        statuses |= {row.status for row in whole if isinstance(row, Outcome)}
        if on_existing != "error":
            assert [row.number.row for row in whole] == list(range(1, ROWS + 1))
    assert statuses == {"manifest_invalid", "options_invalid", "duplicate_id"}
