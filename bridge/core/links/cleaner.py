"""Pixels, and nothing else (G8): run as a program of its own, with a picture on standard input.

What cameras and programs write into pictures (place, time, maker, thumbnails, comments, what stands
behind the picture's end) does not come out: the picture is decoded and made anew. Decoding a
stranger's picture is the work of C libraries; it is done here, in a process that holds no key and
has little memory and time. Exit code 0 and the picture, or 1 and nothing.
"""

from __future__ import annotations

import io
import resource
import sys

from PIL import Image, ImageCms, ImageOps

_PIXELS = 50_000_000
_MEMORY = 2 * 1024**3
_SECONDS = 30
_KINDS = ("JPEG", "PNG", "WEBP")
_MODES = {
    "JPEG": ("L", "RGB"),
    "PNG": ("1", "L", "LA", "RGB", "RGBA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
}


def cleaned(content: bytes) -> bytes:
    """The picture, in its own format. Raises whatever Pillow raises, and ValueError."""
    with Image.open(io.BytesIO(content), formats=_KINDS) as read:
        kind = str(read.format)
        if read.width * read.height > _PIXELS:
            raise ValueError("too many pixels")
        if getattr(read, "n_frames", 1) > 1:
            raise ValueError("it moves")
        profile = read.info.get("icc_profile")
        picture: Image.Image = ImageOps.exif_transpose(read)
        picture.load()
    if picture.mode == "P" or "transparency" in picture.info:
        picture = picture.convert("RGBA")
    if profile and picture.mode in ("RGB", "CMYK", "L"):
        # A profile can name a device: the colours are kept, and it is not.
        known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        picture = ImageCms.profileToProfile(  # type: ignore[assignment]
            picture, known, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    if picture.mode not in _MODES[kind]:
        picture = picture.convert("RGB")
    bare = Image.new(picture.mode, picture.size)
    bare.paste(picture)
    made = io.BytesIO()
    bare.save(made, kind, quality=92)
    return made.getvalue()


def main() -> int:
    """Clean what comes."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (_SECONDS, _SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        made = cleaned(sys.stdin.buffer.read())
    except Exception:  # whatever it is, the answer is the same: it is not handed out
        return 1
    sys.stdout.buffer.write(made)
    sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
