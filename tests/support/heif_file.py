"""HEIC and AVIF files put together from coded pictures, with what phones and strangers put around them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

Property = tuple[bytes, bytes]


@dataclass(frozen=True)
class Item:
    """A picture, or what belongs to one."""

    kind: bytes
    content: bytes
    properties: tuple[Property, ...] = ()
    hidden: bool = False
    refers: tuple[tuple[bytes, tuple[int, ...]], ...] = field(default=())


def full_box(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + content)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def size_property(width: int, height: int) -> Property:
    return b"ispe", struct.pack(">III", 0, width, height)


def nclx(primaries: int, transfer: int) -> Property:
    return b"colr", b"nclx" + struct.pack(">HHHB", primaries, transfer, 6, 0x80)


def coded(file: bytes, configuration: bytes = b"hvcC") -> tuple[Property, bytes]:
    """The decoder's configuration and the coded picture of a plain file, which ends with its ``mdat``."""
    place = file.index(configuration)
    length = struct.unpack(">I", file[place - 4 : place])[0]
    return (configuration, file[place + 4 : place - 4 + length]), file[file.index(b"mdat") + 4 :]


def picture(
    file: bytes, *properties: Property, size: tuple[int, int] = (512, 512), hidden: bool = False
) -> Item:
    """The coded picture of a plain file as an item."""
    configuration = b"hvcC" if b"hvcC" in file else b"av1C"
    found, content = coded(file, configuration)
    kind = b"hvc1" if configuration == b"hvcC" else b"av01"
    return Item(kind, content, (found, size_property(*size), *properties), hidden)


def grid(
    columns: int, rows: int, size: tuple[int, int], tiles: tuple[int, ...], *properties: Property
) -> Item:
    """A picture of tiles."""
    content = struct.pack(">BBBBHH", 0, 0, rows - 1, columns - 1, *size)
    return Item(b"grid", content, (size_property(*size), *properties), refers=((b"dimg", tiles),))


def heif_file(*items: Item, primary: int = 1, brand: bytes = b"heic") -> bytes:
    """A file of items, counted from 1."""
    properties: list[Property] = []
    infos, references, associations = b"", b"", b""
    for number, item in enumerate(items, 1):
        infos += full_box(b"infe", struct.pack(">HH", number, 0) + item.kind + b"\0", 2, int(item.hidden))
        for kind, targets in item.refers:
            references += box(kind, struct.pack(f">HH{len(targets)}H", number, len(targets), *targets))
        indices = []
        for found in item.properties:
            if found not in properties:
                properties.append(found)
            indices.append(properties.index(found) + 1)
        essential = [0x80 | index for index in indices]
        associations += struct.pack(f">HB{len(indices)}B", number, len(indices), *essential)
    container = box(b"ipco", b"".join(box(*found) for found in properties))
    iprp = box(b"iprp", container + full_box(b"ipma", struct.pack(">I", len(items)) + associations))
    ftyp = box(b"ftyp", brand + bytes(4) + b"mif1" + brand)

    def meta(start: int) -> bytes:
        locations, place = b"", start
        for number, item in enumerate(items, 1):
            locations += struct.pack(">HHHII", number, 0, 1, place, len(item.content))
            place += len(item.content)
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
            + full_box(b"pitm", struct.pack(">H", primary))
            + full_box(b"iloc", struct.pack(">HH", 0x4400, len(items)) + locations)
            + full_box(b"iinf", struct.pack(">H", len(items)) + infos)
            + (full_box(b"iref", references) if references else b"")
            + iprp,
        )

    start = len(ftyp) + len(meta(0)) + 8
    return ftyp + meta(start) + box(b"mdat", b"".join(item.content for item in items))
