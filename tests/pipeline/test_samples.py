"""The sample images: the same every time, and worth looking at."""

import io
import itertools
import pathlib

import numpy as np
import pytest
from PIL import Image

from pipeline.samples import CONTENTS, STYLES, write_samples

WIDTH = 96
PICTURES = {**CONTENTS, **STYLES}
NAMES = list(PICTURES)


@pytest.fixture(scope="module")
def drawn() -> dict[str, Image.Image]:
    return {name: draw(WIDTH) for name, draw in PICTURES.items()}


def luminance(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), np.float32)


def encoded(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, quality=92)
    return file.getvalue()


def test_samples_are_written_where_promised_with_the_same_bytes_every_time(
    tmp_path: pathlib.Path, drawn: dict[str, Image.Image]
) -> None:
    root = tmp_path / "new" / "samples"
    contents, styles = write_samples(root, WIDTH)
    assert contents == [root / "contents" / f"{name}.jpg" for name in CONTENTS]
    assert styles == [root / "styles" / f"{name}.png" for name in STYLES]
    for path in contents:
        assert path.read_bytes() == encoded(drawn[path.stem], "JPEG")
    for path in styles:
        assert path.read_bytes() == encoded(drawn[path.stem], "PNG")


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_rgb_of_the_width_asked_for_and_four_to_three(
    name: str, drawn: dict[str, Image.Image]
) -> None:
    assert drawn[name].mode == "RGB"
    assert drawn[name].size == (WIDTH, WIDTH * 3 // 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_shadows_mid_tones_and_highlights(
    name: str, drawn: dict[str, Image.Image]
) -> None:
    tones = luminance(drawn[name])
    assert tones.std() > 35
    assert np.percentile(tones, 2) < 60
    assert np.percentile(tones, 98) > 165
    assert np.mean((tones > 60) & (tones < 180)) > 0.25


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_many_colours_and_is_not_grey(
    name: str, drawn: dict[str, Image.Image]
) -> None:
    pixels = np.asarray(drawn[name], np.int32).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 1500
    assert np.mean(pixels.max(axis=1) - pixels.min(axis=1)) > 25


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(NAMES, 2)))
def test_no_two_samples_look_alike(first: str, second: str, drawn: dict[str, Image.Image]) -> None:
    assert np.mean(np.abs(luminance(drawn[first]) - luminance(drawn[second]))) > 25


@pytest.mark.parametrize("name", ["river_town", "woodcut_wave"])
def test_a_sample_is_the_same_picture_at_another_width(
    name: str, drawn: dict[str, Image.Image]
) -> None:
    larger = PICTURES[name](150)
    assert larger.size == (150, 112)
    small = [
        luminance(image.resize((16, 12), Image.Resampling.BOX)) for image in (larger, drawn[name])
    ]
    assert np.mean(np.abs(small[0] - small[1])) < 12
