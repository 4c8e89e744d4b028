"""`nst stylize`: one pair without Beam."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from nst_core.config import StyleConfig
from nst_core.engine import program, programs
from nst_core.imaging.encoding import read_metadata
from pipeline.__main__ import main
from pipeline.commands import stylize
from pipeline.worker.engine_cache import EngineCache

if TYPE_CHECKING:
    from tests.conftest import EmulatedBucket
    from tests.pipeline.conftest import Catalog

Sentence = Callable[[str], str]


@pytest.fixture
def pictures(catalog: Catalog, engines: EngineCache, monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """A catalog with a content and two styles; the network is the session's."""
    monkeypatch.setattr(stylize, "load_engine", engines.engine_for)
    for name in ("a.png", "s.png", "t.png"):
        catalog.picture(name)
    return catalog


def call(catalog: Catalog, *names: str, output: str = "x.png", more: tuple[str, ...] = ()) -> int:
    """`nst stylize` on files of the catalog; its exit status."""
    images = [catalog.uri(name) for name in names]
    return main(["stylize", *images, "-o", catalog.uri(output), *catalog.small, *more])


def opened(catalog: Catalog, name: str = "x.png") -> Any:
    """An image of the catalog."""
    return Image.open(io.BytesIO(catalog.read(name)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("x.png", "PNG"),
        ("x.jpg", "JPEG"),
        ("x.JPEG", "JPEG"),
        ("x.webp", "WEBP"),
        ("x.tif", "TIFF"),
        ("x.avif", "AVIF"),
        ("new/folder/x.tiff", "TIFF"),
    ],
)
def test_the_extension_decides_the_format(
    pictures: Catalog, capsys: pytest.CaptureFixture[str], name: str, kind: str
) -> None:
    assert call(pictures, "a.png", "s.png", output=name) == 0
    with opened(pictures, name) as image:
        assert (image.format, image.size) == (kind, (64, 48))
    said = capsys.readouterr()
    assert pictures.uri(name) in said.out
    assert "2 steps" in said.out
    assert said.err == ""


def test_the_picture_is_that_of_a_run_and_says_where_it_comes_from(pictures: Catalog) -> None:
    pictures.pairs(("a.png",))
    assert pictures.run() == 0
    assert call(pictures, "a.png", "s.png") == 0
    with opened(pictures) as image:
        assert (np.asarray(image, np.int16) == pictures.pixels("a.png")).all()
    metadata = read_metadata(pictures.read("x.png"))
    record = pictures.records()["a"]
    assert metadata["nst:fingerprint"] == record["fingerprint"]
    # Given as absolute paths, whose folders are nobody's business.
    assert json.loads(metadata["nst:sources"]) == {
        "content": "a.png",
        "styles": [{"uri": "s.png", "weight": 1.0}],
    }


def test_it_says_what_it_compiles(
    pictures: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compiled(objective: Any, optimizer: Any, **_: bool) -> program.Program:
        return program.Program(objective, optimizer, xla=True)

    monkeypatch.setattr(programs, "Program", compiled)
    # A program that no other test compiles.
    more = ("--set=average_decay=0.125",)
    assert call(pictures, "a.png", "s.png", more=more) == 0
    assert "nst: compiling 64x64 (1 program)" in capsys.readouterr().err.splitlines()
    assert call(pictures, "a.png", "s.png", more=more) == 0
    assert "compiling" not in capsys.readouterr().err


def test_several_styles_are_mixed(pictures: Catalog) -> None:
    found = []
    for styles in (["s.png"], ["t.png"], ["s.png", "t.png"]):
        assert call(pictures, "a.png", *styles, more=("--set", "steps=4")) == 0
        found.append(pictures.read("x.png"))
    assert len(set(found)) == 3


def test_styles_are_mixed_by_their_weights_as_a_run_mixes_them(pictures: Catalog) -> None:
    styles = [{"uri": "s.png", "weight": 1}, {"uri": "t.png", "weight": 3}]
    row = json.dumps({"id": "a", "content": "a.png", "style": styles})
    pictures.write("mixed.jsonl", row.encode())
    assert pictures.run(manifest="mixed.jsonl") == 0
    weights = ("--style-weight", "1", "--style-weight", "3")
    assert call(pictures, "a.png", "s.png", "t.png", more=weights) == 0
    assert (np.asarray(opened(pictures), np.int16) == pictures.pixels("a.png")).all()
    metadata = read_metadata(pictures.read("x.png"))
    assert json.loads(metadata["nst:sources"])["styles"] == [
        {"uri": "s.png", "weight": 1.0},
        {"uri": "t.png", "weight": 3.0},
    ]


def test_masks_say_where_the_styles_go_and_what_stays(pictures: Catalog) -> None:
    pictures.grey("left.png", [[255, 0]])
    pictures.grey("right.png", [[0, 255]])
    steps = ("--set", "steps=6", "--set", "content_colors=own")
    found = []
    for first, second in (("left.png", "right.png"), ("right.png", "left.png")):
        masks = [t for m in (first, second) for t in ("--style-mask", pictures.uri(m))]
        assert call(pictures, "a.png", "s.png", "t.png", more=(*steps, *masks)) == 0
        found.append(pictures.read("x.png"))
    assert call(pictures, "a.png", "s.png", "t.png", more=(*steps, "--style-mask", "-")) == 0
    assert len({*found, pictures.read("x.png")}) == 3

    keep = f"keep={pictures.uri('left.png')}"
    assert call(pictures, "a.png", "s.png", more=(*steps, "--set", keep)) == 0
    with opened(pictures) as image, opened(pictures, "a.png") as content:
        change = np.abs(np.asarray(image, float) - np.asarray(content, float))
    assert change[:, :30].max() <= 1
    assert change[:, 40:].mean() > 1


def test_snapshots_and_the_animation_lie_beside_the_image(pictures: Catalog) -> None:
    pictures.write("x.snapshots/000099.png", b"of an earlier call")
    more = ("--set", "steps=4", "--set", "snapshot_every=2", "--set", "animation=gif")
    assert call(pictures, "a.png", "s.png", more=more) == 0
    assert pictures.names("x.snapshots") == {"000002.png", "000004.png"}
    assert pictures.read("x.snapshots/000004.png") == pictures.read("x.png")
    with opened(pictures, "x.animation.gif") as image:
        assert (image.format, image.n_frames) == ("GIF", 2)


def test_transparency_is_kept(pictures: Catalog) -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:20] = 255
    pictures.picture("clear.png", alpha=alpha)
    assert call(pictures, "clear.png", "s.png") == 0
    with opened(pictures) as image:
        assert (np.asarray(image)[..., 3] == alpha).all()


