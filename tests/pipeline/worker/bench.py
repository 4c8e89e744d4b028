"""A worker on trial: an engine that answers as told, and batches for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nst_core.config import StyleConfig
from nst_core.imaging.images import Picture
from nst_core.results import Progress
from pipeline.job import planning
from pipeline.job.options import RunOptions
from pipeline.manifest.columns import Row
from pipeline.records.identities import Identity
from pipeline.records.tasks import Batch, Outcome, Task
from pipeline.worker.inputs import ReadImage
from pipeline.worker.work import BatchWorker
from tests.pipeline.fake_engine import Engines, FakeEngine, result

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

CONFIG = StyleConfig(weights="procedural", image_size=64, scales=(1,), steps=2)
NAMES = "abcdefghi"
SECONDS = 60.0


def all_good(names: list[str]) -> list[Any]:
    """One result for each."""
    return [result() for _ in names]


class Bench:
    """A worker whose engine answers as told, and batches of one pair each."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.answer: Callable[[list[str]], list[Any]] = all_good
        self.engine = FakeEngine(lambda names: self.answer(names))
        self.worker = BatchWorker(catalog.uri("out"), "run1", Engines(self.engine))

    def batches(self, count: int, **columns: Any) -> list[Batch]:
        """Batches of the pictures a, b, … with changes to their rows, each with its own files."""
        self.catalog.picture("s.png")
        found = []
        for number, name in enumerate(NAMES[:count], start=1):
            self.catalog.picture(f"{name}.png")
            cells = {"id": name, "content": f"{name}.png", "style": "s.png"}
            cells |= {key: value.format(name=name) for key, value in columns.items()}
            uri = self.catalog.uri("pairs.csv")
            task = planning.plan_row(Row(number, cells), uri, RunOptions(uri, "/out", CONFIG))
            assert isinstance(task, Task)
            found.append(Batch((task,)))
        return found

    def long_steps(self, names: list[str]) -> list[Any]:
        """An answer that takes long, and tells of its steps meanwhile."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            self.engine.given["progress"](Progress(1, 2, 1.0, (3.0,)))
            time.sleep(0.005)
        return all_good(names)

    def run(self, batches: list[Batch]) -> dict[str, str]:
        """The status of every pair, by id, each once."""
        outcomes: list[Outcome] = []
        for batch in batches:
            outcomes += self.worker.process(batch)
        outcomes += self.worker.finish()
        statuses = {str(outcome.id): outcome.status for outcome in outcomes}
        assert len(statuses) == len(outcomes) == len(batches)
        return statuses


def read_image() -> ReadImage:
    """A picture that was read."""
    picture = Picture(result().image.astype("uint8"), None)
    return ReadImage(picture, Identity("/c/a.png", 3, "modified:1", "", ""))


def wait_for(condition: Callable[[], Any]) -> None:
    """Until it holds."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)
