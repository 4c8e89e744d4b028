"""The sample images: as they were drawn, and worth looking at."""

import itertools
import pathlib

import numpy as np
import pytest
from PIL import Image

from tools.draw_samples.__main__ import SAMPLES, WIDTH, draw_samples

PATHS = sorted(SAMPLES.glob("*/*.jpg"))
NAMES = [path.stem for path in PATHS]


@pytest.fixture(scope="module")
def samples() -> dict[str, Image.Image]:
    found = {path.stem: Image.open(path) for path in PATHS}
    for image in found.values():
        image.load()
    return found


def luminance(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L"), np.float32)


def test_there_are_three_contents_and_three_styles() -> None:
    assert [path.parent.name for path in PATHS] == ["contents"] * 3 + ["styles"] * 3


@pytest.mark.slow
def test_drawing_again_gives_the_same_pictures(
    tmp_path: pathlib.Path, samples: dict[str, Image.Image]
) -> None:
    draw_samples(tmp_path)
    for path in sorted(tmp_path.glob("*/*.jpg")):
        with Image.open(path) as drawn:
            difference = np.abs(luminance(drawn) - luminance(samples.pop(path.stem)))
        # Another version of the JPEG library may round otherwise.
        assert difference.mean() < 1
    assert not samples


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_rgb_and_four_to_three(name: str, samples: dict[str, Image.Image]) -> None:
    assert samples[name].mode == "RGB"
    assert samples[name].size == (WIDTH, WIDTH * 3 // 4)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_shadows_mid_tones_and_highlights(
    name: str, samples: dict[str, Image.Image]
) -> None:
    tones = luminance(samples[name])
    assert tones.std() > 35
    assert np.percentile(tones, 2) < 60
    assert np.percentile(tones, 98) > 165
    assert np.mean((tones > 60) & (tones < 180)) > 0.25


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_many_colours_and_is_not_grey(
    name: str, samples: dict[str, Image.Image]
) -> None:
    pixels = np.asarray(samples[name].resize((96, 72)), np.int32).reshape(-1, 3)
    assert len(np.unique(pixels, axis=0)) > 1500
    assert np.mean(pixels.max(axis=1) - pixels.min(axis=1)) > 25


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(NAMES, 2)))
def test_no_two_samples_look_alike(
    first: str, second: str, samples: dict[str, Image.Image]
) -> None:
    assert np.mean(np.abs(luminance(samples[first]) - luminance(samples[second]))) > 25
