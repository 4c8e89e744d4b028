"""Which image formats are read: the one table of them; files, errors and documentation follow."""

from __future__ import annotations

import dataclasses

from PIL import Image


@dataclasses.dataclass(frozen=True)
class Format:
    """One format.

    `name`: as people call it. `pillow`: what Pillow calls it, in the order in which it is tried.
    `extensions`: those that stand for a picture of it wherever they are found, and for nothing
    else. `marks`: where a mark of its first bytes begins, and the mark; a format without one is
    tried last, and only where the bytes are nothing else that has a name. `advised`: what to
    export a picture as that is not read. `common`: a rare one is read, but not every list of
    formats names it.
    """

    name: str
    pillow: tuple[str, ...]
    extensions: tuple[str, ...]
    marks: tuple[tuple[int, bytes], ...] = ()
    advised: bool = False
    common: bool = True


_BRAND = 4  # Where the files of the ISO base media format say `ftyp`, and which they are.
_AVIF = (b"ftypavif", b"ftypavis")
_HEIC = tuple(
    b"ftyp" + brand
    for brand in (
        *(b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"),
        *(b"mif1", b"msf1"),
    )
)

FORMATS: tuple[Format, ...] = (
    # A phone's MPO is opened as the JPEG that it starts with.
    Format(
        "JPEG",
        ("JPEG",),
        (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
        ((0, b"\xff\xd8\xff"),),
        advised=True,
    ),
    Format("PNG", ("PNG",), (".png", ".apng"), ((0, b"\x89PNG\r\n\x1a\n"),), advised=True),
    Format("WebP", ("WEBP",), (".webp",), ((8, b"WEBP"),), advised=True),
    Format(
        "TIFF",
        ("TIFF",),
        (".tif", ".tiff"),
        tuple((0, mark) for mark in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        advised=True,
    ),
    Format("BMP", ("BMP", "DIB"), (".bmp", ".dib"), ((0, b"BM"), (0, b"(\0\0\0"))),
    Format("GIF", ("GIF",), (".gif",), ((0, b"GIF87a"), (0, b"GIF89a"))),
    Format("AVIF", ("AVIF",), (".avif", ".avifs"), tuple((_BRAND, mark) for mark in _AVIF)),
    Format(
        "HEIC (HEIF)",
        ("HEIF",),
        (".heic", ".heif", ".heics", ".heifs", ".hif"),
        tuple((_BRAND, mark) for mark in _HEIC),
    ),
    Format(
        "JPEG 2000",
        ("JPEG2000",),
        (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
        ((0, b"\0\0\0\x0cjP  "), (0, b"\xff\x4f\xff\x51")),
    ),
    Format(
        "PPM (PGM, PBM, PFM)",
        ("PPM",),
        (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        tuple((0, b"P" + bytes([kind, end])) for kind in b"123456fF" for end in b" \t\n\r"),
    ),
    Format("TGA", ("TGA",), (".tga", ".icb", ".vda", ".vst")),
    Format("ICO", ("ICO", "CUR"), (".ico", ".cur"), ((0, b"\0\0\1\0"), (0, b"\0\0\2\0"))),
    Format("PSD", ("PSD",), (".psd",), ((0, b"8BPS"),)),
    Format("ICNS", ("ICNS",), (".icns",), ((0, b"icns"),), common=False),
    Format("QOI", ("QOI",), (".qoi",), ((0, b"qoif"),), common=False),
    Format("DDS", ("DDS",), (".dds",), ((0, b"DDS "),), common=False),
    Format("SGI", ("SGI",), (".sgi", ".rgb", ".rgba", ".bw"), ((0, b"\x01\xda"),), common=False),
    Format("Sun raster", ("SUN",), (".ras",), ((0, b"\x59\xa6\x6a\x95"),), common=False),
    Format("XBM", ("XBM",), (".xbm",), ((0, b"#define "),), common=False),
    Format("XPM", ("XPM",), (".xpm",), ((0, b"/* XPM */"),), common=False),
    Format("FITS", ("FITS",), (".fits",), ((0, b"SIMPLE  ="),), common=False),
    Format("BLP", ("BLP",), (".blp",), ((0, b"BLP1"), (0, b"BLP2")), common=False),
    Format("FTEX", ("FTEX",), (".ftc", ".ftu"), ((0, b"FTEX"),), common=False),
    Format("GIMP brush", ("GBR",), (".gbr",), ((20, b"GIMP"),), common=False),
    Format("MSP", ("MSP",), (".msp",), ((0, b"DanM"), (0, b"LinS")), common=False),
    Format("Pixar", ("PIXAR",), (".pxr",), ((0, b"\x80\xe8\0\0"),), common=False),
    Format("XV thumbnail", ("XVTHUMB",), (), ((0, b"P7 332"),), common=False),
    Format("PhotoCD", ("PCD",), (".pcd",), ((2048, b"PCD_"),), common=False),
    Format("DCX", ("DCX",), (".dcx",), ((0, b"\xb1\x68\xde\x3a"),), common=False),
    Format(
        "FLI or FLC", ("FLI",), (".fli", ".flc"), ((4, b"\x11\xaf"), (4, b"\x12\xaf")), common=False
    ),
    # Without a mark, or with one so weak that many other files have it.
    Format("PCX", ("PCX",), (".pcx",), common=False),
    Format("IM", ("IM",), (), common=False),
    Format("IMT", ("IMT",), (), common=False),
    Format("MCIDAS", ("MCIDAS",), (), common=False),
    Format("SPIDER", ("SPIDER",), (), common=False),
)

# What Pillow opens, and is not read, by the name it has there, and why.
NOT_READ: dict[str, str] = {
    "EPS": "a program (PostScript) that another program would have to run",
    "WMF": "a drawing, which only Windows draws",
    "MPEG": "a video",
    "IPTC": "a news agency's envelope, of which Pillow reads hardly any",
    "FPX": "FlashPix, which needs a package that is not here",
    "MIC": "Microsoft Image Composer, which needs a package that is not here",
    "BUFR": "weather data",
    "GRIB": "weather data",
    "HDF5": "numbers of any kind",
}

# As Pillow calls them, in the order in which they are tried.
MARKED: tuple[str, ...] = tuple(name for one in FORMATS if one.marks for name in one.pillow)
UNMARKED: tuple[str, ...] = tuple(name for one in FORMATS if not one.marks for name in one.pillow)
EXTENSIONS: tuple[str, ...] = tuple(extension for one in FORMATS for extension in one.extensions)
# So many first bytes of a file have every mark in them.
MARK_BYTES = max(start + len(mark) for one in FORMATS for start, mark in one.marks)


def _listed(formats: list[Format]) -> str:
    """Names as in a sentence: `JPEG, PNG or WebP`."""
    *others, last = (one.name for one in formats)
    return f"{', '.join(others)} or {last}"


# For sentences: what everybody knows, and what to export.
COMMON = _listed([one for one in FORMATS if one.common])
ADVISED = _listed([one for one in FORMATS if one.advised])


def begins_as(head: bytes) -> Format | None:
    """The format whose mark these first bytes have; None for one that has none."""
    for one in FORMATS:
        if any(head[start : start + len(mark)] == mark for start, mark in one.marks):
            return one
    return None


# Bytes of one unpacked text or profile of a PNG; Pillow allows 1 MiB, and some XMP has more.
_PNG_TEXT_BYTES = 1 << 24


def register() -> None:
    """Have Pillow know all of them."""
    import pillow_heif
    from PIL import AvifImagePlugin, PngImagePlugin

    Image.init()
    PngImagePlugin.MAX_TEXT_CHUNK = _PNG_TEXT_BYTES
    # There is a process for each processor: threads in it would take memory and win no time.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    pillow_heif.register_heif_opener(
        thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
    )
