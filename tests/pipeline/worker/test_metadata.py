"""What image files say of themselves and of the photograph, and what they never say."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from nst_core.config import StyleConfig
from nst_core.imaging.encoding import encode, read_metadata
from pipeline import storage
from pipeline.job.options import RunOptions
from pipeline.job.planning import plan_row
from pipeline.manifest.columns import Row
from pipeline.pairs.parsing import parse_pair
from pipeline.pairs.spelling import name_of, names_in
from pipeline.records.tasks import Task
from pipeline.worker.inputs import read_picture
from pipeline.worker.output import metadata_of
from tests.corpus import texture

if TYPE_CHECKING:
    from tests.pipeline.conftest import Catalog

BASE, IFD = ExifTags.Base, ExifTags.IFD
FORMATS = {"png": "png", "jpeg": "jpg", "webp": "webp", "tiff": "tiff", "avif": "avif"}
KEPT = {
    BASE.Artist: "Zoë Müller",
    BASE.Copyright: "© 2024 Zoë",
    BASE.ImageDescription: "Bridge at dawn",
}
DATE = "2024:01:31 06:12:34"
PRIVATE = ("SERIAL-4711", "MAKER-NOTE", "SOFTWARE-1", "WAYPOINT-9")


def photograph() -> Image.Exif:
    """EXIF data as a camera writes them, with what is nobody's business."""
    exif = Image.Exif()
    for tag, text in KEPT.items():
        exif[tag] = text.encode()
    exif[BASE.XResolution] = exif[BASE.YResolution] = IFDRational(300)
    exif[BASE.ResolutionUnit] = 2
    exif[BASE.Orientation] = 3
    exif[BASE.Software] = "SOFTWARE-1"
    details = exif.get_ifd(IFD.Exif)
    details[BASE.DateTimeOriginal] = DATE
    details[BASE.BodySerialNumber] = "SERIAL-4711"
    details[BASE.MakerNote] = b"MAKER-NOTE"
    gps = exif.get_ifd(IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    gps[ExifTags.GPS.GPSLatitude] = (IFDRational(47), IFDRational(30), IFDRational(0))
    gps[ExifTags.GPS.GPSAreaInformation] = b"WAYPOINT-9"
    return exif


def text_of(value: Any) -> str:
    return str(value).encode("latin-1").decode()


def written(catalog: Catalog, output_format: str = "png", **settings: str) -> bytes:
    """The image of a run whose content is such a photograph."""
    catalog.picture("photos/a.jpg", exif=photograph())
    catalog.picture("s.png")
    catalog.manifest([{"id": "a", "content": "photos/a.jpg", "style": "./s.png"}])
    settings["output_format"] = output_format
    more = [text for key, value in settings.items() for text in ("--set", f"{key}={value}")]
    assert catalog.run(*more, "--set", "steps=1") == 0
    return catalog.read(f"out/images/a.{FORMATS[output_format]}")


@pytest.mark.parametrize("output_format", FORMATS)
def test_the_photographer_stays_named_and_nothing_private_is_told(
    catalog: Catalog, output_format: str
) -> None:
    data = written(catalog, output_format)
    with Image.open(io.BytesIO(data)) as image:
        exif = image.getexif()
        for tag, text in KEPT.items():
            assert text_of(exif[tag]) == text
        date = exif.get_ifd(IFD.Exif).get(BASE.DateTimeOriginal) or exif[BASE.DateTimeOriginal]
        assert date == DATE
        assert float(exif[BASE.XResolution]) == float(exif[BASE.YResolution]) == 300
        assert exif.get(BASE.Orientation, 1) == 1
        assert not exif.get_ifd(IFD.GPSInfo)
        if output_format not in ("webp", "avif"):
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    for secret in (*PRIVATE, str(catalog.root)):
        assert secret.encode() not in data
    # As the manifest has them.
    said = read_metadata(data)
    assert json.loads(said["nst:sources"]) == {
        "content": "photos/a.jpg",
        "styles": [{"uri": "./s.png", "weight": 1.0}],
    }
    assert said["nst:id"] == "a"


@pytest.mark.parametrize("output_format", FORMATS)
def test_by_the_setting_files_say_less_or_nothing(catalog: Catalog, output_format: str) -> None:
    marks = written(catalog, output_format, metadata="id")
    assert set(read_metadata(marks)) == {"nst:id", "nst:fingerprint"}
    with Image.open(io.BytesIO(marks)) as image:
        assert text_of(image.getexif()[BASE.Artist]) == KEPT[BASE.Artist]
    # The pixels are the same, so the pair is done.
    assert catalog.run("--set", f"output_format={output_format}", "--set", "steps=1") == 0
    assert catalog.statuses() == ["skipped"]
    nothing = written(catalog, output_format, metadata="none", seed="1")
    assert read_metadata(nothing) == {}
    with Image.open(io.BytesIO(nothing)) as image:
        assert BASE.Artist not in image.getexif()
        assert not image.getexif().get_ifd(IFD.Exif)
        assert "icc_profile" in image.info


def test_broken_endless_and_foreign_exif_harms_nothing(catalog: Catalog) -> None:
    exif = Image.Exif()
    exif[BASE.Artist] = b"x" * 30_000
    exif[BASE.Copyright] = "Jos\xe9".encode("latin-1")
    exif[BASE.XResolution] = IFDRational(0, 0)
    exif[BASE.YResolution] = IFDRational(1, 3)
    exif.get_ifd(IFD.Exif)[BASE.DateTimeOriginal] = "yesterday"
    catalog.picture("a.jpg", exif=exif)
    catalog.picture("s.png")
    catalog.manifest([{"id": "a", "content": "a.jpg", "style": "s.png"}])
    assert catalog.run("--set", "steps=1", "--set", "output_format=jpeg") == 0
    with Image.open(io.BytesIO(catalog.read("out/images/a.jpg"))) as image:
        found = image.getexif()
        assert len(found[BASE.Artist]) == 4096
        assert text_of(found[BASE.Copyright]) == "José"
        assert BASE.XResolution not in found
        assert BASE.DateTimeOriginal not in found.get_ifd(IFD.Exif)


def test_a_resolution_without_exif_is_kept_and_none_is_made_up(catalog: Catalog) -> None:
    for name, save, expected in (
        ("a.png", {"dpi": (240, 240)}, 240),
        ("a.tiff", {"dpi": (150, 150)}, 150),
        ("a.jpg", {"dpi": (72, 72)}, 72),
        ("a.jpg", {"exif": Image.Exif()}, None),
        ("a.png", {}, None),
    ):
        catalog.picture(name, **save)
        read = read_picture(catalog.uri(name), StyleConfig())
        found = read.picture.credits.resolution
        assert (found and round(found[0])) == expected


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("photos/a.jpg", "photos/a.jpg"),
        ("./a.jpg", "./a.jpg"),
        ("../b/a.jpg", "../b/a.jpg"),
        ("/home/zoe/catalog/photos/a.jpg", "a.jpg"),
        ("file:///home/zoe/a.jpg", "a.jpg"),
        ("gs://bucket/photos/a.jpg", "gs://bucket/photos/a.jpg"),
    ],
)
def test_a_name_is_the_manifest_s_but_no_local_folder(cell: str, name: str) -> None:
    manifest = "/home/zoe/catalog/pairs.jsonl"
    for style in (cell, [cell], [{"uri": "s.png", "mask": cell}], json.dumps([{"uri": cell}])):
        row = Row(1, {"content": "c.png", "style": style})
        names = names_in(row, parse_pair(row, manifest))
        assert name_of(storage.resolve(cell, manifest), names) == name
    assert name_of("/home/zoe/other.jpg", {}) == "other.jpg"


def test_an_image_names_its_masks_as_the_manifest_does_too() -> None:
    manifest = "/home/zoe/catalog/pairs.jsonl"
    options = RunOptions(manifest, "/out", StyleConfig(weights="procedural"))
    style = [{"uri": "./s.png", "mask": "masks/m.png"}]
    task = plan_row(Row(1, {"content": "c.png", "style": style}), manifest, options)
    assert isinstance(task, Task)
    said = metadata_of(task)["nst:sources"]
    assert json.loads(said) == {"content": "c.png", "styles": [{**style[0], "weight": 1.0}]}


def test_more_metadata_than_a_jpeg_holds_leaves_out_the_longest() -> None:
    said = {"nst:id": "a", "nst:sources": "x" * 70_000}
    data = encode(texture(20, 10), None, output_format="jpeg", quality=90, metadata=said)
    assert read_metadata(data) == {"nst:id": "a"}


def test_earlier_files_are_read_too() -> None:
    exif = Image.Exif()
    exif[BASE.ImageDescription] = json.dumps({"nst:id": "a"})
    stream = io.BytesIO()
    Image.new("RGB", (9, 9)).save(stream, "JPEG", exif=exif)
    assert read_metadata(stream.getvalue()) == {"nst:id": "a"}
