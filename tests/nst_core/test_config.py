"""Settings: documented, validated, comparable, the same from code and from YAML."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import pathlib
import pickle
import re
from typing import Any

import numpy as np
import pytest

from nst_core import config_checks
from nst_core.config import PRESETS, SETTINGS, StyleConfig, preset, unknown_setting
from nst_core.errors import ConfigError
from nst_core.setting_text import URI_SETTINGS, parse_setting, parse_settings, parse_value

# The names that the design promises.
PROMISED = [
    "weights",
    "image_size",
    "image_height",
    "scales",
    "steps",
    "optimizer",
    "learning_rate",
    "tolerance",
    "content_layers",
    "style_layers",
    "content_weight",
    "style_weight",
    "tv_weight",
    "style_statistics",
    "style_scale",
    "style_fit",
    "pooling",
    "padding",
    "init",
    "seed",
    "precision",
    "device",
    "average_decay",
    "betas",
    "preserve_colors",
    "tile",
    "deadline_seconds",
    "output_format",
    "jpeg_quality",
    "max_pixels",
    "max_bytes",
]


def test_every_promised_setting_is_there_and_every_setting_is_documented() -> None:
    assert set(PROMISED) <= set(SETTINGS)
    assert all(len(text.split()) >= 2 for text in SETTINGS.values())
    assert list(SETTINGS) == [field.name for field in dataclasses.fields(StyleConfig)]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads(name: str) -> None:
    assert isinstance(preset(name), StyleConfig)


def test_the_default_preset_is_the_defaults() -> None:
    assert preset("default") == StyleConfig()
    assert preset("default").key() == StyleConfig().key()


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    names = "default, preview, quality, notebook, neural_style"
    with pytest.raises(ConfigError, match=rf"'fancy' is not a preset.*{names}\.$"):
        preset("fancy")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("learning_rat", "learning_rate"), ("imagesize", "image_size"), ("Steps", "steps")],
)
def test_an_unknown_key_names_the_nearest(key: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        StyleConfig().updated({key: 1})
    assert_one_sentence(str(caught.value), key, nearest)


def test_a_key_near_to_nothing_lists_the_known_ones() -> None:
    assert all(name in unknown_setting("zzzzzz") for name in SETTINGS)


REFUSED: list[tuple[str, Any, str]] = [
    ("weights", "", "path"),
    ("weights", 3, "path"),
    ("image_size", 15, "16 to 8192"),
    ("image_size", 8193, "16 to 8192"),
    ("image_size", 512.5, "16 to 8192"),
    ("image_size", True, "16 to 8192"),
    ("image_size", "512", "16 to 8192"),
    ("image_height", 15, "16 to 8192"),
    ("resample", "cubic", "lanczos, nearest"),
    ("canvas_multiple", 0, "1 to 512"),
    ("canvas_multiple", 513, "1 to 512"),
    ("canvas_multiple", "off", "auto, grid"),
    ("canvas_multiple", True, "auto, grid"),
    ("scales", [], "[0.5, 1]"),
    ("scales", [1, 0.5], "[0.5, 1]"),
    ("scales", [0.5, 0.5, 1], "[0.5, 1]"),
    ("scales", [0.5], "[0.5, 1]"),
    ("scales", [0, 1], "[0.5, 1]"),
    ("scales", 1, "[0.5, 1]"),
    ("scales", ["a", 1], "[0.5, 1]"),
    ("steps", 0, "at least 1"),
    ("steps", [], "at least 1"),
    ("steps", [10, 0], "at least 1"),
    ("steps", 2.5, "at least 1"),
    ("steps", [[1], 2], "at least 1"),
    ("optimizer", "sgd", "lbfgs, adam"),
    ("optimizer", ["adam"], "lbfgs, adam"),
    ("learning_rate", 0, "above 0"),
    ("learning_rate", math.nan, "above 0"),
    ("learning_rate", "fast", "above 0"),
    ("learning_rate", None, "above 0"),
    ("tolerance", -0.1, "at least 0 and at most 1"),
    ("tolerance", 1.1, "at least 0 and at most 1"),
    ("content_layers", {}, "block1_conv1 to block5_conv4"),
    ("content_layers", {"block6_conv1": 1}, "block1_conv1 to block5_conv4"),
    ("content_layers", {"block1_conv1": -1, "block2_conv1": 2}, "at least 0"),
    ("content_layers", {"block1_conv1": 0}, "weight"),
    ("content_layers", {datetime.date(2020, 1, 1): 1}, "block1_conv1"),
    ("style_layers", ["block1_conv1"], "each with a weight"),
    ("style_layers", {"block1_conv1": 10**400}, "each with a weight"),
    ("content_weight", -1, "at least 0"),
    ("content_weight", math.inf, "at least 0"),
    ("content_weight", 10**400, "at least 0"),
    ("style_weight", -1, "at least 0"),
    ("tv_weight", False, "at least 0"),
    ("tv_norm", "l3", "notebook, l1, l2"),
    ("normalization", "unit", "energy, mean, none"),
    ("normalize_gradients", 1, "true or false"),
    ("style_statistics", "mean", "gram, covariance, wasserstein"),
    ("content_colors", "none", "style, own"),
    ("style_scale", 0.05, "at least 0.1 and at most 4"),
    ("style_scale", 5, "at least 0.1 and at most 4"),
    ("style_fit", "crop", "keep, stretch"),
    ("pooling", "min", "average, max, l2"),
    ("padding", "same", "reflect, zero"),
    ("init", "", "path"),
    ("keep", "", "path"),
    ("seed", -1, "0 to 2147483647"),
    ("seed", 2**31, "0 to 2147483647"),
    ("precision", "float16", "float32, bfloat16, auto"),
    ("device", "tpu", "auto, gpu, cpu"),
    ("average_decay", 1, "at least 0 and at most 0.9999"),
    ("betas", [0.9], "two numbers"),
    ("betas", [0.9, 1], "at most 0.9999"),
    ("betas", 0.9, "two numbers"),
    ("clip_pixels", 1, "true or false"),
    ("preserve_colors", "all", "none, luminance, covariance, histogram"),
    ("deadline_seconds", -1, "at least 0"),
    ("checkpoint_seconds", -1, "at least 0"),
    ("output_size", "double", "canvas, original"),
    ("output_format", "gif", "png, jpeg, webp, tiff, avif"),
    ("smallest_side", 15, "16 to 8192"),
    ("smallest_side", False, "0, or a whole number"),
    ("smallest_side", 8193, "16 to 8192"),
    ("jpeg_quality", 0, "1 to 100"),
    ("jpeg_quality", 101, "1 to 100"),
    ("metadata", "all", "full, id, none"),
    ("snapshot_every", -1, "0 to 1000000"),
    ("animation", "png", "none, webp, gif"),
    ("max_pixels", 255, "256 to"),
    ("max_pixels", 10**9, "256 to"),
    ("tile", 72, "a multiple of 16"),
    ("max_bytes", 0, "1 to"),
    ("init", " ", "a name, a path or a URI"),
    ("decode_seconds", -1, "at least 0 and at most 86400"),
]


@pytest.mark.parametrize(("key", "value", "advice"), REFUSED)
def test_a_value_out_of_range_is_refused_with_key_value_and_advice(
    key: str, value: Any, advice: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        StyleConfig().updated({key: value})
    assert_one_sentence(str(caught.value), f"{key} is ", "; give ", advice)
    if isinstance(value, str | int) and not isinstance(value, bool):
        assert str(value)[:100] in str(caught.value)


def test_every_setting_has_a_value_that_is_refused() -> None:
    assert {key for key, _, _ in REFUSED} == set(SETTINGS)


def assert_one_sentence(message: str, *parts: str) -> None:
    assert "\n" not in message
    assert message.endswith(".")
    assert not message.endswith("?.")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": None},
        {"image_size": 512, "image_height": 400},
        {"image_size": None, "image_height": None},
    ],
)
def test_exactly_one_of_image_size_and_image_height_is_given(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        StyleConfig().updated(changes)
    assert_one_sentence(str(caught.value), "image_size", "image_height", "exactly one")


def test_image_size_and_image_height_displace_each_other() -> None:
    tall = StyleConfig().updated({"image_height": 400})
    assert (tall.image_size, tall.image_height) == (None, 400)
    wide = tall.updated({"image_size": 256})
    assert (wide.image_size, wide.image_height) == (256, None)


def test_a_count_of_steps_for_every_scale_or_one_for_all() -> None:
    assert StyleConfig().updated({"steps": 30}).steps_per_scale == (30, 30)
    assert StyleConfig().updated({"steps": [30, 10]}).steps_per_scale == (30, 10)
    with pytest.raises(ConfigError, match="steps has 3 counts for 2 scales"):
        StyleConfig().updated({"steps": [1, 2, 3]})


def test_averaging_needs_adam() -> None:
    with pytest.raises(ConfigError, match=r"average_decay is 0\.9 with optimizer lbfgs.*adam"):
        StyleConfig().updated({"average_decay": 0.9})
    assert StyleConfig().updated({"average_decay": 0.9, "optimizer": "adam"}).average_decay == 0.9


def test_betas_need_adam() -> None:
    with pytest.raises(ConfigError, match=r"betas is \[0\.99, 0\.9\] with optimizer lbfgs.*adam"):
        StyleConfig().updated({"betas": [0.99, 0.9]})
    changed = StyleConfig().updated({"betas": [0.99, 0], "optimizer": "adam"})
    assert changed.betas == (0.99, 0.0)


def test_an_animation_needs_images() -> None:
    with pytest.raises(ConfigError, match=r"animation is gif with snapshot_every 0.*set snapshot"):
        StyleConfig().updated({"animation": "gif"})
    assert StyleConfig().updated({"animation": "gif", "snapshot_every": 5}).animation == "gif"


def test_unit_gradients_need_adam() -> None:
    with pytest.raises(ConfigError) as caught:
        StyleConfig().updated({"normalize_gradients": True})
    assert_one_sentence(str(caught.value), "normalize_gradients", "lbfgs", "adam")
    StyleConfig().updated({"normalize_gradients": True, "optimizer": "adam"})


def test_whole_numbers_stand_for_floats_so_that_equal_settings_are_equal() -> None:
    one = StyleConfig().updated({"learning_rate": 8, "scales": [0.5, 1], "tv_weight": 0})
    other = StyleConfig().updated({"learning_rate": 8.0, "scales": [0.5, 1.0], "tv_weight": 0.0})
    assert one == other
    assert one.key() == other.key()
    assert type(one.learning_rate) is float
    assert all(type(scale) is float for scale in one.scales)


def test_numpys_numbers_are_those_of_python() -> None:
    from_arrays = StyleConfig(
        steps=tuple(np.array([7, 5])),
        image_size=np.int64(256),
        content_weight=np.float32(0.5),
        scales=tuple(np.array([0.5, 1.0], np.float32)),
    )
    plain = StyleConfig(steps=(7, 5), image_size=256, content_weight=0.5, scales=(0.5, 1.0))
    assert from_arrays.key() == plain.key()
    for value in (np.float32("inf"), np.float32("nan"), np.bool_(True)):
        with pytest.raises(ConfigError, match="content_weight"):
            StyleConfig(content_weight=value)
    with pytest.raises(ConfigError, match="steps"):
        StyleConfig(steps=(np.int32(0), np.int32(5)))


def test_the_order_of_layers_makes_no_difference() -> None:
    one = StyleConfig().updated({"style_layers": {"block2_conv1": 1, "block1_conv1": 2}})
    other = StyleConfig().updated({"style_layers": {"block1_conv1": 2.0, "block2_conv1": 1.0}})
    assert one == other
    assert one.key() == other.key()
    assert list(one.style_layers) == ["block1_conv1", "block2_conv1"]


def test_different_settings_have_different_keys() -> None:
    configs = [
        StyleConfig(),
        StyleConfig().updated({"seed": 1}),
        StyleConfig().updated({"learning_rate": 8}),
        StyleConfig().updated({"style_layers": {"block1_conv1": 1}}),
    ]
    assert len({config.key() for config in configs}) == len(configs)


def test_yaml_reads_exponents_as_numbers() -> None:
    text = "tv_weight: 1e-4\ncontent_weight: 2.5E-2\nlearning_rate: +1e1\nstyle_weight: .5e1"
    changed = StyleConfig().updated(parse_settings(text, "x.yaml"))
    found = (
        changed.tv_weight,
        changed.content_weight,
        changed.learning_rate,
        changed.style_weight,
    )
    assert found == (1e-4, 0.025, 10.0, 5.0)
    assert preset("notebook").tv_weight == 1e-4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.5", 0.5),
        ("[0.5, 1]", [0.5, 1]),
        ("{block4_conv2: 1}", {"block4_conv2": 1}),
        ("adam", "adam"),
        ("1e-4", 1e-4),
        ("null", None),
        ("gs://bucket/x.png", "gs://bucket/x.png"),
    ],
)
def test_a_setting_on_the_command_line_is_yaml(text: str, value: Any) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a #1.png", "a #1.png"),
        (" #1.png ", "#1.png"),
        ("%20.png", "%20.png"),
        ("b: 1.png", "b: 1.png"),
        ("[x].png", "[x].png"),
        ("gs://b/c d?.png", "gs://b/c d?.png"),
        ('"a #1.png"', "a #1.png"),
        ("'3'", "3"),
        ("noise", "noise"),
        # No text, so that it is refused, and not the name of a file.
        ("3", 3),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_a_path_among_the_settings_is_taken_as_it_is(text: str, value: Any) -> None:
    for key in URI_SETTINGS:
        assert parse_setting(key, text) == value
    assert parse_setting("seed", "7 # of the noise") == 7


@pytest.mark.parametrize("text", ["[1", "{a: ", "a: b: c", "!!python/object:os.system x", "\t-"])
def test_what_is_not_yaml_is_refused_with_one_sentence(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "mine.yaml")
    assert_one_sentence(str(caught.value), "mine.yaml is not YAML")


@pytest.mark.parametrize("text", ["- 1", "hello", "7"])
def test_yaml_without_settings_is_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, "mine.yaml")
    assert_one_sentence(str(caught.value), "mine.yaml", "image_size: 512")


def test_an_empty_yaml_changes_nothing() -> None:
    assert parse_settings("# nothing yet\n", "mine.yaml") == {}


@pytest.mark.parametrize("name", PRESETS)
def test_a_configuration_survives_the_way_through_plain_values_and_pickle(name: str) -> None:
    config = preset(name)
    again = StyleConfig().updated(config.to_dict())
    assert again == config
    assert again.key() == config.key()
    assert pickle.loads(pickle.dumps(config)) == config
    assert not any(isinstance(value, tuple) for value in config.to_dict().values())


def test_a_configuration_travels_short_and_equal_ones_become_one_object() -> None:
    one, same = (preset("default").updated({"seed": 5, "steps": [3, 4]}) for _ in range(2))
    assert len(pickle.dumps(one)) < 150
    assert pickle.loads(pickle.dumps(one)) is pickle.loads(pickle.dumps(same))
    assert json.loads(one.changes()) == {"seed": 5, "steps": [3, 4]}


def test_a_change_leaves_the_rest_and_the_original() -> None:
    before = StyleConfig()
    after = before.updated({"seed": 7})
    assert (before.seed, after.seed) == (0, 7)
    assert {**after.to_dict(), "seed": 0} == before.to_dict()


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        StyleConfig().seed = 7  # type: ignore[misc]


def test_default_layers_are_not_shared_between_configurations() -> None:
    StyleConfig().to_dict()["style_layers"]["block1_conv1"] = 99
    assert StyleConfig().style_layers["block1_conv1"] == 0.2
    assert StyleConfig().style_layers is not StyleConfig().style_layers


def test_the_manual_s_table_is_the_settings() -> None:
    page = pathlib.Path(__file__).parents[2] / "docs/reference/settings.md"
    table = page.read_text(encoding="utf-8").partition("\n| key | default |")[2]
    rows = re.findall(r"^\| `(\w+)` \| `([^|]+)` \| ([^|]+) \|$", table, re.MULTILINE)
    default = StyleConfig().to_dict()
    assert rows == [(key, json.dumps(default[key]), doc) for key, doc in SETTINGS.items()]


def test_whole_numbers_may_be_floats_as_their_json_schema_says() -> None:
    given = {"image_size": 512.0, "steps": [4e1, 26.0], "seed": 1e3, "tile": 64.0}
    config = StyleConfig().updated(given)
    assert config.changes() == '{"seed": 1000, "tile": 64}'


def test_a_pair_has_no_more_snapshots_than_a_folder_of_files_may() -> None:
    scales = [number / 100 for number in range(1, 101)]
    with pytest.raises(ConfigError, match=r"^snapshot_every is 1, so 100000000 steps make"):
        StyleConfig().updated({"scales": scales, "steps": 1_000_000, "snapshot_every": 1})
    many = StyleConfig().updated({"scales": scales, "steps": 1_000_000, "snapshot_every": 10_000})
    assert sum(many.steps_per_scale) // many.snapshot_every == config_checks.MOST_SNAPSHOTS
