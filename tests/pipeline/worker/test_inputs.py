"""What is read for one pair, and what is refused before any work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nst_core.canvas import Size
from nst_core.config import StyleConfig
from nst_core.errors import InputNotFound, InputTooLarge, InputTooSmall, OptionsInvalid
from pipeline import storage
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.worker.inputs import HEADER_BYTES, read_inputs, read_size

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog


def pair(catalog: Catalog, *masks: str) -> Pair:
    """A pair of the catalog whose styles have these masks; an empty name for none."""
    uris = [catalog.uri(mask) if mask else None for mask in masks or ("",)]
    styles = tuple(StyleReference(catalog.uri("s.png"), mask=uri) for uri in uris)
    return Pair("a", catalog.uri("a.png"), styles, {}, {}, {})


def config(**changes: Any) -> StyleConfig:
    """The configuration with changes."""
    return StyleConfig().updated(changes)


def test_a_format_that_cannot_hold_the_original_s_size_is_refused(catalog: Catalog) -> None:
    catalog.picture("a.png", (17000, 300))
    with pytest.raises(InputTooLarge, match=r"17000x300 px, and webp holds at most 16383"):
        read_inputs(pair(catalog), config(output_size="original", output_format="webp"))
    for fine in ({"output_size": "original"}, {"output_format": "webp"}):
        read = read_inputs(pair(catalog), config(image_size=1024, **fine))
        assert read.picture.original == Size(17000, 300)


def test_a_strip_is_read_as_large_as_its_smallest_side_takes(catalog: Catalog) -> None:
    catalog.picture("a.png", (1600, 20))
    with pytest.raises(InputTooSmall, match=r"1600x20 px and becomes 512x6 px.*smallest_side"):
        read_inputs(pair(catalog), config())
    read = read_inputs(pair(catalog), config(smallest_side=16)).picture
    assert (read.rgb.shape, read.original) == ((16, 1280, 3), Size(1600, 20))


@pytest.mark.parametrize("damage", [b"\xff\xff", b""])
def test_the_first_part_of_a_file_alone_does_not_fail_its_pair(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch, damage: bytes
) -> None:
    uri = catalog.picture("a.bmp", (300, 200))
    read = storage.read_bytes

    def damaged(uri: str, *, first: int | None = None, **limits: Any) -> bytes:
        data = read(uri, first=first, **limits)
        if first is None:
            return data
        # A part is not verified; here the width is another, or the format is none.
        return data[:20] + damage + data[22:] if damage else b"?" * len(data)

    monkeypatch.setattr(storage, "read_bytes", damaged)
    assert len(catalog.read("a.bmp")) > HEADER_BYTES
    assert read_size(uri, config(max_pixels=60000)) == Size(300, 200)


def test_masks_are_luminances_from_0_to_1_in_the_order_of_the_styles(catalog: Catalog) -> None:
    catalog.picture("a.png")
    catalog.grey("m.png", [[0, 51, 255]], (32, 24))
    catalog.grey("half.png", [[255]], alpha=51)
    read = read_inputs(pair(catalog, "", "m.png", "half.png"), config(keep=catalog.uri("m.png")))
    none, mask, half = read.masks
    assert none is None
    assert mask is not None
    assert half is not None
    assert (mask.dtype, mask.shape) == (np.float32, (24, 32))
    np.testing.assert_allclose(mask[:, [0, 15, 31]], [[0, 0.2, 1]] * 24, atol=1e-6)
    # What is transparent is black, whatever colour is hidden there.
    np.testing.assert_allclose(half, 0.2, atol=0.005)
    assert read.keep is mask


@pytest.mark.parametrize("size", [(64, 48), (640, 480), (65, 48), (16, 12)])
def test_a_mask_may_have_any_size_of_the_content_s_shape(
    catalog: Catalog, size: tuple[int, int]
) -> None:
    catalog.picture("a.png")
    catalog.grey("m.png", [[0, 255]], size)
    assert read_inputs(pair(catalog, "m.png"), config()).masks[0] is not None


@pytest.mark.parametrize("size", [(48, 64), (64, 64), (66, 48), (64, 50)])
def test_a_mask_of_another_shape_is_refused(catalog: Catalog, size: tuple[int, int]) -> None:
    catalog.picture("a.png")
    catalog.grey("m.png", [[0, 255]], size)
    shown = rf"m\.png is {size[0]}x{size[1]} px.*a\.png 64x48 px.*draw"
    with pytest.raises(OptionsInvalid, match=shown):
        read_inputs(pair(catalog, "m.png"), config())
    with pytest.raises(OptionsInvalid, match=shown):
        read_inputs(pair(catalog), config(keep=catalog.uri("m.png")))


def test_masks_that_leave_nothing_to_do_are_refused(catalog: Catalog) -> None:
    catalog.picture("a.png")
    catalog.grey("black.png", [[0]])
    catalog.grey("white.png", [[255]])
    with pytest.raises(OptionsInvalid, match=r"black\.png is black everywhere.*draw white"):
        read_inputs(pair(catalog, "white.png", "black.png"), config())
    with pytest.raises(OptionsInvalid, match=r"keep is .*white\.png.* white everywhere"):
        read_inputs(pair(catalog), config(keep=catalog.uri("white.png")))
    assert read_inputs(pair(catalog, "white.png"), config(keep=catalog.uri("black.png")))


def test_a_mask_that_is_not_there_is_not_found(catalog: Catalog) -> None:
    catalog.picture("a.png")
    for wanted in (pair(catalog, "none.png"), pair(catalog)):
        with pytest.raises(InputNotFound, match=r"none\.png"):
            read_inputs(wanted, config(keep=catalog.uri("none.png")))
