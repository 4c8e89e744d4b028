"""Snapshots and animations: kept until their pair is finished, written, replaced, never stale."""

from __future__ import annotations

import concurrent.futures
import io
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.imaging import encoding, images
from nst_core.results import LOG_COLUMNS, LossLog, Quality, Snapshot, StyleResult
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.records import records
from pipeline.records.tasks import RowNumber, Task
from pipeline.worker import snapshots
from pipeline.worker.inputs import Inputs
from pipeline.worker.snapshots import Snapshots

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

SEEN = ("--set", "steps=5", "--set", "snapshot_every=2")


def grey(value: float) -> np.ndarray:
    """An image of one grey."""
    return np.full((48, 64, 3), value, np.float32)


def result(steps: int) -> StyleResult:
    """A white result of so many steps."""
    log = LossLog((*LOG_COLUMNS, "total"), np.zeros((steps, 6)))
    quality = Quality({}, 1.0)
    return StyleResult(
        grey(255), quality, log, 1.5, Size(64, 64), "float32", "/CPU:0", 1, None, False
    )


def entry(alpha: np.ndarray | None = None, **changes: Any) -> tuple[Task, Inputs]:
    """A task and what was read for it."""
    pair = Pair("a", "/c/a.png", (StyleReference("/s/s.png"),), {}, {}, {})
    config = StyleConfig().updated({"snapshot_every": 1, "animation": "gif", **changes})
    picture = images.Picture(np.zeros((48, 64, 3), np.uint8), alpha)
    task = Task(RowNumber("/c/pairs.csv", 1), pair, config, "recipe", "0" * 16)
    return task, Inputs(picture, picture.rgb, None, (None,), None)


@pytest.fixture
def taking() -> Iterator[Callable[..., Snapshots]]:
    """`taking(entry)`: takes the snapshots of a batch of this one entry."""
    with concurrent.futures.ThreadPoolExecutor() as threads:
        opened = []

        def start(*entries: tuple[Task, Inputs]) -> Snapshots:
            opened.append(Snapshots(entries, threads).__enter__())
            return opened[-1]

        yield start
        for one in opened:
            one.__exit__()


def greys(catalog: Catalog, name: str) -> list[int]:
    """The mean brightness of each frame of an animation."""
    with Image.open(io.BytesIO(catalog.read(name))) as image:
        found = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            found.append(round(np.asarray(image.convert("RGB"), float).mean()))
    return found


def test_snapshots_become_files_and_frames_with_the_result_last(
    taking: Callable[..., Snapshots], catalog: Catalog
) -> None:
    taken = taking(entry())
    for step in (1, 2, 3):
        taken.take(Snapshot(0, step, grey(50 * step)))
    taken.settle()
    place = records.snapshot_place(catalog.uri("out"), "a")
    written, size = snapshots.write_snapshots(taken.files[0], result(4), place)
    names = [f"snapshots/a/00000{step}.png" for step in (1, 2, 3)]
    assert written["snapshots"] == [catalog.uri(f"out/{name}") for name in names]
    assert written["animation"] == catalog.uri("out/animations/a.gif")
    assert catalog.names("out") == {*names, "animations/a.gif"}
    assert size == sum(len(data) for data in catalog.files().values())
    for step, name in enumerate(names, start=1):
        with Image.open(io.BytesIO(catalog.read(f"out/{name}"))) as image:
            assert np.asarray(image).mean() == 50 * step
        assert encoding.read_metadata(catalog.read(f"out/{name}"))["nst:id"] == "a"
    assert greys(catalog, "out/animations/a.gif") == [50, 100, 150, 255]


def test_a_snapshot_of_the_last_step_is_shown_once(
    taking: Callable[..., Snapshots], catalog: Catalog
) -> None:
    taken = taking(entry())
    for step in (1, 2):
        taken.take(Snapshot(0, step, grey(50 * step)))
    taken.settle()
    place = records.snapshot_place(catalog.uri("out"), "a")
    snapshots.write_snapshots(taken.files[0], result(2), place)
    assert greys(catalog, "out/animations/a.gif") == [50, 255]


def test_an_optimisation_that_begins_again_leaves_nothing_of_its_first_try(
    taking: Callable[..., Snapshots], catalog: Catalog
) -> None:
    taken = taking(entry(animation="none"))
    for step, value in ((1, 10), (2, 20), (3, 30), (1, 100), (2, 200)):
        taken.take(Snapshot(0, step, grey(value)))
    taken.settle()
    place = records.snapshot_place(catalog.uri("out"), "a")
    written, _ = snapshots.write_snapshots(taken.files[0], result(2), place)
    assert catalog.names("out") == {"snapshots/a/000001.png", "snapshots/a/000002.png"}
    assert written["animation"] is None
    with Image.open(io.BytesIO(catalog.read("out/snapshots/a/000001.png"))) as image:
        assert np.asarray(image).mean() == 100


