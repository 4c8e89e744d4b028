"""`nst export --format tensorboard`: TensorFlow's own reader finds the numbers of the loss logs."""

from __future__ import annotations

import csv
import io
import json
import pathlib
import shutil
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline import storage
from pipeline.__main__ import main

Catalog = Any
GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "output-0.1.0" / "out"
FILE_NAME = "events.out.tfevents.nst"


def events_of(path: pathlib.Path) -> list[Any]:
    """The events of a file but the first, which tells the version."""
    first, *events = [
        tf.compat.v1.Event.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]
    assert first.file_version == "brain.Event:2"
    return events


def scalars_of(events: list[Any]) -> dict[str, dict[int, float]]:
    """The scalars by tag and step."""
    found: dict[str, dict[int, float]] = {}
    for event in events:
        for value in event.summary.value:
            if value.WhichOneof("value") == "simple_value":
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def images_of(events: list[Any]) -> dict[tuple[str, int], Image.Image]:
    """The images by tag and step."""
    return {
        (value.tag, event.step): Image.open(io.BytesIO(value.image.encoded_image_string))
        for event in events
        for value in event.summary.value
        if value.WhichOneof("value") == "image"
    }


def check_scalars(events: list[Any], log: bytes) -> None:
    """All terms and layers of a loss log, at every step."""
    rows = list(csv.DictReader(io.StringIO(log.decode())))
    scalars = scalars_of(events)
    terms = [name for name in rows[0] if name in ("total", "content", "style", "tv")]
    layers = [name for name in rows[0] if name.startswith("style/")]
    assert len(terms) == 4
    assert layers
    assert {*scalars} == {*(f"loss/{name}" for name in terms), *layers}
    for name in (*terms, *layers):
        values = scalars[name if name in layers else f"loss/{name}"]
        assert list(values) == [int(row["step"]) for row in rows]
        np.testing.assert_allclose([*values.values()], [float(r[name]) for r in rows], rtol=1e-6)
    times = [event.wall_time for event in events if event.summary.value[0].tag == "loss/total"]
    seconds = [float(row["seconds"]) for row in rows]
    np.testing.assert_allclose(np.diff(times), np.diff(seconds), atol=1e-5)


def test_every_pair_of_a_run_is_a_run_of_tensorboards(
    catalog: Catalog, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog.pairs(("a.png", "b.png"))
    assert catalog.run("--set", "snapshot_every=1") == 0
    arguments = ["export", catalog.uri("out"), "--format", "tensorboard"]
    for _ in range(2):  # In place of what is there.
        assert main(arguments) == 0
        assert "2 of 2 results\n" in capsys.readouterr().out
    folder = f"{catalog.run_folder}/tensorboard"
    assert catalog.names(folder) == {f"a/{FILE_NAME}", f"b/{FILE_NAME}"}
    for name in "ab":
        events = events_of(pathlib.Path(catalog.uri(f"{folder}/{name}/{FILE_NAME}")))
        check_scalars(events, catalog.read(f"out/losses/{name}.csv"))
        images = images_of(events)
        assert {*images} == {
            ("images/content", 0),
            ("images/style", 0),
            ("images/result", 1),
            ("images/result", 2),
        }
        last = np.asarray(images["images/result", 2].convert("RGB"), np.int16)
        assert (last == catalog.pixels(f"{name}.png")).all()
        assert images["images/content", 0].size == (64, 48)
    # Neither the runs nor the report take them for something else.
    capsys.readouterr()
    assert main(["status", catalog.uri("out"), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 1
    assert main(["report", catalog.uri("out")]) == 0


def test_results_of_an_earlier_version_go_to_a_destination(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, target = tmp_path / "out", tmp_path / "events"
    shutil.copytree(GOLDEN, output)
    (output / "losses/keep.csv").unlink()
    (output / "losses/weight.csv").write_text("step\n")
    endless = output / "losses/plain.csv"
    endless.write_text(endless.read_text().replace("\n1,", "\ninf,"))
    (output / "images/alpha.png").write_bytes(b"no image")
    arguments = ["export", str(output), "--format=tensorboard", "-o", str(target)]
    assert main(arguments) == 3
    said = capsys.readouterr().out
    assert "7 of 11 results" in said
    assert "(keep): the image or loss log is gone" in said
    assert "does a pair again whose image is gone" in said  # A loss log is not looked for.
    assert "(alpha, plain, weight): the record, image or loss log is damaged" in said
    events = events_of(target / "moving" / FILE_NAME)
    check_scalars(events, (output / "losses/moving.csv").read_bytes())
    assert {*images_of(events)} == {("images/result", 1), ("images/result", 2)}
    assert main(arguments) == 2
    assert "holds files already" in capsys.readouterr().err


def test_events_of_a_bucket_go_into_it(gcs: Any, tmp_path: pathlib.Path) -> None:
    for path in GOLDEN.rglob("*.*"):
        name = path.relative_to(GOLDEN).as_posix()
        storage.write_bytes(gcs.uri(f"out/{name}"), path.read_bytes(), "application/octet-stream")
    assert main(["export", gcs.uri("out"), "--format=tensorboard", "--ids", "moving"]) == 0
    (found,) = [uri for uri in storage.list_uris(gcs.uri("out/runs")) if uri.endswith(FILE_NAME)]
    assert found == gcs.uri(f"out/runs/golden/tensorboard/moving/{FILE_NAME}")
    (tmp_path / FILE_NAME).write_bytes(storage.read_bytes(found))
    events = events_of(tmp_path / FILE_NAME)
    check_scalars(events, (GOLDEN / "losses/moving.csv").read_bytes())


def test_of_many_pairs_the_worst_are_chosen_and_it_is_said(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.commands.export.WORST_OF_TENSORBOARD", 2)
    target = str(tmp_path / "events")
    assert main(["export", str(GOLDEN), "--format=tensorboard", "-o", target]) == 0
    assert "2 of 11 results, the farthest from others of their style" in capsys.readouterr().out
    one = str(tmp_path / "one")
    named = ["--ids", "shoes/red", "plain", "jpeg"]
    assert main(["export", str(GOLDEN), "--format=tensorboard", "-o", one, *named]) == 0
    assert "3 of 11 results\n" in capsys.readouterr().out
    assert (tmp_path / "one/shoes/red" / FILE_NAME).is_file()
