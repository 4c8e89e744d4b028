"""Records: names from which ids come back, fingerprints that tell pixels apart."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from nst_core.config import SETTINGS, StyleConfig
from nst_core.identity import ALIKE_VERSIONS, ENGINE_VERSION
from pipeline.pairs.parsing import Pair, StyleReference
from pipeline.records import fingerprints, records

if TYPE_CHECKING:
    import pathlib

PAIR = Pair("town", "/c/town.png", (StyleReference("/s/wave.png"),), {}, {}, {})
# A changed value for every setting that decides the pixels.
CHANGED: dict[str, Any] = {
    "image_size": 64,
    "image_height": 64,
    "smallest_side": 16,
    "resample": "nearest",
    "canvas_multiple": 16,
    "scales": (0.25, 1.0),
    "steps": (80, 41),
    "optimizer": "adam",
    "learning_rate": 4.5,
    "tolerance": 0.1,
    "content_layers": {"block5_conv2": 1.0},
    "style_layers": {"block1_conv1": 1.0},
    "content_weight": 0.06,
    "style_weight": 2.0,
    "tv_weight": 0.2,
    "tv_norm": "l1",
    "normalize_gradients": True,
    "normalization": "none",
    "style_statistics": "covariance",
    "style_scale": 2.0,
    "style_fit": "stretch",
    "pooling": "max",
    "padding": "zero",
    "init": "noise",
    "keep": "/c/keep.png",
    "seed": 1,
    "precision": "float32",
    "average_decay": 0.5,
    "betas": [0.99, 0.99],
    "clip_pixels": False,
    "content_colors": "own",
    "preserve_colors": "luminance",
    "output_size": "original",
    "output_format": "webp",
    "jpeg_quality": 50,
    "snapshot_every": 5,
    "animation": "webp",
}
NO_PIXEL: dict[str, Any] = {
    "device": "cpu",
    "tile": 64,
    "deadline_seconds": 9.0,
    "checkpoint_seconds": 0.0,
    "metadata": "none",
    "max_pixels": 5000,
    "max_bytes": 70,
    "decode_seconds": 7.0,
}


def mark(pair: Pair = PAIR, weights: str = "procedural:1", **changes: Any) -> str:
    """The fingerprint of a pair under a changed configuration, of images that are their URIs."""
    if changes.keys() & {"average_decay", "betas", "normalize_gradients"}:
        changes["optimizer"] = "adam"
    if changes.get("animation"):
        changes["snapshot_every"] = 10
    config = StyleConfig().updated(changes)
    checksums = (uri for _, uri in fingerprints.roles_of(pair, config))
    return fingerprints.fingerprint(fingerprints.recipe(pair, config, weights), checksums)


def test_a_fingerprint_is_16_hex_digits_and_the_same_again() -> None:
    assert mark() == mark()
    assert len(bytes.fromhex(mark())) == 8


def test_every_setting_is_known_to_decide_the_pixels_or_not() -> None:
    assert {*CHANGED, *NO_PIXEL, "weights"} == set(SETTINGS)


@pytest.mark.parametrize("key", CHANGED)
def test_a_setting_that_decides_the_pixels_changes_the_fingerprint(key: str) -> None:
    assert mark(**{key: CHANGED[key]}) != mark()


@pytest.mark.parametrize("key", NO_PIXEL)
def test_a_setting_that_changes_no_pixel_keeps_the_fingerprint(key: str) -> None:
    assert mark(**{key: NO_PIXEL[key]}) == mark()


def test_the_canvas_of_auto_counts_as_the_default_of_before() -> None:
    # Made by the version whose default was 32: what it has done stays done.
    for config in (StyleConfig(canvas_multiple=32), StyleConfig()):
        former = fingerprints.former_fingerprints(PAIR, config, "procedural:1")
        assert "b01b32cfb0dbea79" in former
    assert mark(canvas_multiple="auto") == mark(canvas_multiple=32)
    assert len({mark(canvas_multiple=one) for one in ("auto", "grid", 1)}) == 3


def test_equal_numbers_and_orders_have_one_fingerprint() -> None:
    assert mark(style_weight=1, tv_weight=2) == mark(style_weight=1.0, tv_weight=2.0)
    layers = {"block1_conv1": 1, "block2_conv1": 0.5}
    swapped = dict(reversed(layers.items()))
    assert mark(style_layers=layers) == mark(style_layers=swapped)
    assert mark(scales=[0.5, 1]) == mark(scales=[0.5, 1.0])


def test_other_weights_have_another_fingerprint_and_other_names_for_them_have_not() -> None:
    assert mark(weights="sha256:aa") != mark(weights="sha256:bb")
    one = StyleConfig().updated({"weights": "/here/vgg.h5"})
    other = StyleConfig().updated({"weights": "/there/vgg.h5"})
    recipes = {fingerprints.recipe(PAIR, config, "sha256:aa") for config in (one, other)}
    assert len(recipes) == 1


def test_sources_decide_and_ids_and_other_columns_do_not() -> None:
    same = dataclasses.replace(PAIR, id="other", columns={"price": 3}, row={"content": "x"})
    assert mark(same) == mark()
    for change in (
        {"content": "/c/lake.png"},
        {"styles": (StyleReference("/s/mosaic.png"),)},
        {"styles": (StyleReference("/s/wave.png", 2.0),)},
        {"styles": (StyleReference("/s/wave.png", mask="/c/left.png"),)},
        {"styles": (StyleReference("/s/wave.png"), StyleReference("/s/mosaic.png"))},
    ):
        assert mark(dataclasses.replace(PAIR, **change)) != mark()


def test_a_new_engine_version_does_every_catalog_again() -> None:
    config = StyleConfig()
    recipes = {fingerprints.recipe(PAIR, config, "w", one) for one in (ENGINE_VERSION, "x")}
    assert len(recipes) == 2


def test_where_images_lie_decides_nothing_but_which_is_which_does() -> None:
    config = StyleConfig(init="/c/start.png")
    moved = dataclasses.replace(PAIR, content="gs://b/town.png")
    recipes = {
        fingerprints.recipe(PAIR, config, "w"),
        fingerprints.recipe(moved, config.updated({"init": "/d/other.png"}), "w"),
    }
    assert len(recipes) == 1
    assert fingerprints.fingerprint("r", ["a", "b"]) != fingerprints.fingerprint("r", ["b", "a"])
    assert next(iter(recipes)) != fingerprints.recipe(PAIR, StyleConfig(), "w")


def test_of_the_same_images_it_counts_which_are_masks() -> None:
    one, other = (
        dataclasses.replace(PAIR, styles=styles)
        for styles in (
            (StyleReference("/1", mask="/2"), StyleReference("/3")),
            (StyleReference("/1"), StyleReference("/2", mask="/3")),
        )
    )
    read = [[uri for _, uri in fingerprints.roles_of(it, StyleConfig())] for it in (one, other)]
    assert read[0] == read[1]
    assert mark(one) != mark(other)


@pytest.mark.parametrize("pair_id", ["town", "a/b/town", "v1.2", "a.0123456789abcdef", "x.json"])
def test_id_and_fingerprint_come_back_from_a_record_s_name(pair_id: str) -> None:
    uri = records.record_uri("gs://b/o", pair_id, mark())
    name = uri.removeprefix("gs://b/o/records/")
    assert records.parse_record_name(name) == (pair_id, mark())


@pytest.mark.parametrize("name", ["readme.txt", "town.json", "town.0123.json", ".nst-tmp-1"])
def test_a_file_that_is_no_record_is_none(name: str) -> None:
    assert records.parse_record_name(name) is None


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff\xfe", b'{"id"', b"[" * 99_999])
def test_what_no_run_has_written_is_no_record(tmp_path: pathlib.Path, content: bytes) -> None:
    path = tmp_path / "town.0123456789abcdef.json"
    path.write_bytes(content)
    assert records.read_record(str(path)) is None


@pytest.mark.parametrize(
    ("output_format", "extension"),
    [("png", "png"), ("jpeg", "jpg"), ("webp", "webp"), ("tiff", "tiff"), ("avif", "avif")],
)
def test_an_image_is_named_for_its_id_and_format(output_format: str, extension: str) -> None:
    config = StyleConfig(output_format=output_format)
    assert records.image_uri("/o", "a/b", config) == f"/o/images/a/b.{extension}"
    assert records.losses_uri("/o", "a/b") == "/o/losses/a/b.csv"


def test_versions_name_the_engine_and_what_it_stands_on() -> None:
    assert {"engine", "tensorflow", "numpy", "pillow", "apache-beam"} <= records.versions().keys()
    assert "not installed" not in records.versions().values()


def test_json_is_utf8_with_a_final_newline() -> None:
    data = records.to_json({"title": "größe-猫"})
    assert data.endswith(b"}\n")
    assert "größe-猫".encode() in data
    assert json.loads(data) == {"title": "größe-猫"}
    assert records.to_json({"a": 1, "b": [2]}) == b'{\n  "a": 1,\n  "b": [2]\n}\n'


def test_what_earlier_engines_have_done_by_their_defaults_is_done() -> None:
    config = StyleConfig().updated({"image_size": 300})
    before = config.updated({"steps": [60, 40]})
    for engine in ALIKE_VERSIONS:
        done = fingerprints.recipe(PAIR, before, "w", engine)
        assert done in fingerprints.alike_recipes(PAIR, config, "w")
        # Who asks for other steps gets what these come to.
        for change in ({"steps": [41, 26]}, {"scales": [0.4, 1]}, {"optimizer": "adam"}):
            other = config.updated(change)
            assert done not in fingerprints.alike_recipes(PAIR, other, "w")
    now = fingerprints.recipe(PAIR, before, "w")
    assert now not in fingerprints.alike_recipes(PAIR, config, "w")


def test_what_engines_whose_pictures_look_alike_have_done_is_told_from_others() -> None:
    pair, config = PAIR, StyleConfig().updated({"steps": 100})
    alike = list(fingerprints.alike_recipes(pair, config, "w"))
    assert len(alike) == len(ALIKE_VERSIONS)
    assert fingerprints.recipe(pair, config, "w") not in alike
    assert fingerprints.recipe(pair, config, "w", ALIKE_VERSIONS[0]) == alike[0]
    assert fingerprints.recipe(pair, config, "v", ALIKE_VERSIONS[0]) != alike[0]