def test_few_images_wait_however_many_come(
    taking: Callable[..., Snapshots], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "WAITING", 2)
    taken = taking(entry())
    for step in range(1, 20):
        taken.take(Snapshot(0, step, grey(step)))
        assert len(taken._waiting) <= 2


def test_what_is_transparent_is_so_in_snapshots_and_white_in_the_animation(
    taking: Callable[..., Snapshots], catalog: Catalog
) -> None:
    taken = taking(entry(alpha=np.zeros((48, 64), np.uint8)))
    taken.take(Snapshot(0, 1, grey(50)))
    taken.settle()
    place = records.snapshot_place(catalog.uri("out"), "a")
    snapshots.write_snapshots(taken.files[0], result(4), place)
    with Image.open(io.BytesIO(catalog.read("out/snapshots/a/000001.png"))) as image:
        assert (np.asarray(image)[..., 3] == 0).all()
    assert set(greys(catalog, "out/animations/a.gif")) == {255}


def test_an_animation_in_webp_is_as_transparent_as_the_content(
    taking: Callable[..., Snapshots], catalog: Catalog
) -> None:
    alpha = np.full((48, 64), 128, np.uint8)
    alpha[:, :32] = 0
    taken = taking(entry(alpha=alpha, animation="webp"))
    taken.take(Snapshot(0, 1, grey(50)))
    taken.settle()
    place = records.snapshot_place(catalog.uri("out"), "a")
    snapshots.write_snapshots(taken.files[0], result(4), place)
    with Image.open(io.BytesIO(catalog.read("out/animations/a.webp"))) as image:
        first = np.asarray(image.convert("RGBA")).astype(int)
    assert (first[:, :30, 3] == 0).all()
    assert (first[:, 34:, 3] == 128).all()
    assert np.abs(first[:, 34:, :3] - 50).max() <= 3


def test_frames_of_an_earlier_checkpoint_lie_on_white_among_the_others(
    taking: Callable[..., Snapshots],
) -> None:
    taken = taking(entry(alpha=np.full((48, 64), 128, np.uint8), animation="webp"))
    (kept,) = taken.files
    assert kept is not None
    kept.restore(1, [b"an image", np.full((48, 64, 3), 200, np.uint8).tobytes()])
    data = kept.encode_animation(result(4))
    with Image.open(io.BytesIO(data)) as image:
        assert image.n_frames == 2


def test_a_run_writes_them_and_its_record_names_them(catalog: Catalog) -> None:
    catalog.pairs()
    more = ("--set", "steps=4", "--set", "snapshot_every=2", "--set", "animation=webp")
    assert catalog.run(*more) == 0
    names = {f"{pair}/00000{step}.png" for pair in "ab" for step in (2, 4)}
    assert catalog.names("out/snapshots") == names
    assert catalog.names("out/animations") == {"a.webp", "b.webp"}
    record = catalog.records()["a"]
    expected = [catalog.uri(f"out/snapshots/a/00000{step}.png") for step in (2, 4)]
    assert record["snapshots"] == expected
    assert record["animation"] == catalog.uri("out/animations/a.webp")
    last = catalog.read("out/snapshots/a/000004.png")
    assert last == catalog.read("out/images/a.png")
    assert len(greys(catalog, "out/animations/a.webp")) == 2
    kept = catalog.files()
    assert catalog.run(*more) == 0
    assert catalog.statuses() == ["skipped", "skipped"]
    for name in ("snapshots/a/000002.png", "animations/b.webp"):
        os.remove(catalog.uri(f"out/{name}"))
        assert catalog.run(*more) == 0
        assert sorted(catalog.statuses()) == ["ok", "skipped"]
        assert catalog.read(f"out/{name}") == kept[f"out/{name}"]


def test_other_settings_leave_no_stale_ones(catalog: Catalog) -> None:
    catalog.pairs(("a.png",))
    assert catalog.run(*SEEN, "--set", "animation=gif") == 0
    image = catalog.read("out/images/a.png")
    assert catalog.names("out/snapshots") == {"a/000002.png", "a/000004.png"}
    # What a killed run left, which no record tells of.
    catalog.write("out/snapshots/a/000099.png", b"half done")
    assert catalog.run("--set", "steps=5", "--set", "snapshot_every=3") == 0
    assert catalog.names("out/snapshots") == {"a/000003.png"}
    assert catalog.names("out/animations") == set()
    assert catalog.records()["a"]["snapshots"] == [catalog.uri("out/snapshots/a/000003.png")]
    assert catalog.run("--set", "steps=5") == 0
    assert catalog.names("out/snapshots") == set()
    assert catalog.records()["a"]["snapshots"] == []
    decoded = [np.asarray(Image.open(io.BytesIO(data))) for data in (image,)]
    assert (decoded[0] == catalog.pixels("a.png")).all()
