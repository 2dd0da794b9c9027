"""Damaged photos, reproducible from a seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from PIL import Image

#: Encoded photos keep their tables and headers in the first bytes: half of the damage goes there.
_HEADERS = 700


def photo_formats(photo: bytes, side: int) -> list[bytes]:
    """The photo scaled to ``side`` pixels in every format that the service reads and Pillow writes."""
    picture = Image.open(BytesIO(photo)).convert("RGB").resize((side, side))
    variants: list[tuple[Image.Image, str, dict[str, Any]]] = [
        (picture, "JPEG", {"quality": 85}),
        (picture, "JPEG", {"quality": 85, "progressive": True}),
        (picture.convert("CMYK"), "JPEG", {"quality": 85}),
        (picture.convert("L"), "JPEG", {"quality": 85}),
        (picture, "PNG", {}),
        (picture.convert("RGBA"), "PNG", {}),
        (picture.quantize(64), "PNG", {}),
        (picture, "WEBP", {"quality": 80}),
        (picture, "WEBP", {"lossless": True}),
        (picture, "AVIF", {"quality": 60, "speed": 10}),
    ]
    encoded = []
    for image, kind, settings in variants:
        file = BytesIO()
        image.save(file, kind, **settings)
        encoded.append(file.getvalue())
    return encoded


def mutations(photos: list[bytes], count: int, seed: int) -> Iterator[bytes]:
    """``count`` damaged copies: bytes flipped, cut, doubled, zeroed, overwritten; files cut short."""
    dice = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(dice.choice(photos))
        for _ in range(dice.choice((1, 1, 2, 4, 16))):
            _damage(damaged, dice)
        yield bytes(damaged)


def _damage(photo: bytearray, dice: random.Random) -> None:
    if len(photo) < 4:
        return
    at = dice.randrange(len(photo) if dice.random() < 0.5 else min(_HEADERS, len(photo)))
    length = min(dice.choice((1, 2, 8, 64, 1024)), len(photo) - at)
    match dice.randrange(6):
        case 0:
            photo[at] ^= 1 << dice.randrange(8)
        case 1:
            photo[at : at + length] = dice.randbytes(length)
        case 2:
            del photo[at : at + length]
        case 3:
            photo[at:at] = photo[at : at + length]
        case 4:
            photo[at : at + length] = bytes(length)
        case _:
            if dice.random() < 0.3:
                del photo[max(at, 4) :]
