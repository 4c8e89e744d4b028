"""A made-up output of so many records, as runs leave them, for the report: no network runs."""

from __future__ import annotations

import io
import json
import os
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from nst_core.config import StyleConfig
from pipeline.records.records import versions

STYLES = 12
CONTENTS = 50  # with thumbnails of their own; others share these
THUMBNAIL = (240, 180)
POINTS = 40


def write(output: pathlib.Path, pairs: int, *, pictures: int = 400) -> None:
    """Records of so many pairs; thumbnails are links to `pictures` different ones, 0 for none."""
    generator = np.random.default_rng(0)
    thumbnails = _pictures(output / "made", generator, pictures)
    sources = [f"source_thumbnails/{number:016x}.webp" for number in range(CONTENTS + STYLES)]
    (output / "source_thumbnails").mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(sources if thumbnails else ()):
        os.link(thumbnails[number % len(thumbnails)], output / path)
    config = StyleConfig(weights="procedural").to_dict()
    for number in range(pairs):
        folder = f"shelf{number // 1000:05d}"
        if number % 1000 == 0:
            for kind in ("records", "thumbnails"):
                (output / kind / folder).mkdir(parents=True, exist_ok=True)
        name = f"{folder}/item{number:08d}"
        record = _record(name, number, generator, config, sources)
        (output / f"records/{name}.{number:016x}.json").write_text(json.dumps(record))
        if thumbnails:
            os.link(thumbnails[number % len(thumbnails)], output / f"thumbnails/{name}@240.webp")


def _pictures(folder: pathlib.Path, generator: Any, count: int) -> list[pathlib.Path]:
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for number in range(count):
        coarse = generator.integers(0, 256, (9, 12, 3)).astype(np.uint8)
        image = Image.fromarray(coarse).resize(THUMBNAIL, Image.Resampling.BICUBIC)
        stream = io.BytesIO()
        image.save(stream, "WEBP", quality=80)
        found.append(folder / f"{number}.webp")
        found[-1].write_bytes(stream.getvalue())
    return found


def _record(
    name: str, number: int, generator: Any, config: dict[str, Any], sources: list[str]
) -> dict[str, Any]:
    style = number % STYLES
    loss = float(np.exp(generator.normal(style / 4, 0.2)))
    terms = {"total": loss, "content": 0.6 * loss, "style": 0.39 * loss, "tv": 0.01 * loss}
    fall = np.geomspace(20, 1, POINTS)
    curve = {term: [float(f"{value * x:.4g}") for x in fall] for term, value in terms.items()}
    return {
        "id": name,
        "status": "ok",
        "run": f"run{number * 4 // 1_000_000}",
        "sources": {
            "content": f"gs://shop/photos/{number // STYLES:07d}.jpg",
            "styles": [{"uri": f"gs://shop/styles/style{style:02d}.jpg", "weight": 1.0}],
        },
        "image": f"gs://shop/out/images/{name}.png",
        "snapshots": [],
        "animation": None,
        "thumbnails": {
            "result": f"thumbnails/{name}@240.webp",
            "content": sources[number // STYLES % CONTENTS],
            "styles": [sources[CONTENTS + style]],
        },
        "config": config,
        "weights": {"name": "procedural", "sha256": "0" * 64},
        "width": 512,
        "height": 384,
        "quality": {"gram_errors": {"block1_conv1": loss / 9}, "ssim": 0.5 + 0.01 * (number % 40)},
        "steps": 100,
        "terms": {"first": {term: 20 * value for term, value in terms.items()}, "final": terms},
        "curve": {"step": list(range(1, 1 + POINTS)), **curve},
        "seconds": {"read": 0.1, "optimize": 0.4, "write": 0.1},
        "batch": 8,
        "device": "NVIDIA H100",
        "precision": "bfloat16",
        "versions": versions(),
        "columns": {"sku": f"A-{number:08d}", "shelf": str(number % 7)},
        "finished_at": f"2026-11-{1 + number % 28:02d}T{number % 24:02d}:00:00+00:00",
    }
