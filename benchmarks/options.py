"""What `python -m benchmarks` takes: sections, pictures, sizes, how long the references run."""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from nst_core.canvas import Size
from tools.draw_samples import CONTENTS, STYLES

DRAWN_WIDTH = 1024
SCALE_ROWS = (10_000, 100_000, 1_000_000)
OBJECTIVES = ("notebook", "default")


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of the sections `loss`, `catalog`, `scale`, `feed` and `kernels`."""

    sections: tuple[str, ...]
    weights: str
    content: pathlib.Path | None
    style: pathlib.Path | None
    sizes: tuple[Size, ...]
    objectives: tuple[str, ...]
    rounds: int
    timed_evaluations: int
    adam_steps: int
    catalog_size: Size
    catalog_steps: int
    reference_pairs: int
    scale_rows: tuple[int, ...]
    feed: str
    xla_python: str

    def pair(self, size: Size) -> tuple[np.ndarray, np.ndarray]:
        """Content, cropped to the shape of `size`, and style: uint8 RGB `[H, W, 3]`."""
        content = _read(self.content) if self.content else drawn("river_town")
        style = _read(self.style) if self.style else drawn("swirling_strokes")
        return cropped(content, size), style


def parse(arguments: Sequence[str], known: Sequence[str]) -> Options:
    """The options of a command line; `known` are the sections. Exits with 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", allow_abbrev=False)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(known))
    parser.add_argument("--weights", default="procedural", help="imagenet, procedural or an .h5")
    parser.add_argument("--content", type=pathlib.Path, help="loss: an image (default: drawn)")
    parser.add_argument("--style", type=pathlib.Path, help="loss: an image (default: drawn)")
    parser.add_argument(
        "--size",
        type=_size,
        action="append",
        help="loss: WIDTHxHEIGHT, px; may be given several times (default 256x192)",
    )
    parser.add_argument(
        "--objective",
        choices=OBJECTIVES,
        action="append",
        help="loss: whose; may be given several times (default: all)",
    )
    parser.add_argument("--rounds", type=int, default=20, help="loss, catalog: of reference A (20)")
    parser.add_argument(
        "--timed-evaluations",
        type=int,
        default=0,
        metavar="N",
        help="loss: time only N evaluations of reference A, and find its final loss with one image "
        "in each instead of three (0: time all)",
    )
    parser.add_argument(
        "--adam-steps", type=int, default=1000, help="loss: of reference B (1000; 0: without B)"
    )
    parser.add_argument("--catalog-size", type=_size, default=Size(256, 192), help="(256x192)")
    parser.add_argument("--catalog-steps", type=int, default=400, help="steps of each pair (400)")
    parser.add_argument(
        "--reference-pairs", type=int, default=2, help="catalog: pairs that reference A does (2)"
    )
    parser.add_argument(
        "--scale-rows",
        type=int,
        action="append",
        metavar="N",
        help="scale, report: pairs; may be given several times (default 10000, 100000 and 1000000)",
    )
    parser.add_argument(
        "--feed", default="", metavar="WORDS", help="feed: only runs whose name holds these"
    )
    parser.add_argument(
        "--xla-python",
        default=".venv-xla/bin/python",
        metavar="FILE",
        help="kernels: of an environment with JAX's XLA for GPUs (.venv-xla/bin/python)",
    )
    found = parser.parse_args(arguments)
    for name in found.sections:
        if name not in known:
            parser.error(f"{name!r} is not a section; the sections are {', '.join(known)}")
    least = {"rounds": 1, "catalog_steps": 1, "reference_pairs": 1}
    for name, bound in {**least, "adam_steps": 0, "timed_evaluations": 0}.items():
        if (value := getattr(found, name)) < bound:
            parser.error(f"--{name.replace('_', '-')} is {value}; give at least {bound}")
    values = vars(found)
    sizes = tuple(values.pop("size") or [Size(256, 192)])
    objectives = tuple(values.pop("objective") or OBJECTIVES)
    values["scale_rows"] = tuple(found.scale_rows or SCALE_ROWS)
    if min(values["scale_rows"]) < 1:
        parser.error(f"--scale-rows is {min(values['scale_rows'])}; give at least 1")
    values["sections"] = tuple(found.sections)
    return Options(**values, sizes=sizes, objectives=objectives)


def _size(text: str) -> Size:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or min(map(int, match.groups())) < 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; write 256x192, each at least 32")
    return Size(*map(int, match.groups()))


def drawn(name: str) -> np.ndarray:
    """One of the project's own sample images, uint8 `[H, W, 3]`, 4:3."""
    return np.asarray({**CONTENTS, **STYLES}[name](DRAWN_WIDTH).convert("RGB"))


def cropped(rgb: np.ndarray, size: Size) -> np.ndarray:
    """A middle part of an image, as large as can be, that has the shape of `size`."""
    height = min(rgb.shape[0], rgb.shape[1] * size.height // size.width)
    width = min(rgb.shape[1], -(-height * size.width // size.height))
    left, top = (rgb.shape[1] - width) // 2, (rgb.shape[0] - height) // 2
    return rgb[top : top + height, left : left + width]


def resized(rgb: np.ndarray, size: Size, method: Image.Resampling) -> np.ndarray:
    """An image at another size by Pillow, float32 `[H, W, 3]`."""
    picture = Image.fromarray(rgb).resize((size.width, size.height), method)
    return np.asarray(picture, np.float32)


def _read(path: pathlib.Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))
