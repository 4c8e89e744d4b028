"""Whose picture it is: what is kept of a photograph's EXIF data when it is stylized."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import MutableMapping
from typing import Any

from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

# Bytes of one text; what is longer is cut, so that it fits beside everything else in a JPEG.
TEXT_LIMIT = 4096
_PLACES = (ExifTags.Base.XResolution, ExifTags.Base.YResolution)
# Dots per inch that mean something: 1 is what writes who knows none.
_RESOLUTIONS = (1.0, 30000.0)
_INCH, _CENTIMETRE = 2, 3
_TEXTS = {
    "artist": ExifTags.Base.Artist,
    "copyright": ExifTags.Base.Copyright,
    "description": ExifTags.Base.ImageDescription,
}


@dataclasses.dataclass(frozen=True)
class Credits:
    """EXIF's author, copyright, description, and date of the photograph, each empty if unknown.

    `resolution`: dots per inch, across and down; None if unknown. Nothing else is kept, so neither
    the place nor the camera's serial number, nor what was true of the original pixels alone
    (orientation, thumbnail).
    """

    artist: str = ""
    copyright: str = ""
    description: str = ""
    date: str = ""
    resolution: tuple[float, float] | None = None

    def put_into(self, exif: Image.Exif, details: MutableMapping[int, Any]) -> None:
        """Write them into EXIF data, texts as UTF-8; the date into its directory of `details`."""
        for name, tag in _TEXTS.items():
            if text := getattr(self, name):
                exif[tag] = text.encode()
        if self.date:
            details[ExifTags.Base.DateTimeOriginal] = self.date
        if self.resolution:
            exif[ExifTags.Base.ResolutionUnit] = _INCH
            for tag, dots in zip(_PLACES, self.resolution, strict=True):
                exif[tag] = IFDRational(round(100 * dots), 100)


def credits_of(exif: Image.Exif, dpi: Any) -> Credits:
    """What EXIF data tell; broken fields are left out.

    `dpi`: the resolution by the file's own header, if any, where EXIF has none.
    """
    texts = {name: _text(_value(exif, tag)) for name, tag in _TEXTS.items()}
    date = _text(detail(exif, ExifTags.Base.DateTimeOriginal))
    is_date = len(date) == len("2024:01:31 12:34:56") and date[:4].isdigit()
    resolution = _resolution(_exif_resolution(exif)) or _resolution(dpi)
    return Credits(**texts, date=date if is_date and date.isascii() else "", resolution=resolution)


def _value(exif: Image.Exif, tag: int) -> Any:
    try:
        return exif.get(tag)
    except Exception:
        # The errors of Pillow's EXIF reader are not documented; none of them spoils the pixels.
        return None


def detail(exif: Image.Exif, tag: int) -> Any:
    """A value of EXIF's directory of details or, as in TIFF/EP, of the main one; None if broken."""
    try:
        return exif.get_ifd(ExifTags.IFD.Exif).get(tag) or exif.get(tag)
    except Exception:
        # See above.
        return None


def _text(value: Any) -> str:
    """One text, cut; cameras and programs write UTF-8 where EXIF wants ASCII."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        return ""
    with contextlib.suppress(UnicodeError):  # Latin-1 after all.
        value = value.encode("latin-1").decode()
    value = value.partition("\0")[0].strip()
    return str(value.encode("utf-8", "ignore")[:TEXT_LIMIT].decode("utf-8", "ignore"))


def _exif_resolution(exif: Image.Exif) -> Any:
    unit = _value(exif, ExifTags.Base.ResolutionUnit)
    factor = {_INCH: 1.0, _CENTIMETRE: 2.54}.get(unit if isinstance(unit, int) else _INCH)
    try:
        return [factor * float(_value(exif, tag)) for tag in _PLACES] if factor else None
    except (TypeError, ValueError, ArithmeticError):
        return None


def _resolution(dots: Any) -> tuple[float, float] | None:
    try:
        across, down = map(float, dots)
    except (TypeError, ValueError, ArithmeticError):
        return None
    least, most = _RESOLUTIONS
    is_usable = all(math.isfinite(one) and least < one <= most for one in (across, down))
    return (across, down) if is_usable else None
