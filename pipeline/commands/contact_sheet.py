"""A contact sheet: pictures in rows, each with a caption, as one PNG."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

MARGIN = 16
LINE = 20
PAPER = (250, 248, 244)
INK = (60, 56, 52)


@dataclasses.dataclass(frozen=True)
class Picture:
    """An encoded image, and what to write below it, in one or several lines."""

    data: bytes
    caption: str


def contact_sheet(rows: Sequence[Sequence[Picture]], width: int = 320) -> bytes:
    """One PNG of all rows; each image is fitted into `width` × three quarters of it, px."""
    height = width * 3 // 4
    lines = max(picture.caption.count("\n") + 1 for row in rows for picture in row)
    cell = height + lines * LINE + MARGIN
    columns = max(map(len, rows))
    size = (columns * (width + MARGIN) + MARGIN, len(rows) * cell + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=15)
    for row_index, row in enumerate(rows):
        top = MARGIN + row_index * cell
        for column, picture in enumerate(row):
            left = MARGIN + column * (width + MARGIN)
            image = Image.open(io.BytesIO(picture.data)).convert("RGB")
            image = ImageOps.contain(image, (width, height), Image.Resampling.LANCZOS)
            sheet.paste(image, (left + (width - image.width) // 2, top))
            place = (left + width / 2, top + height + 4)
            draw.text(place, picture.caption, fill=INK, font=font, anchor="ma", align="center")
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
