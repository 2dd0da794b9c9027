"""A game lobby that gives each player a head: 100 join, each sends a photo, each gets an answer.

    python client/examples/game_server.py photos/*.jpg [--players 100] [--server localhost:8001]

The lobby speaks a small protocol over TCP (a length, then bytes). What to take from it for a real game:

- one `AsyncClient` for the whole process: one HTTP/2 connection carries all requests;
- a bound on requests under way: a full lobby queues here, where a player can be told so, and not there;
- a typed error per player: one bad photo disturbs nobody else, and its hint is worth showing;
- when a player leaves, the task is cancelled and the avatar service stops working on that photo.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from facewright_client import AsyncClient, FacewrightClientError

_LARGEST_PHOTO = 20 << 20
_AVATAR, _REFUSED = b"A", b"E"


class Lobby:
    """Answers players with avatars.

    Args:
        avatars: the connection to the avatar service.
        under_way: requests at once; about twice the service's bake instances keeps it busy without a queue.
        texture_size: texels per side; 512 is plenty for a crowd.
    """

    def __init__(self, avatars: AsyncClient, under_way: int, texture_size: int) -> None:
        self._avatars = avatars
        self._turn = asyncio.Semaphore(under_way)
        self._texture_size = texture_size

    async def join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One player's connection: a photo comes in, an avatar or a sentence goes out."""
        try:
            photo = await _receive(reader)
            kind, answer = await self._answer(photo)
            writer.write(kind + struct.pack("<I", len(answer)) + answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the player left
        finally:
            writer.close()

    async def _answer(self, photo: bytes) -> tuple[bytes, bytes]:
        async with self._turn:
            try:
                avatar = await self._avatars.create(photo, texture_size=self._texture_size, timeout_s=120)
            except FacewrightClientError as error:
                return _REFUSED, f"{error.code}: {error.message} ({error.hint})".encode()
        return _AVATAR, avatar.glb


@dataclass(frozen=True)
class Outcome:
    """What one player got: seconds waited, and the GLB's size or the reason for none."""

    player: int
    photo: str
    seconds: float
    glb_bytes: int
    refusal: str


async def play(player: int, port: int, path: Path) -> Outcome:
    """One player: connects, uploads, waits."""
    started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    photo = path.read_bytes()
    writer.write(struct.pack("<I", len(photo)) + photo)
    await writer.drain()
    kind = await reader.readexactly(1)
    answer = await _receive(reader)
    writer.close()
    seconds = time.perf_counter() - started
    if kind == _AVATAR:
        return Outcome(player, path.name, seconds, len(answer), "")
    return Outcome(player, path.name, seconds, 0, answer.decode())


async def evening(
    url: str, photos: list[Path], players: int, under_way: int, texture_size: int
) -> list[Outcome]:
    """Open the lobby, let all players join at once, close it."""
    async with AsyncClient(url) as avatars:
        lobby = Lobby(avatars, under_way, texture_size)
        server = await asyncio.start_server(lobby.join, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            crowd = (play(player, port, photos[player % len(photos)]) for player in range(players))
            return await asyncio.gather(*crowd)


async def _receive(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack("<I", await reader.readexactly(4))
    if length > _LARGEST_PHOTO:
        raise ConnectionError(f"{length} bytes announced")
    return await reader.readexactly(length)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def main() -> int:
    """Print a line for each player and a summary; exit status 1 when a player got no answer at all."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description="A game lobby that gives every player a head."
    )
    parser.add_argument("photos", nargs="+", type=Path, help="players take turns with these")
    parser.add_argument("--players", type=_positive, default=100)
    parser.add_argument(
        "--under-way", type=_positive, default=4, help="requests at once (default: %(default)s)"
    )
    parser.add_argument("--texture-size", type=int, default=512)
    parser.add_argument("--server", default="localhost:8001", metavar="HOST:PORT")
    args = parser.parse_args()
    unusable = [str(path) for path in args.photos if not path.is_file()]
    if unusable:
        parser.error(f"no file: {', '.join(unusable)}")
    started = time.perf_counter()
    try:
        outcomes = asyncio.run(
            evening(args.server, args.photos, args.players, args.under_way, args.texture_size)
        )
    except ValueError as error:  # of --server
        parser.error(str(error))
    except KeyboardInterrupt:
        return 130
    wall = time.perf_counter() - started
    for outcome in outcomes:
        result = outcome.refusal or f"{outcome.glb_bytes / 1e6:.1f} MB"
        print(f"player {outcome.player:3d}  {outcome.seconds:6.2f} s  {outcome.photo:24.24s}  {result}")
    made = sum(not outcome.refusal for outcome in outcomes)
    refusals = Counter(outcome.refusal.split(":")[0] for outcome in outcomes if outcome.refusal)
    print(
        f"{made} avatars in {wall:.1f} s ({made / wall:.1f} per second); refused: {dict(refusals) or 'none'}"
    )
    return int(made + sum(refusals.values()) != args.players)


if __name__ == "__main__":
    sys.exit(main())
