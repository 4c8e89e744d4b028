"""Opening the bytes of an image with Pillow, safely: what it is, how large, which way up."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Literal

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from nst_core.errors import InputTooLarge, InputUnreadable, PairError
from nst_core.image_files import boxes, formats, headers, jpeg_end, signatures
from nst_core.image_files.float_tiff import kind_of_tiff

# Tags of a TIFF file's first picture: that of a DNG file, and what kind of picture it is.
_DNG_VERSION, _KIND, _OLD_KIND = 50706, 254, 255
_REDUCED, _OLD_REDUCED = 1, 2
# Photoshop's resource that says whether there is a flattened image.
_PSD_VERSION = 1057


formats.register()


@contextlib.contextmanager
def guarded(
    name: str, max_pixels: int, *, on_warning: Literal["ignore", "error"]
) -> Iterator[None]:
    """Every error inside becomes one of this project's; Pillow's warnings are muted or errors.

    Python's warning filters belong to the whole process: one thread at a time.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(on_warning, module=r"PIL\.")
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            yield
    except PairError:
        raise
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        raise InputTooLarge(
            f"{name} has {pixels[0] if pixels else 'too many'} pixels, over the limit of "
            f"{max_pixels}; raise max_pixels or shrink it."
        ) from error
    except MemoryError as error:
        raise InputTooLarge(
            f"{name} takes more memory to decode than max_pixels allows or this machine has; "
            "shrink it, raise max_pixels or use a machine with more memory."
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputUnreadable(
            f"{name} cannot be decoded ({reason}); it is damaged or cut off, so export it again."
        ) from error


def opened(data: bytes, name: str, max_pixels: int) -> ImageFile:
    """An image whose pixels are not decoded yet; to be called under `guarded`.

    Raises:
        InputTooLarge: over `max_pixels`.
        InputUnreadable: the bytes are something else, named in the error.
    """
    if not data:
        raise InputUnreadable(f"{name} is empty (0 bytes); export or copy it again.")
    declared_size(data, name, max_pixels)
    try:
        image = _identified(data)
    except UnidentifiedImageError as error:
        kind = kind_of_tiff(data)
        what = signatures.OTHER_TIFF.format(kind) if kind else signatures.described(data)
        raise InputUnreadable(f"{name} {what}.") from error
    if image.format == "TIFF":
        _check_no_preview(image, data, name)
    if image.format == "PSD":
        _check_flattened(image, name)
    check_pixels(image.size, name, max_pixels)
    return image


def declared_size(data: bytes, name: str, max_pixels: int) -> tuple[int, int] | None:
    """Width and height, px, of some files before Pillow opens them; None for others.

    Opening a WebP file already allocates its canvas, and others that are cut off are not opened.

    Raises:
        InputTooLarge: over `max_pixels`.
    """
    found = headers.webp_header(data) or headers.png_size(data) or headers.psd_size(data)
    if found is None and (still := boxes.still(data)):
        found = still.size
    if found is None:
        return None
    size = found[0], found[1]
    check_pixels(size, name, max_pixels)
    return size


def _identified(data: bytes) -> ImageFile:
    try:
        return Image.open(io.BytesIO(data), formats=formats.MARKED)
    except UnidentifiedImageError:
        # What has no mark is often something else: not what is known by its own.
        if not signatures.is_known(data):
            return Image.open(io.BytesIO(data), formats=formats.UNMARKED)
        # Pillow asks EXIF for the resolution of a JPEG, and gives up on some nonsense in there.
        if not data.startswith(b"\xff\xd8\xff") or b"Exif\0\0" not in data:
            raise
        without_exif = data.replace(b"Exif\0\0", b"none\0\0", 1)
        return Image.open(io.BytesIO(without_exif), formats=("JPEG",))


def _check_no_preview(image: ImageFile, data: bytes, name: str) -> None:
    """A camera's raw file is a TIFF whose first picture is a thumbnail: not what is meant."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    if _DNG_VERSION in tags or signatures.is_camera_raw(data):
        raise InputUnreadable(f"{name} {signatures.RAW_TIFF}.")
    kind = tags.get(_KIND, 0)
    if (isinstance(kind, int) and kind & _REDUCED) or tags.get(_OLD_KIND) == _OLD_REDUCED:
        raise InputUnreadable(f"{name} {signatures.PREVIEW_FIRST}.")


def _check_flattened(image: ImageFile, name: str) -> None:
    """Photoshop can leave out the flattened image: white lies there then."""
    for kind, _, content in image.resources:  # type: ignore[attr-defined]
        if kind == _PSD_VERSION and len(content) > 4 and not content[4]:
            raise InputUnreadable(f"{name} {signatures.NOT_FLATTENED}.")


def loaded(
    image: ImageFile, data: bytes, prepare: Callable[[ImageFile], None] = lambda _: None
) -> ImageFile:
    """The image of these bytes with its pixels decoded, whole, after `prepare`.

    Raises:
        OSError, ValueError, …: it is damaged or cut off.
    """
    if headers.png_is_damaged(data):
        raise ValueError("wrong checksum")
    try:
        prepare(image)
        before = image.size
        image.load()
        if image.size != before:
            raise ValueError("its pixels have another size than its header says")
        return image
    except OSError:
        complete = jpeg_end.with_end(data) if image.format == "JPEG" else None
        if complete is None:
            raise
    image = _identified(complete)
    prepare(image)
    image.load()
    return image


def check_pixels(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raises InputTooLarge for a width and height, px, of too many pixels."""
    width, height = size
    if width * height > max_pixels:
        raise InputTooLarge(
            f"{name} has {width * height} pixels ({width} × {height}), over the limit of "
            f"{max_pixels}; raise max_pixels or shrink it."
        )


def orientation(image: ImageFile) -> int:
    """The EXIF orientation, 1 to 8, of an image that is not loaded yet; 1 if EXIF is broken."""
    if image.format == "TIFF":
        # Pillow turns TIFF files itself, but would also ask XMP, after having told the size.
        image.info.pop("xmp", None)
        return 1
    with contextlib.suppress(Exception):
        # The errors of Pillow's EXIF reader are not documented; none of them spoils the pixels.
        value = exif_of(image).get(ExifTags.Base.Orientation)
        if isinstance(value, int) and 1 <= value <= 8:
            return value
    return 1


def exif_of(image: ImageFile) -> Image.Exif:
    """The EXIF data of an image that is not loaded yet; empty where they are broken."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        # See above.
        if image.format == "TIFF":
            return image.getexif()
        # `getexif` would decode a PNG, and take the orientation from XMP where EXIF has none.
        exif.load(image.info.get("exif", b""))
    return exif


def resolution(image: ImageFile) -> Any:
    """Dots per inch by an image's own header; None where Pillow has made them up."""
    is_made_up = image.format == "JPEG" and image.info.get("jfif_unit") not in (1, 2)
    return None if is_made_up else image.info.get("dpi")
