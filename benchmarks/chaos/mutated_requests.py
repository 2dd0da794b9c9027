"""Requests damaged at random, the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence


def mutations(originals: Sequence[bytes], count: int, seed: int) -> Iterator[bytes]:
    """``count`` copies, each with one to eight bytes or stretches changed, cut, doubled, or from another."""
    dice = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(dice.choice(originals))
        for _ in range(dice.randint(1, 8)):
            _damage(damaged, dice, originals)
        yield bytes(damaged)


def _damage(request: bytearray, dice: random.Random, originals: Sequence[bytes]) -> None:
    at, length = dice.randrange(len(request) + 1), dice.choice((1, 1, 2, 4, 20))
    match dice.randrange(6):
        case 0 if at < len(request):
            request[at] ^= 1 << dice.randrange(8)
        case 1:
            request[at : at + length] = dice.randbytes(length)
        case 2:
            del request[at : at + length]
        case 3:
            request[at:at] = request[at : at + length]
        case 4:
            request[at : at + length] = bytes((dice.choice((0, 0x7F, 0x80, 0xFF)),)) * length
        case _:
            other = dice.choice(originals)
            cut = dice.randrange(len(other))
            request[at:at] = other[cut : cut + 3 * length]