def test_a_start_may_be_an_image(pictures: Catalog) -> None:
    assert call(pictures, "a.png", "s.png") == 0
    before = pictures.read("x.png")
    assert call(pictures, "a.png", "s.png", more=("--set", f"init={pictures.uri('t.png')}")) == 0
    assert pictures.read("x.png") != before


def test_paths_are_relative_to_the_working_directory(
    pictures: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.root)
    assert main(["stylize", "a.png", "s.png", "-o", "sub/x.png", *pictures.small]) == 0
    assert "sub/x.png" in pictures.names("")


def test_images_may_lie_in_a_bucket(pictures: Catalog, gcs: EmulatedBucket) -> None:
    local = pictures.root
    pictures.root = gcs.uri("c")
    for name in ("a.png", "s.png"):
        pictures.picture(name)
    assert call(pictures, "a.png", "s.png") == 0
    remote = pictures.read("x.png")
    pictures.root = local
    assert call(pictures, "a.png", "s.png") == 0
    with opened(pictures) as image, Image.open(io.BytesIO(remote)) as other:
        assert (np.asarray(image) == np.asarray(other)).all()


@pytest.mark.parametrize(
    ("content", "style", "output", "more", "status", "names"),
    [
        ("a.png", "s.png", "x.gif", (), 2, ["x.gif", ".png", ".webp"]),
        ("a.png", "s.png", "x", (), 2, ["x", ".png"]),
        ("none.png", "s.png", "x.png", (), 1, ["none.png"]),
        ("a.png", "none.png", "x.png", (), 1, ["none.png"]),
        ("text.png", "s.png", "x.png", (), 1, ["text.png"]),
        ("a.png", "s.png", "a.png/x.png", (), 1, ["a.png"]),
        ("a.png", "s.png", "x.png", ("--set", "max_pixels=256"), 1, ["max_pixels"]),
        ("a.png", "s.png", "x.png", ("--weights", "none.h5"), 1, ["none.h5", "procedural"]),
        ("a.png", "s.png", "x.png", ("--set", "init=none.png"), 1, ["none.png"]),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_written(
    pictures: Catalog,
    capfd: pytest.CaptureFixture[str],
    one_sentence: Sentence,
    content: str,
    style: str,
    output: str,
    more: tuple[str, ...],
    status: int,
    names: list[str],
) -> None:
    pictures.write("text.png", b"no picture")
    before = pictures.files()
    assert call(pictures, content, style, output=output, more=more) == status
    sentence = one_sentence(capfd.readouterr().err)
    for name in names:
        assert name in sentence
    assert pictures.files() == before


def test_beam_is_not_imported(pictures: Catalog) -> None:
    driver = (
        "import sys; from pipeline.__main__ import main; status = main(sys.argv[1:]); "
        "print(sorted({'apache_beam', 'google.cloud.storage'} & set(sys.modules))); "
        "sys.exit(status)"
    )
    images = [pictures.uri("a.png"), pictures.uri("s.png"), "-o", pictures.uri("x.png")]
    done = subprocess.run(
        [sys.executable, "-c", driver, "stylize", *images, *pictures.small],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
    assert pictures.uri("x.png") in done.stdout


def test_every_output_format_has_an_extension() -> None:
    formats = set(stylize.FORMATS.values())
    for output_format in formats:
        assert StyleConfig(output_format=output_format).output_format == output_format
    assert formats == {"png", "jpeg", "webp", "tiff", "avif"}
