"""Pictures as a model is shown them: upright, not too large, and without what a phone notes in them."""

from __future__ import annotations

import io

from PIL import Image, ImageOps, UnidentifiedImageError

from chatferry.reading.jobs import Unreadable
from chatferry.sniffing import HEIC

LONGEST = 1568
"""Pixels of the longer side: models look at no more of them."""
_PIXELS, _OF_A_JPEG = 50_000_000, 200_000_000
"""At most. A JPEG is decoded at an eighth of its size, so it may be larger."""
_JPEGS = ("JPEG", "MPO")
"""The second is what phones make of a portrait: one with a map of its depth."""
_SMALL = 512 * 1024
"""Bytes of a picture that may stay a PNG: a screen's, say, on which letters are to be read."""

Image.MAX_IMAGE_PIXELS = None  # we look at the header ourselves


def opened(media_type: str, data: bytes) -> Image.Image:
    """The picture, decoded as small as is enough. Raises Unreadable, and ImportError where an extra reads it."""
    forms: tuple[str, ...] = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
    if media_type == HEIC:
        import pillow_heif

        pillow_heif.options.DECODE_THREADS = 1  # each more takes its own part of the little memory
        pillow_heif.register_heif_opener()
        forms = ("HEIF",)
    try:
        image: Image.Image = Image.open(io.BytesIO(data), formats=forms)
        if image.width * image.height > (_OF_A_JPEG if image.format in _JPEGS else _PIXELS):
            raise Unreadable("heavy")
        image.draft("RGB", (LONGEST, LONGEST))  # of a JPEG no more is decoded than is needed
        image = ImageOps.exif_transpose(image)
        image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS, reducing_gap=2.0)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        raise Unreadable("broken") from None
    seen = image.has_transparency_data
    return image.convert("RGBA" if seen else "RGB")


def made(image: Image.Image) -> tuple[str, bytes]:
    """Media type and bytes."""
    if image.mode == "RGBA":  # nobody knows on what it would lie
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        image = paper
    if (drawn := image.getcolors(4096)) is not None and len(drawn) <= 4096:
        png = _saved(image, "PNG", optimize=True)
        if len(png) <= _SMALL:
            return "image/png", png
    return "image/jpeg", _saved(image, "JPEG", quality=85, optimize=True)


def _saved(image: Image.Image, form: str, **options: object) -> bytes:
    into = io.BytesIO()
    image.save(into, form, **options)
    return into.getvalue()
