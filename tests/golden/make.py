"""Makes the golden files beside it: an output folder and a checkpoint of the version that runs it.

`python tests/golden/make.py VERSION`, once for a version, on its own checkout: what it writes is
what later versions have to read, so it is never made again.
"""

from __future__ import annotations

import io
import json
import os
import pathlib
import sys

import numpy as np
from gcp_storage_emulator.server import create_server
from PIL import Image

HERE = pathlib.Path(__file__).parent
BUCKET = "catalog"
# One scale of 64 px; float32, so that every machine computes alike.
SETTINGS = ("image_size=64", "scales=[1]", "steps=2", "precision=float32")
ROWS = [
    {"id": "plain", "content": "a.png", "style": "s.png"},
    {"id": "shoes/red", "content": "b.jpg", "style": "s.png", "sku": "A-17"},
    {"content": "a.png", "style": "s.png"},
    {"content": "Müller 1.png", "style": "s.png"},
    {"content": "写真一.png", "style": "風.png"},
    {"id": "weight", "content": "a.png", "style": "s.png", "options.content_weight": 0.5},
    {"id": "jpeg", "content": "b.jpg", "style": "s.png", "options.output_format": "jpeg"},
    {"id": "alpha", "content": "alpha.png", "style": "s.png"},
    {"id": "keep", "content": "a.png", "style": "s.png", "options.keep": "mask.png"},
    {
        "id": "masks",
        "content": "a.png",
        "style": [{"uri": "s.png", "mask": "mask.png"}, {"uri": "風.png", "weight": 0.5}],
    },
    {
        "id": "moving",
        "content": "a.png",
        "style": "s.png",
        "options.snapshot_every": 1,
        "options.animation": "webp",
    },
    {"id": "missing", "content": "none.png", "style": "s.png"},
    {"id": "plain", "content": "b.jpg", "style": "s.png"},
    {"id": "unknown", "content": "b.jpg", "style": "s.png", "options.sharpness": 3},
]


def picture(seed: int, alpha: bool = False) -> Image.Image:
    """A smooth picture of 64×48 px."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 6, 4 if alpha else 3), np.uint8)
    return Image.fromarray(coarse).resize((64, 48), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str) -> bytes:
    """The picture as a file."""
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def output(folder: pathlib.Path) -> None:
    """A catalog in a bucket, and the output of a run over it, copied to a folder."""
    server = create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    port = server._api._httpd.server_address[1]
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{port}"
    from pipeline import storage
    from pipeline.__main__ import main
    from pipeline.storage import gcs as storage_gcs

    storage_gcs.client().create_bucket(BUCKET, project="nst")
    root = f"gs://{BUCKET}/"
    grey = Image.fromarray(np.repeat(np.array([[255, 0]], np.uint8), 32, 1)).resize((64, 48))
    files = {
        "a.png": encoded(picture(1), "PNG"),
        "b.jpg": encoded(picture(2), "JPEG"),
        "s.png": encoded(picture(3), "PNG"),
        "風.png": encoded(picture(4), "PNG"),
        "Müller 1.png": encoded(picture(5), "PNG"),
        "写真一.png": encoded(picture(6), "PNG"),
        "alpha.png": encoded(picture(7, alpha=True), "PNG"),
        "mask.png": encoded(grey, "PNG"),
        "pairs.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
    }
    for name, data in files.items():
        storage.write_bytes(root + name, data, "application/octet-stream")
    settings = [text for one in SETTINGS for text in ("--set", one)]
    where = ["--manifest", f"{root}pairs.jsonl", "--output", f"{root}out", "--run-id", "golden"]
    assert main(["run", *where, "--weights", "procedural", *settings]) == 3
    for uri in storage.list_uris(f"gs://{BUCKET}"):
        path = folder / uri.removeprefix(root)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(storage.read_bytes(uri))
    server.stop()


def checkpoint(path: pathlib.Path) -> None:
    """What a long optimisation has saved after one step of four, of `inputs.interrupted`."""
    import inputs

    saved: list[dict[str, np.ndarray]] = []

    def save(_: int, arrays: object) -> None:
        saved.append({name: np.array(array) for name, array in arrays})

    engine, content, style, config = inputs.interrupted()
    engine.stylize_batch([content], [style], config, save=save)
    np.savez_compressed(path, **saved[0])


if __name__ == "__main__":
    version = sys.argv[1]
    checkpoint(HERE / f"checkpoint-{version}.npz")
    output(HERE / f"output-{version}")
