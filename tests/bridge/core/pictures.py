"""Pictures as cameras write them, with a word in every place that tells more than pixels."""

from __future__ import annotations

import io

from PIL import Image, PngImagePlugin

__all__ = ["MARK", "WIDE", "jpeg", "png", "webp"]

MARK = b"Marker-Of-A-Camera"
WIDE = (60, 40)
_XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + MARK + b"</x:xmpmeta>"


def _picture() -> Image.Image:
    """Red on the left, blue on the right."""
    made = Image.new("RGB", WIDE, (250, 0, 0))
    made.paste((0, 0, 250), (30, 0, 60, 40))
    return made


def _exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = MARK.decode()
    exif[0x0112] = orientation
    exif.get_ifd(0x8825)[29] = MARK.decode()  # the day of a GPS fix
    return exif


def jpeg(orientation: int = 1) -> bytes:
    """With EXIF, XMP, a comment, and something behind the picture's end."""
    out = io.BytesIO()
    exif = _exif(orientation).tobytes()
    _picture().save(out, "JPEG", exif=exif, comment=MARK, xmp=_XMP)
    return out.getvalue() + MARK


def png() -> bytes:
    """With text chunks, EXIF, and something behind the picture's end."""
    out = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", MARK.decode())
    info.add_itxt("XML:com.adobe.xmp", _XMP.decode())
    _picture().save(out, "PNG", pnginfo=info, exif=_exif())
    return out.getvalue() + MARK


def webp() -> bytes:
    """With EXIF and XMP."""
    out = io.BytesIO()
    _picture().save(out, "WEBP", exif=_exif().tobytes(), xmp=_XMP)
    return out.getvalue()
