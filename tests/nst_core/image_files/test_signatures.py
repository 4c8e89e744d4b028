"""Bytes that are no image: the error says what they are and what to do."""

from __future__ import annotations

import gzip
import io
import zipfile

import pytest

from nst_core.errors import InputUnreadable
from nst_core.image_files import signatures
from nst_core.imaging import images


def box(brand: bytes, *others: bytes) -> bytes:
    """The first box of a file of the ISO base media format."""
    body = b"ftyp" + brand + bytes(4) + b"".join(others)
    return (4 + len(body)).to_bytes(4, "big") + body + bytes(64)


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.png", b"x")
    return stream.getvalue()


BYTES = [
    (box(b"heic", b"mif1"), "HEIC"),
    (box(b"mif1", b"heic"), "HEIC"),
    (box(b"avif", b"mif1"), "AVIF"),
    (box(b"mif1", b"avif", b"miaf"), "AVIF"),
    (box(b"crx "), "raw file (CR3)"),
    (box(b"isom", b"mp42"), "video (MP4 or MOV)"),
    (box(b"qt  "), "video (MP4 or MOV)"),
    (b"\0\0\0\x08wide\0\0\0\0mdat", "video"),
    (b"\x1aE\xdf\xa3" + bytes(40), "Matroska"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'></svg>", "SVG"),
    (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg width='9'>", "SVG"),
    (b"8BPS\0\1" + bytes(40), "PSD"),
    (b"8BPS\0\1" + bytes(16) + b"\0\x10\0\3" + bytes(40), "(PSD) of 16 bits a channel"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript document (EPS)"),
    (b"\xd7\xcd\xc6\x9a" + bytes(40), "Windows drawing (WMF)"),
    (b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(40), "Windows drawing (EMF)"),
    (b"\xd0\xcf\x11\xe0" + bytes(40), "FlashPix"),
    (b"GRIB" + bytes(40), "weather data"),
    (b"\0\0\1\xb3" + bytes(40), "MPEG video"),
    (b"\xff\x0a" + bytes(40), "JPEG XL"),
    (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "JPEG XL"),
    (b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(40), "JPEG 2000"),
    (b"%PDF-1.7\n", "PDF"),
    (b"FUJIFILMCCD-RAW 0201", "raw file (RAF)"),
    (b"IIRO\x08\0\0\0", "raw file (ORF)"),
    (b"IIU\0\x18\0\0\0", "raw file (RW2)"),
    (b"\n<!DOCTYPE html><title>403</title><svg>", "HTML page"),
    (b"<html><body>403 Forbidden</body></html>", "HTML page"),
    (
        b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
        "storage server's error AccessDenied",
    ),
    (b"<Error><Code>" + b"x" * 3000 + b"</Code></Error>", "XML text;"),
    (b'{"error": {"code": 404}}', "JSON"),
    ("Für später aufgehoben".encode(), "plain text"),
    ("nur Text".encode("utf-16"), "plain text"),
    (zipped(), "ZIP"),
    (gzip.compress(b"x", mtime=0), "gzip"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    (bytes(5000), "nothing but zeros"),
    (b"\xff\xd8\xff\xe0", "begins as a JPEG"),
    (b"BM" + bytes(9), "begins as a BMP"),
    (b"\x01\x02\x03\x04\x05\x06\x07\x08\x09", "first bytes are 01 02 03 04 05 06 07 08)"),
]


@pytest.mark.parametrize(("data", "named"), BYTES, ids=lambda value: str(value)[:24])
def test_the_error_names_what_the_bytes_are_in_one_bounded_sentence(
    data: bytes, named: str
) -> None:
    with pytest.raises(InputUnreadable) as caught:
        images.decode(data, name="a.jpg", max_pixels=10**6, max_bytes=10**6)
    message = str(caught.value)
    assert message.startswith("a.jpg ")
    assert named in message
    assert message.endswith(".")
    assert ". " not in message
    assert "\n" not in message
    assert len(message) < 250
    with pytest.raises(InputUnreadable, match=r"^a\.jpg "):
        images.header_size(data, name="a.jpg", max_pixels=10**6, complete=True)


@pytest.mark.parametrize("length", range(0, 40, 3))
def test_a_beginning_cut_anywhere_has_a_description(length: int) -> None:
    for data, _ in BYTES:
        assert signatures.described(data[:length])
