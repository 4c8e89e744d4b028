"""Images: bytes to upright sRGB arrays, safely, and back to bytes."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from nst_core import headers
from nst_core.config import PIXELS_CEILING
from nst_core.errors import InputTooLarge, InputUnreadable, PairError

EXTENSIONS: dict[str, str] = {"png": "png", "jpeg": "jpg", "webp": "webp", "tiff": "tiff"}
CONTENT_TYPES: dict[str, str] = {name: f"image/{name}" for name in EXTENSIONS}

# What Pillow may open; a phone's MPO is opened as the JPEG that it starts with.
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PLAIN_MODES = {"1": "L", "P": "RGBA", "PA": "RGBA", "La": "LA", "RGBa": "RGBA"}
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK", "LAB": "Lab"}
# Pillow widens the grey values of these PNG files to 8 bits, or narrows the colours to 8, but
# leaves the transparent colour as it is in the file.
_KEY_SCALES = {"L;2": 85.0, "L;4": 17.0, "RGB;16B": 1 / 256}
_RESAMPLE = {"lanczos": Image.Resampling.LANCZOS, "nearest": Image.Resampling.NEAREST}
_DESCRIPTION = ExifTags.Base.ImageDescription
_WEBP_HAS_EXIF = 0x08

# Python's warning filters belong to the whole process, so they are changed by one thread at a
# time; that also keeps the memory of decoding to one image.
_PILLOW_LOCK = threading.Lock()


@dataclass(frozen=True)
class Picture:
    """A decoded image, upright, in sRGB.

    `rgb`: uint8 [H, W, 3], composited onto white where the image is transparent.
    `alpha`: uint8 [H, W], 255 is opaque; None where the whole image is opaque.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None

    @property
    def width(self) -> int:
        """Width in px."""
        return int(self.rgb.shape[1])

    @property
    def height(self) -> int:
        """Height in px."""
        return int(self.rgb.shape[0])


def decode(data: bytes, *, name: str, max_pixels: int, max_bytes: int) -> Picture:
    """The first frame of a JPEG, PNG, WebP, TIFF, BMP or GIF file, whatever its mode.

    The orientation is the one in the EXIF data before the pixels, as in browsers; an embedded
    profile leads to sRGB unless it is broken or of another colour space. `name` is for errors.

    Raises:
        InputTooLarge: over `max_bytes`, over `max_pixels` (checked before decoding), or more
            than the memory holds.
        InputUnreadable: anything else that is not a whole image of these formats.
    """
    if len(data) > max_bytes:
        raise InputTooLarge(
            f"{name} has {len(data)} bytes, over the limit of {max_bytes}; "
            "raise max_bytes or shrink it."
        )
    with _pillow(name, max_pixels, on_warning="ignore"):
        image = _open(data, name, max_pixels)
        turn = _TURNS.get(_orientation(image))
        key = _transparent_color(image)
        profile = image.info.get("icc_profile")
        if headers.png_is_damaged(data):
            raise ValueError("wrong checksum")
        image.load()
        upright = image.transpose(turn) if turn is not None else image
        color, alpha = _split_alpha(upright, key)
        rgb = np.asarray(_to_srgb(color, profile))
        if alpha is None or alpha.min() == 255:
            return Picture(rgb, None)
        return Picture(onto_white(rgb, alpha), alpha)


def header_size(
    head: bytes, *, name: str, max_pixels: int, complete: bool = False
) -> tuple[int, int] | None:
    """Width and height of the upright image, px, from a file's first bytes; nothing is decoded.

    None: these bytes do not suffice; call again with all of them and `complete`.

    Raises:
        InputTooLarge: over `max_pixels`.
        InputUnreadable: the bytes are `complete`, and not the header of an image.
    """
    # A TIFF directory that is cut off is read in part, with no more than a warning.
    strict = head.startswith((b"II", b"MM")) and not complete
    try:
        with _pillow(name, max_pixels, on_warning="error" if strict else "ignore"):
            webp = headers.webp_header(head)
            if webp and not webp[2] & _WEBP_HAS_EXIF:
                _check_pixels((webp[0], webp[1]), name, max_pixels)
                return webp[0], webp[1]
            image = _open(head, name, max_pixels)
            width, height = image.size
            return (height, width) if _orientation(image) >= 5 else (width, height)
    except InputUnreadable:
        if complete:
            raise
        return None


