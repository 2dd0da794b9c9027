"""Photos that must be refused, made when a test runs."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

from PIL import Image
from skimage import data


def blank(width: int, height: int) -> bytes:
    """A grey JPEG."""
    file = BytesIO()
    Image.new("L", (width, height), 128).save(file, "JPEG", quality=30)
    return file.getvalue()


def cat() -> bytes:
    """Scikit-image's cat. As a JPEG of this quality the networks take it for a person."""
    file = BytesIO()
    Image.fromarray(data.chelsea()).save(file, "JPEG", quality=90)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG of 50 kilobytes that unpacks to 50 megabytes and claims ``width`` x ``height`` pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(50_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def scaled(photo: bytes, side: int) -> bytes:
    """The photo at ``side`` pixels."""
    file = BytesIO()
    Image.open(BytesIO(photo)).resize((side, side), Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()


def with_comment(photo: bytes, comment: bytes) -> bytes:
    """The JPEG with a comment segment, by which its bytes can be found again."""
    return photo[:2] + b"\xff\xfe" + struct.pack(">H", len(comment) + 2) + comment + photo[2:]
