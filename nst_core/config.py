"""`StyleConfig`: every setting of the style transfer, with its unit, default and range."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from nst_core import config_checks as checks
from nst_core.errors import ConfigError, shortened, shown
from nst_core.setting_text import parse_settings

PRESETS = ("default", "preview", "quality", "notebook", "neural_style")
# Pillow refuses to decode more than this many pixels itself (its decompression bomb check).
PIXELS_CEILING = 178_956_970
LONGEST_NAME = 60  # characters of what is looked up as the name of a setting


def _setting(default: Any, doc: str, check: checks.Check) -> Any:
    metadata = {"doc": doc, "check": check}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class StyleConfig:
    """Every setting of one style transfer; immutable, validated, comparable.

    Raises:
        ConfigError: a value is out of range, or two settings contradict each other.
    """

    weights: str = _setting(
        "imagenet",
        "network weights: `imagenet` (Keras's VGG19 file), `procedural` (made, no download), "
        "or the path or URI of a Keras VGG19 `.h5`",
        checks.text,
    )
    image_size: int | None = _setting(
        512, "long side of the content, px (16 to 8192)", checks.integer(16, 8192, optional=True)
    )
    image_height: int | None = _setting(
        None,
        "height of the content, px (16 to 8192), instead of `image_size`",
        checks.integer(16, 8192, optional=True),
    )
    smallest_side: int = _setting(
        0,
        "contents and styles that would have a shorter side than this (16 to 8192 px) become "
        "larger than `image_size` says, up to 8192 px; 0: under 16 px they fail",
        checks.least_side,
    )
    resample: str = _setting(
        "lanczos",
        "filter of every resize: `lanczos` or `nearest`",
        checks.one_of("lanczos", "nearest"),
    )
    canvas_multiple: int | str = _setting(
        "auto",
        "the content is padded by reflection, and cropped back: to a multiple of this many px (1 "
        "to 512), to one of a few shapes that are the same for every catalog (`grid`), or `auto` "
        "(the grid on GPUs, where every shape is compiled; multiples of 32 px on CPUs)",
        checks.canvas_multiple,
    )
    scales: tuple[float, ...] = _setting(
        (0.5, 1.0),
        "fractions of the canvas, optimised from coarse to fine; the last is 1",
        checks.scales,
    )
    steps: int | tuple[int, ...] = _setting(
        (40, 26),
        "evaluations of loss and gradient: a count for every scale, or a list with one per scale",
        checks.steps,
    )
    optimizer: str = _setting(
        "lbfgs",
        "`lbfgs`, or `adam`, which takes more `steps` to the same loss",
        checks.one_of("lbfgs", "adam"),
    )
    learning_rate: float = _setting(
        4.0,
        "Adam's step, in pixel values (0 to 255); L-BFGS: the largest change of a pixel in its "
        "first step",
        checks.number(0, above=True),
    )
    betas: tuple[float, ...] = _setting(
        checks.ADAMS_BETAS,
        "decays of Adam's averages of gradients and of their squares; long runs (500 steps and "
        "more) can end lower with `[0.99, 0.99]`",
        checks.betas,
    )
    tolerance: float = _setting(
        0.0,
        "a scale ends early once the total falls by less than this share over 20 steps; 0: only "
        "where L-BFGS finds nothing lower over 40",
        checks.number(0, 1),
    )
    content_layers: Mapping[str, float] = _setting(
        {"block4_conv2": 1.0},
        "layers whose features hold the content, each with its share",
        checks.layers,
    )
    style_layers: Mapping[str, float] = _setting(
        {f"block{block}_conv1": 0.2 for block in range(1, 6)},
        "layers whose statistics hold the style, each with its share",
        checks.layers,
    )
    content_weight: float = _setting(0.1, "weight of the content term", checks.number(0))
    style_weight: float = _setting(1.0, "weight of the style term", checks.number(0))
    tv_weight: float = _setting(0.01, "weight of the total variation term", checks.number(0))
    tv_norm: str = _setting(
        "notebook",
        "what the total variation sums over pixels: `notebook` (dx² + dy²)^1.25, `l1` the absolute "
        "differences, `l2` dx² + dy²",
        checks.one_of("notebook", "l1", "l2"),
    )
    normalization: str = _setting(
        "energy",
        "`energy`: each term relative to its target's energy, so that weights mean the same for "
        "every layer, size and network; `mean`: means of squared differences, as in neural-style; "
        "`none`: the plain sums of Gatys et al.",
        checks.one_of("energy", "mean", "none"),
    )
    normalize_gradients: bool = _setting(
        False,
        "divide the gradient of each layer's loss by its features by its L1 norm at every step, as "
        "in neural-style: each step then lowers the sum of weight × loss / norm, the norms held "
        "where they are (needs Adam); the log has the plain terms",
        checks.boolean,
    )
    style_statistics: str = _setting(
        "gram",
        "`gram`: Gram matrices; `covariance`: covariance matrices and means; `wasserstein`: the "
        "Wasserstein distance of the normal distributions that have these",
        checks.one_of("gram", "covariance", "wasserstein"),
    )
    content_colors: str = _setting(
        "style",
        "colours in which the content enters: `style` (mean and covariance made the style's, so "
        "that shapes survive a change of palette) or `own`",
        checks.one_of("style", "own"),
    )
    style_scale: float = _setting(
        1.0,
        "size of the style beside the content's; larger: larger strokes",
        checks.number(0.1, 4),
    )
    style_fit: str = _setting(
        "keep",
        "`keep` the style's aspect ratio, or `stretch` it to the content's size",
        checks.one_of("keep", "stretch"),
    )
    pooling: str = _setting(
        "average",
        "`average`, `max` or `l2` (root of the mean square) of 2×2 positions",
        checks.one_of("average", "max", "l2"),
    )
    padding: str = _setting(
        "reflect",
        "edges of the feature maps: `reflect` or `zero`",
        checks.one_of("reflect", "zero"),
    )
    init: str = _setting(
        "content",
        "the start: `content`, `noise`, `style_statistics` (noise with the mean and covariance of "
        "the style's colours), or the path or URI of an image",
        checks.text,
    )
    keep: str = _setting(
        "none",
        "`none`, or the path or URI of a grey image of the content's shape: where it is white the "
        "content stays as it is",
        checks.text,
    )
    seed: int = _setting(0, "seed of the noise", checks.integer(0, 2**31 - 1))
    precision: str = _setting(
        "auto",
        "arithmetic of the network: `float32`, `bfloat16`, or `auto` (bfloat16 where the "
        "processor computes in it); losses and pixels are always float32",
        checks.one_of("float32", "bfloat16", "auto"),
    )
    device: str = _setting(
        "auto",
        "`auto` (the GPU where there is one), `gpu` (stop where there is none) or `cpu`",
        checks.one_of("auto", "gpu", "cpu"),
    )
    tile: int | str = _setting(
        "auto",
        "large images pass the network in tiles, with the same result: `auto` (where memory is "
        "too small for the whole), `off`, or the side of the tiles' interiors, px (a multiple of "
        "16, at least 64)",
        checks.tile,
    )
    average_decay: float = _setting(
        0.0,
        "decay of the average over Adam's iterates that becomes the result; 0: the last one",
        checks.number(0, 0.9999),
    )
    clip_pixels: bool = _setting(
        True, "keep pixels within 0…255 at every step, not only at the end", checks.boolean
    )
    preserve_colors: str = _setting(
        "none",
        "`none`; `luminance`: the content keeps its colours and takes only the strokes; "
        "`covariance`, `histogram`: the style's colours are first matched to the content's, by "
        "mean and covariance or by each channel's histogram, and the content enters in its own",
        checks.one_of("none", "luminance", "covariance", "histogram"),
    )
    deadline_seconds: float = _setting(
        0.0, "longest optimisation of one pair, s; 0: no limit", checks.number(0)
    )
    checkpoint_seconds: float = _setting(
        300.0,
        "`nst run`: what takes longer is saved every so many s, to go on from there after an "
        "interruption; 0: never",
        checks.number(0),
    )
    output_size: str = _setting(
        "canvas",
        "`canvas`: the result has the size that is configured; `original`: it is enlarged (or "
        "reduced) to the content's own",
        checks.one_of("canvas", "original"),
    )
    output_format: str = _setting(
        "png",
        "`png`, `jpeg`, `webp`, `tiff` or `avif`",
        checks.one_of("png", "jpeg", "webp", "tiff", "avif"),
    )
    jpeg_quality: int = _setting(92, "quality (1 to 100): JPEG, WebP, AVIF", checks.integer(1, 100))
    metadata: str = _setting(
        "full",
        "what image files say: `full` (id, fingerprint, and the sources as the manifest names "
        "them), `id` (id and fingerprint), both with author, copyright, date, description and "
        "resolution of the content's EXIF data, or `none`",
        checks.one_of("full", "id", "none"),
    )
    snapshot_every: int = _setting(
        0,
        "steps between intermediate images, which are written too; 0: none",
        checks.integer(0, 1_000_000),
    )
    animation: str = _setting(
        "none",
        "`none`, `webp` or `gif`: the intermediate images and the result as an animation",
        checks.one_of("none", "webp", "gif"),
    )
    max_pixels: int = _setting(
        100_000_000,
        "largest input, pixels, checked before decoding",
        checks.integer(256, PIXELS_CEILING),
    )
    max_bytes: int = _setting(
        200_000_000, "largest input file, bytes, checked before reading", checks.integer(1, 2**40)
    )
    decode_seconds: float = _setting(
        60.0,
        "longest decoding of one input, s of processor time; 0: no limit",
        checks.number(0, 86400),
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            expected = field.metadata["check"](value)
            if expected:
                raise ConfigError(f"{field.name} is {shown(value)}; give {expected}.")
            object.__setattr__(self, field.name, checks.canonical(value, str(field.type)))
        if problem := checks.contradiction(self):
            raise ConfigError(problem)

    @property
    def recolors_style(self) -> bool:
        """Whether the style takes the content's colours before the transfer."""
        return self.preserve_colors in ("covariance", "histogram")

    @property
    def steps_per_scale(self) -> tuple[int, ...]:
        """One count of steps for each of `scales`."""
        return self.steps if isinstance(self.steps, tuple) else (self.steps,) * len(self.scales)

    @property
    def layers(self) -> frozenset[str]:
        """All layers whose features the terms are made of."""
        return frozenset({*self.content_layers, *self.style_layers})

    def updated(self, changes: Mapping[str, Any]) -> StyleConfig:
        """This configuration with `changes`, values as YAML or JSON gives them.

        `image_height` and `image_size` displace each other; a new count of scales with the old
        list of steps is an error like any other contradiction.

        Raises:
            ConfigError: unknown key (with the nearest known one) or unusable value.
        """
        values: dict[str, Any] = {}
        for key, value in changes.items():
            if key not in SETTINGS:
                raise ConfigError(f"{unknown_setting(key)}.")
            values[key] = tuple(value) if isinstance(value, list) else value
        for key, other in (("image_size", "image_height"), ("image_height", "image_size")):
            if values.get(key) is not None and other not in values:
                values[other] = None
        return dataclasses.replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values (lists for tuples), in the order of the fields."""
        plain = {}
        for name in SETTINGS:
            value = getattr(self, name)
            if isinstance(value, tuple):
                value = list(value)
            elif isinstance(value, Mapping):
                value = dict(value)
            plain[name] = value
        return plain

    def key(self) -> str:
        """Equal for equal configurations: canonical JSON, usable as a grouping key."""
        return self._remembered("_key", self.to_dict)

    def changes(self) -> str:
        """What differs from the defaults, as canonical JSON; equal for equal configurations."""
        return self._remembered("_changes", self._to_changed)

    def _to_changed(self) -> dict[str, Any]:
        defaults = StyleConfig().to_dict()
        return {name: value for name, value in self.to_dict().items() if value != defaults[name]}

    def _remembered(self, name: str, make: Callable[[], dict[str, Any]]) -> str:
        """JSON, made once; `functools.cached_property` would lock all threads out."""
        text: str | None = self.__dict__.get(name)
        if text is None:
            text = json.dumps(make(), sort_keys=True)
            object.__setattr__(self, name, text)
        return text

    def __reduce__(self) -> tuple[Any, ...]:
        # Every pair of a catalog travels with its configuration: short, and then one object.
        return with_changes, (self.changes(),)


@functools.lru_cache(maxsize=1024)
def with_changes(changes: str) -> StyleConfig:
    """The configuration whose `changes()` these are."""
    return StyleConfig().updated(json.loads(changes))


SETTINGS: dict[str, str] = {
    field.name: field.metadata["doc"] for field in dataclasses.fields(StyleConfig)
}


def unknown_setting(key: str) -> str:
    """The sentence for a key that is no setting, without the final stop."""
    name = shortened(str(key), LONGEST_NAME)
    near = difflib.get_close_matches(name, SETTINGS, n=1, cutoff=0.5)
    hint = f"the nearest one is {near[0]}" if near else "known are: " + ", ".join(SETTINGS)
    return f"{name!r} is not a setting; {hint}"


def preset(name: str) -> StyleConfig:
    """The preset `configs/NAME.yaml`.

    Raises:
        ConfigError: there is no such preset.
    """
    if name not in PRESETS:
        raise ConfigError(f"{name!r} is not a preset; the presets are {', '.join(PRESETS)}.")
    text = (resources.files("nst_core") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return StyleConfig().updated(parse_settings(text, f"configs/{name}.yaml"))
