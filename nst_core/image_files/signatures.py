"""What bytes are that are no image of a format read here, told by how they begin."""

from __future__ import annotations

import re

from nst_core.image_files import formats

# What is looked at: a page or an SVG may begin with a long comment.
_LOOKED_AT = 4096
_CURSOR = b"\0\0\2\0"
_SHOWN = 8
_CODE_LIMIT = 60

_CONVERT = f"export it as {formats.ADVISED}"
_DEVELOP = "develop it, and export it as TIFF, PNG or JPEG"
_RENDER = f"draw it at the size you want, and {_CONVERT}"
_FETCH = "it was saved instead of the image, so fetch the image again"
_FRAME = "save the frame you want as PNG or JPEG"
_UNPACK = "unpack it, and name the image inside"
_DAMAGED = "begins as {} {}, but is damaged or cut off; export or copy it again"

RAW_TIFF = f"is a camera's raw file, whose first picture is a small preview; {_DEVELOP}"
PREVIEW_FIRST = (
    "is a TIFF file whose first picture is marked as a reduced one, such as a camera's raw file "
    f"has; {_DEVELOP}"
)

# With what it is.
OTHER_TIFF = "is a TIFF file of a kind that is not read ({}); export it as PNG"

NOT_FLATTENED = (
    "is a Photoshop document (PSD) without its flattened image; save it with Maximize "
    f"Compatibility, or {_CONVERT}"
)

# Where the mark begins, the mark, and what follows the file's name. The first that fits counts.
_MARKS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"gimp xcf", f"is a GIMP document (XCF); {_CONVERT}"),
    (0, b"\xff\x0a", f"is a JPEG XL image; {_CONVERT}"),
    (0, b"\0\0\0\x0cJXL ", f"is a JPEG XL image; {_CONVERT}"),
    (0, b"\x76\x2f\x31\x01", f"is an OpenEXR image; {_CONVERT}"),
    (0, b"#?RADIANCE", f"is a Radiance HDR image; {_CONVERT}"),
    (0, b"%PDF", f"is a PDF document; {_RENDER}"),
    (0, b"%!PS", f"is a PostScript document (EPS); {_RENDER}"),
    (0, b"\xc5\xd0\xd3\xc6", f"is a PostScript document (EPS); {_RENDER}"),
    (0, b"\xd7\xcd\xc6\x9a", f"is a Windows drawing (WMF); {_RENDER}"),
    (40, b" EMF", f"is a Windows drawing (EMF); {_RENDER}"),
    (0, b"\x1c\x02", f"is an IPTC record of a news agency; {_CONVERT}"),
    (0, b"\xd0\xcf\x11\xe0", f"is an OLE file, as Office, FlashPix and MIC have; {_CONVERT}"),
    (0, b"\x89HDF", f"is an HDF5 file; {_CONVERT}"),
    (0, b"GRIB", f"is weather data (GRIB); {_CONVERT}"),
    (0, b"BUFR", f"is weather data (BUFR); {_CONVERT}"),
    (8, b"CR\x02", f"is a camera's raw file (CR2); {_DEVELOP}"),
    (0, b"FUJIFILMCCD-RAW", f"is a camera's raw file (RAF); {_DEVELOP}"),
    (0, b"IIRO", f"is a camera's raw file (ORF); {_DEVELOP}"),
    (0, b"IIRS", f"is a camera's raw file (ORF); {_DEVELOP}"),
    (0, b"IIU\0", f"is a camera's raw file (RW2); {_DEVELOP}"),
    (0, b"\x1aE\xdf\xa3", f"is a Matroska or WebM video; {_FRAME}"),
    (0, b"\0\0\1\xb3", f"is an MPEG video; {_FRAME}"),
    (0, b"\0\0\1\xba", f"is an MPEG video; {_FRAME}"),
    (8, b"AVI ", f"is an AVI video; {_FRAME}"),
    (0, b"PK\x03\x04", f"is a ZIP archive; {_UNPACK}"),
    (0, b"\x1f\x8b", f"is packed with gzip; {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"is a 7-Zip archive; {_UNPACK}"),
    (257, b"ustar", f"is a TAR archive; {_UNPACK}"),
    (0, b"Rar!", f"is a RAR archive; {_UNPACK}"),
    (
        0,
        b"version https://git-lfs",
        "is a Git LFS pointer, not the image itself; run git lfs pull where it was cloned",
    ),
)