@contextlib.contextmanager
def _pillow(
    name: str, max_pixels: int, *, on_warning: Literal["ignore", "error"]
) -> Iterator[None]:
    """Every error inside becomes one of this project's; Pillow's warnings are muted or errors."""
    try:
        with _PILLOW_LOCK, warnings.catch_warnings():
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
    except UnidentifiedImageError as error:
        raise InputUnreadable(
            f"{name} is not a whole JPEG, PNG, WebP, TIFF, BMP or GIF image; convert it to one of "
            "these, or export it again if it is damaged."
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise InputUnreadable(
            f"{name} cannot be decoded ({reason}); it is damaged or cut off, so export it again."
        ) from error


def _open(data: bytes, name: str, max_pixels: int) -> ImageFile:
    if not data:
        raise InputUnreadable(f"{name} is empty (0 bytes); export or copy it again.")
    # Opening a WebP file already allocates its canvas, and a PNG that is cut off is not opened.
    size = headers.webp_header(data) or headers.png_size(data)
    if size:
        _check_pixels((size[0], size[1]), name, max_pixels)
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        # Pillow asks EXIF for the resolution of a JPEG, and gives up on some nonsense in there.
        if not data.startswith(b"\xff\xd8\xff") or b"Exif\0\0" not in data:
            raise
        without_exif = data.replace(b"Exif\0\0", b"none\0\0", 1)
        image = Image.open(io.BytesIO(without_exif), formats=_FORMATS)
    _check_pixels(image.size, name, max_pixels)
    return image


def _check_pixels(size: tuple[int, int], name: str, max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise InputTooLarge(
            f"{name} has {width * height} pixels ({width} × {height}), over the limit of "
            f"{max_pixels}; raise max_pixels or shrink it."
        )


def _orientation(image: ImageFile) -> int:
    """The EXIF orientation, 1 to 8, of an image that is not loaded yet; 1 if EXIF is broken."""
    if image.format == "TIFF":
        # Pillow turns TIFF files itself, but would also ask XMP, after having told the size.
        image.info.pop("xmp", None)
        return 1
    value = _exif_value(image, ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif_value(image: ImageFile, tag: int) -> Any:
    """None where the tag is missing or the EXIF data is broken."""
    try:
        if image.format == "TIFF":
            return image.getexif().get(tag)
        # `getexif` would decode a PNG, and take the orientation from XMP where EXIF has none.
        exif = Image.Exif()
        exif.load(image.info.get("exif", b""))
        return exif.get(tag)
    except Exception:
        # The errors of Pillow's EXIF reader are not documented; none of them spoils the pixels.
        return None


def _transparent_color(image: ImageFile) -> np.ndarray | None:
    """The one colour that is transparent in a PNG without alpha, as Pillow shows the pixels."""
    key = image.info.get("transparency")
    if key is None or image.mode == "P" or not image.tile:
        return None
    scale = _KEY_SCALES.get(str(image.tile[0].args), 1.0)
    return (np.asarray(key) * scale).astype(np.int64)


def _split_alpha(
    image: Image.Image, key: np.ndarray | None
) -> tuple[Image.Image, np.ndarray | None]:
    """The colours, 8 bits a channel, and the alpha channel or None."""
    if image.mode in _PLAIN_MODES:
        image = image.convert(_PLAIN_MODES[image.mode])
    image.info.pop("transparency", None)
    if image.mode in ("LA", "RGBA"):
        return image.convert(image.mode[:-1]), np.asarray(image.getchannel("A"))
    alpha = None
    if key is not None:
        same = np.asarray(image) == key
        alpha = np.where(same.all(axis=-1) if same.ndim == 3 else same, 0, 255).astype(np.uint8)
    if image.mode.startswith("I") or image.mode == "F":
        image = Image.fromarray(_grey_8_bit(np.asarray(image)))
    return image, alpha


def _grey_8_bit(values: np.ndarray) -> np.ndarray:
    """uint8 from integers of 16 bits (or 32, if they need them) or floats in 0..1 or 0..255."""
    wide = np.nan_to_num(values.astype(np.float32), posinf=np.inf, neginf=-np.inf)
    if values.dtype.kind == "f":
        high = 1.0 if wide.min() >= 0 and wide.max() <= 1 else 255.0
    else:
        high = 65535.0 if wide.max() <= 65535 else float(np.iinfo(values.dtype).max)
    return to_8_bit(wide * (255 / high))


def _to_srgb(image: Image.Image, profile: Any) -> Image.Image:
    """RGB in sRGB; without a usable profile of its colour space, as Pillow converts the mode."""
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, TypeError, ValueError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() == _PROFILE_SPACES.get(image.mode):
                transform = ImageCms.buildTransform(
                    source,
                    ImageCms.createProfile("sRGB"),
                    image.mode,
                    "RGB",
                    ImageCms.Intent.RELATIVE_COLORIMETRIC,
                    ImageCms.Flags.BLACKPOINTCOMPENSATION,
                )
                return transform.apply(image)
    return image.convert("RGB")


def onto_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3]: what is hidden under the alpha channel does not show."""
    opacity: np.ndarray = alpha[..., None].astype(np.uint16)
    composite: np.ndarray = (rgb * opacity + 255 * (255 - opacity) + 127) // 255
    return composite.astype(np.uint8)


def to_8_bit(values: np.ndarray) -> np.ndarray:
    """Values rounded and clipped to 0…255, uint8."""
    rounded: np.ndarray = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return rounded


def resize(rgb: np.ndarray, width: int, height: int, resample: str) -> np.ndarray:
    """float32 [height, width, 3] or [height, width], values in 0..255.

    rgb: uint8 or float32 [H, W, 3] or [H, W] in 0..255. `resample`: `lanczos`, or `nearest` as
    in Keras's `load_img`.
    """
    method = _RESAMPLE[resample]
    if rgb.shape[:2] == (height, width):
        return np.asarray(np.clip(rgb, 0, 255), np.float32)
    if rgb.dtype == np.uint8:
        return np.asarray(Image.fromarray(rgb).resize((width, height), method), np.float32)
    channels = rgb.astype(np.float32).reshape(*rgb.shape[:2], -1)
    resized: np.ndarray = np.stack(
        [
            np.asarray(Image.fromarray(channels[..., index]).resize((width, height), method))
            for index in range(channels.shape[-1])
        ],
        axis=-1,
    )
    resized = np.clip(resized, 0, 255)
    return resized.reshape(height, width, *rgb.shape[2:])


def pad_reflect(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h, w, 3] padded at the bottom and the right to [height, width, 3] by reflection.

    Padding wider than the image reflects again and again; a single row or column is repeated.
    """
    below, right = height - image.shape[0], width - image.shape[1]
    return np.pad(image, ((0, below), (0, right), (0, 0)), mode="reflect")


def encode(
    rgb: np.ndarray,
    alpha: np.ndarray | None,
    *,
    output_format: str,
    quality: int,
    metadata: Mapping[str, str],
) -> bytes:
    """An image file in sRGB, its profile and `metadata` inside; equal input gives equal bytes.

    rgb: float32 [H, W, 3] in 0..255, rounded to 8 bits; alpha: [H, W] in 0..255 or None, in a
    JPEG composited onto white. `output_format`: a key of `EXTENSIONS`; `quality` (1 to 100) is
    for JPEG, without chroma subsampling, and WebP. PNG holds the metadata as iTXt chunks, the
    others as JSON in the EXIF image description (64 KiB at most in a JPEG).
    """
    pixels = to_8_bit(rgb)
    if alpha is not None:
        opacity = to_8_bit(alpha)
        if output_format == "jpeg":
            pixels = onto_white(pixels, opacity)
        else:
            pixels = np.dstack([pixels, opacity])
    options: dict[str, Any] = {"icc_profile": srgb_profile()}
    if output_format == "png":
        text = PngImagePlugin.PngInfo()
        for key, value in metadata.items():
            text.add_itxt(key, value)
        options["pnginfo"] = text
    else:
        exif = Image.Exif()
        exif[_DESCRIPTION] = json.dumps(dict(metadata))
        options["exif"] = exif
    if output_format == "tiff":
        options["compression"] = "tiff_adobe_deflate"
    else:
        options["quality"] = quality
    if output_format == "jpeg":
        options["subsampling"] = "4:4:4"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, output_format.upper(), **options)
    return buffer.getvalue()


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB profile, the same bytes every time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # The creation date: it would make the bytes differ from run to run.
    return profile[:24] + bytes(12) + profile[36:]


def read_metadata(data: bytes) -> dict[str, str]:
    """What `encode` wrote as `metadata`; empty for an image that holds none.

    Raises:
        InputTooLarge: more pixels than Pillow decodes.
        InputUnreadable: the bytes are not an image.
    """
    with _pillow("The image", PIXELS_CEILING, on_warning="ignore"):
        image = _open(data, "The image", PIXELS_CEILING)
        if image.format == "PNG":
            texts = image.info.items()
            return {str(k): str(v) for k, v in texts if isinstance(v, PngImagePlugin.iTXt)}
        description = _exif_value(image, _DESCRIPTION)
    try:
        texts = json.loads(description).items()
    except (AttributeError, TypeError, ValueError):
        return {}
    return {str(key): str(value) for key, value in texts}
