"""A contact sheet: content, style and result of each pair in a row, as one PNG."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN = 16
CAPTION = 26
PAPER = (250, 248, 244)
INK = (60, 56, 52)


@dataclasses.dataclass(frozen=True)
class Row:
    """The three images of a pair, as encoded bytes, and what to write below each."""

    pictures: tuple[bytes, bytes, bytes]
    captions: tuple[str, str, str]


def contact_sheet(rows: Sequence[Row], width: int = 320) -> bytes:
    """One PNG of all rows; each image is fitted into `width` × three quarters of it, px."""
    height = width * 3 // 4
    size = (
        3 * width + 4 * MARGIN,
        len(rows) * (height + CAPTION + MARGIN) + MARGIN,
    )
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for row_index, row in enumerate(rows):
        top = MARGIN + row_index * (height + CAPTION + MARGIN)
        for column, (data, caption) in enumerate(zip(row.pictures, row.captions, strict=True)):
            left = MARGIN + column * (width + MARGIN)
            picture = Image.open(io.BytesIO(data)).convert("RGB")
            picture.thumbnail((width, height), Image.Resampling.LANCZOS)
            sheet.paste(picture, (left + (width - picture.width) // 2, top))
            place = (left + width / 2, top + height + 4)
            draw.text(place, caption, fill=INK, font=font, anchor="ma")
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