# Brands of the ISO base media file format, in the box that begins at byte 4.
_BRANDS: tuple[tuple[tuple[bytes, ...], str], ...] = (
    ((b"avif", b"avis"), _DAMAGED.format("an", "AVIF")),
    (
        (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"),
        _DAMAGED.format("a", "HEIC (HEIF)"),
    ),
    ((b"crx ",), f"is a camera's raw file (CR3); {_DEVELOP}"),
)
_VIDEO = f"is a video (MP4 or MOV); {_FRAME}"
_VIDEO_BOXES = (b"ftyp", b"moov", b"mdat", b"wide")

# Texts, by a pattern that the beginning matches.
_TEXTS: tuple[tuple[str, str], ...] = (
    (r"<!doctype html|<html|<head|<body", f"is an HTML page; {_FETCH}"),
    (r"(?s).*<svg[\s>]", f"is an SVG drawing; {_RENDER}"),
    (r"(?s).*<html[\s>]", f"is an HTML page; {_FETCH}"),
    (r"<\?xml|<[a-z]", f"is XML text{{}}; {_FETCH}"),
    (r"[\[{]", f"is JSON text; {_FETCH}"),
)


def is_camera_raw(data: bytes) -> bool:
    """Whether a TIFF file says in its first bytes that it is a camera's raw file."""
    return data.startswith((b"II", b"MM")) and data[8:11] == b"CR\x02"


def described(data: bytes) -> str:
    """What bytes are that cannot be read as an image, and what to do: what follows their name.

    A phrase of a bounded length, without the final stop.
    """
    head = data[:_LOOKED_AT]
    return _other(head) or _damaged(head) or _unknown(head)


def is_known(data: bytes) -> bool:
    """Whether bytes are by their mark, or as text, what no format without a mark can be."""
    head = data[:_LOOKED_AT]
    # A TGA file often begins as a cursor.
    return not head.startswith(_CURSOR) and bool(_other(head) or formats.begins_as(head))


def _other(head: bytes) -> str | None:
    """Of something that is no image of a format that is read."""
    for start, mark, phrase in _MARKS:
        if head[start : start + len(mark)] == mark:
            return phrase
    return _boxed(head) or _text(head)


def _damaged(head: bytes) -> str | None:
    """Of an image by its mark that Pillow does not open."""
    found = formats.begins_as(head)
    if found is None:
        return None
    if found.name == "PSD":
        bits = int.from_bytes(head[22:24], "big")
        if bits > 8:
            return f"is a Photoshop document (PSD) of {bits} bits a channel; {_CONVERT}"
        return f"is a Photoshop document (PSD) of an unknown kind, or damaged; {_CONVERT}"
    article = "an" if found.name[0] in "AEIFSX" and found.name != "Sun raster" else "a"
    return _DAMAGED.format(article, found.name)


def _boxed(head: bytes) -> str | None:
    if head[4:8] not in _VIDEO_BOXES:
        return None
    length = min(int.from_bytes(head[:4], "big"), 256)
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, length, 4))}
    if head[4:8] == b"ftyp":
        for names, phrase in _BRANDS:
            if brands.intersection(names):
                return phrase
    return _VIDEO


def _text(head: bytes) -> str | None:
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    text = head.decode(encoding, "replace").lstrip("\ufeff \t\r\n")
    # A character may be cut at the end.
    has_controls = any(ord(letter) < 32 and letter not in "\t\r\n\f" for letter in text)
    if not text or has_controls or "\ufffd" in text[:-1]:
        return None
    for pattern, phrase in _TEXTS:
        if re.match(pattern, text, re.IGNORECASE):
            return phrase.format(_error_code(text))
    return f"is plain text; {_FETCH}"


def _error_code(text: str) -> str:
    """What a bucket's answer says of itself; empty for other XML."""
    code = re.search(rf"<Code>(\w{{1,{_CODE_LIMIT}}})</Code>", text)
    return f", a storage server's error {code[1]}" if code else ""


def _unknown(head: bytes) -> str:
    if not head.strip(b"\0"):
        return "begins with nothing but zeros, as after a crash; copy it again"
    return (
        "is not an image of a known format (its first bytes are "
        f"{head[:_SHOWN].hex(' ')}); {_CONVERT}, or copy it again if it is damaged"
    )
