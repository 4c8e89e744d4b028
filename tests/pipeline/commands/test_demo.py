"""`nst demo`: the job on the package's own pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

from pipeline import storage
from pipeline.commands.demo import CONFIG, PAIRS, demo

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def test_a_demo_stylizes_the_samples_and_shows_them_on_a_sheet(catalog: Catalog) -> None:
    small = {"image_size": 64, "scales": [1], "steps": 2, "precision": "float32"}
    pairs = PAIRS[1:3]
    assert demo(catalog.uri("out"), "procedural", pairs, CONFIG.updated(small)) == 0
    assert catalog.names("out/images") == {f"{content}--{style}.png" for content, style in pairs}
    with Image.open(io.BytesIO(catalog.read("out/contact_sheet.png"))) as sheet:
        assert sheet.width > sheet.height
    samples = catalog.names("out/samples")
    assert len(samples) == 6
    assert storage.read_bytes(catalog.uri("out/samples/styles/mosaic.jpg"))[:3] == b"\xff\xd8\xff"
