"""A small catalog, 8 contents × 2 styles, by `nst run` and by a loop over the notebook.

Both minimise the notebook's objective. `nst run` is the whole command, from the start of Python
to its end. Reference A is timed on some of the pairs, one after the other in a process that has
TensorFlow loaded, and its seconds per pair are multiplied. Losses are those of the finished 8-bit
pictures, both on the notebook's formula in float32: where `nst run` is not at or below reference
A, its wall time proves nothing (raise `--catalog-steps`).
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from benchmarks import references
from benchmarks.options import Options, cropped, drawn, resized
from benchmarks.time_to_loss import say
from nst_core.canvas import Size
from nst_core.network.loading import load_weights
from pipeline.manifest.writing import write_manifest
from tools.draw_samples import CONTENTS

CONTENT_COUNT = 8
STYLE_NAMES = ("swirling_strokes", "mosaic")


def write_catalog(folder: pathlib.Path, size: Size) -> list[tuple[str, pathlib.Path, pathlib.Path]]:
    """Draw the pictures and the manifest into a folder: id, content and style of each pair.

    The drawn contents, their mirror images, and parts of them.
    """
    whole = [cropped(drawn(name), size) for name in CONTENTS]
    parts = [one[: one.shape[0] * 3 // 4, : one.shape[1] * 3 // 4] for one in whole]
    contents = [*whole, *(one[:, ::-1] for one in whole), *parts][:CONTENT_COUNT]
    pairs = []
    for index, content in enumerate(contents):
        _write(folder / f"content{index}.png", cropped(content, size))
        for name in STYLE_NAMES:
            place = folder / f"{name}.png"
            if not place.exists():
                _write(place, drawn(name))
            pairs.append((f"content{index}--{name}", folder / f"content{index}.png", place))
    rows = ({"id": name, "content": str(c), "style": str(s)} for name, c, s in pairs)
    write_manifest(str(folder / "manifest.csv"), rows)
    return pairs


def run_catalog(folder: pathlib.Path, options: Options) -> float:
    """Wall time of `nst run` over the folder's manifest, s; the images lie in `output`."""
    settings = [f"image_height={options.catalog_size.height}", f"steps={options.catalog_steps}"]
    command = [sys.executable, "-m", "pipeline", "run", "--config", "notebook"]
    command += ["--manifest", str(folder / "manifest.csv"), "--output", str(folder / "output")]
    command += ["--weights", options.weights]
    for setting in settings:
        command += ["--set", setting]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def measure(folder: pathlib.Path, options: Options) -> list[list[str]]:
    """A row for each pair that reference A does too, and one for the whole catalog."""
    pairs = write_catalog(folder, options.catalog_size)
    wall = run_catalog(folder, options)
    extractor = references.keras_vgg19(load_weights(options.weights))
    count = min(options.reference_pairs, len(pairs))
    rows, seconds, as_low = [], [], True
    for index in np.linspace(0, len(pairs) - 1, count).round().astype(int):
        name, content, style = pairs[index]
        found = _read(folder / "output" / "images" / f"{name}.png")
        size = Size(found.shape[1], found.shape[0])
        start, stretched = (
            resized(_read(path), size, Image.Resampling.NEAREST) for path in (content, style)
        )
        loss = references.notebook_loss(extractor, start, stretched)
        a = references.by_scipy(
            loss, start, options.rounds, lambda *now, name=name: say(f"reference A, {name}", *now)
        )
        own, theirs = (references.loss_of(loss, _8_bit(image)) for image in (found, a.image))
        seconds.append(a.seconds)
        as_low &= own <= theirs
        verdict = "as low" if own <= theirs else "higher"
        rows.append([name, f"{a.seconds:.1f}", f"{theirs:.5g}", "", f"{own:.5g}", verdict])
    looped = len(pairs) * float(np.mean(seconds))
    ratio = f"{looped / wall:.1f}×" if as_low else "higher loss: no comparison"
    whole = f"{len(pairs)} pairs, {size} px (A: {count} timed, × {len(pairs) / count:g})"
    return [*rows, [whole, f"{looped:.1f}", "", f"{wall:.1f}", "", ratio]]


def _8_bit(image: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(np.clip(image, 0, 255)).astype(np.float32)
    return rounded


def _read(path: pathlib.Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def _write(path: pathlib.Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).save(path)


def table(options: Options) -> tuple[Sequence[str], list[list[str]]]:
    """Header and rows."""
    header = ["pair", "A, s", "A's loss", "nst run, s", "nst run's loss", "nst run"]
    with tempfile.TemporaryDirectory() as folder:
        return header, measure(pathlib.Path(folder), options)
