"""CODE as bytes: written, and read from whoever sent them. The format: docs/avatar_code.md.

A file is 80 bytes of header, a table of its sections, and the sections one after the other, in a fixed
order. Nothing in it says where anything is: lengths follow from each other, and every section but the text
and the texture has a size that is known before it is unpacked.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from PIL import Image

from facewright.code.avatar_code import ARRAYS, AvatarCode, CodeArray, Origin, impossible
from facewright.core.errors import FacewrightError
from facewright.core.file_kind import kind_of, photo_format, written_as_text
from facewright.pipelines.tensors import CODE_TEXTURE_SIZES
from facewright_client.contract import CODE_MAGIC, MAX_CODE_BYTES, MAX_CODES, ErrorCode

VERSION: Final = 2
#: Magic, version, sections, length of all, head; then the digest of all but itself.
_HEADER: Final = struct.Struct("<8sHHI32s")
_DIGEST_BYTES: Final = 32
_START: Final = _HEADER.size + _DIGEST_BYTES
#: Tag, bytes in the file, bytes unpacked.
_ROW: Final = struct.Struct("<4sII")
_TEXT: Final = "META"
_TEXTURE: Final = "JPEG"
_TAGS: Final = (_TEXT, *(array.tag for array in ARRAYS), _TEXTURE)
MOST_TEXT_BYTES: Final = 16 << 10
MOST_TEXTURE_BYTES: Final = 5 << 18
MOST_VERTICES: Final = 65535
_MOST_NAMES: Final = 64
_LONGEST: Final = 500
_CODE_ITSELF: Final = "send it as it came out of a pipeline"


def written_code(code: AvatarCode) -> bytes:
    """One code's file; equal codes give equal bytes.

    Raises:
        FacewrightError: INTERNAL where it would be larger than codes may be.
    """
    sections = [(_TEXT, _text(code.origin))]
    sections += [(array.tag, _bytes(code, array)) for array in ARRAYS]
    packed = [(tag, zlib.compress(content, 6), len(content)) for tag, content in sections]
    packed.append((_TEXTURE, code.texture, len(code.texture)))
    body = b"".join(_ROW.pack(tag.encode(), len(content), size) for tag, content, size in packed)
    body += b"".join(content for _, content, _ in packed)
    length = _START + len(body)
    if length > MAX_CODE_BYTES or len(code.texture) > MOST_TEXTURE_BYTES:
        raise FacewrightError(
            ErrorCode.INTERNAL, f"the code has {length} bytes", f"at most {MAX_CODE_BYTES} are allowed"
        )
    header = _HEADER.pack(CODE_MAGIC, VERSION, len(packed), length, bytes.fromhex(code.head_sha256))
    return header + hashlib.sha256(header + body).digest() + body


def read_code(
    content: bytes | memoryview, head_sha256: str, vertices: int, where: str = "the code"
) -> AvatarCode:
    """One code's file, checked.

    Args:
        content: all of the file and nothing else.
        head_sha256: of the head that it has to be of.
        vertices: of that head.
        where: what it is called in errors.

    Raises:
        FacewrightError: BAD_CODE: it is none, damaged, cut off, of a newer version, of another head, or holds
            what no face has.
    """
    reader = _Reader(where)
    content = bytes(content)
    head, rows = reader.table(content)
    if head != head_sha256:
        raise reader.bad(
            f"is of another head model ({head[:12]}…, not {head_sha256[:12]}…)",
            "make it anew from the photo, with this release",
        )
    at = _START + len(rows) * _ROW.size
    found: dict[str, bytes] = {}
    for tag, stored, size in rows:
        section = content[at : at + stored]
        found[tag] = section if tag == _TEXTURE else reader.unpacked(tag, section, size)
        at += stored
    arrays = {array.name: reader.array(array, found[array.tag], vertices) for array in ARRAYS}
    reader.check_texture(found[_TEXTURE])
    code = AvatarCode(reader.origin(found[_TEXT]), head, **arrays, texture=found[_TEXTURE])
    what = impossible(code)
    if what:
        raise reader.bad(f"holds what cannot be: {what}")
    return code


def split_codes(content: bytes | memoryview) -> list[memoryview]:
    """The codes that stand one after the other, each by the length that its header says.

    Raises:
        FacewrightError: BAD_CODE where there is none, something else, one that is cut off, or too many.
    """
    view = memoryview(content)
    codes: list[memoryview] = []
    while view or not codes:
        reader = _Reader(f"code {len(codes) + 1}")
        if len(codes) == MAX_CODES:
            raise reader.bad("is one too many", f"send at most {MAX_CODES}")
        length = reader.length(view)
        codes.append(view[:length])
        view = view[length:]
    return codes


class _Reader:
    """Reads what anybody may have written.

    Args:
        where: what the code is called in errors.
    """

    def __init__(self, where: str) -> None:
        self._where = where

    def bad(self, what: str, hint: str = _CODE_ITSELF) -> FacewrightError:
        """What is wrong with it."""
        return FacewrightError(ErrorCode.BAD_CODE, f"{self._where} {what}", hint)

    def other_kind(self, content: bytes) -> FacewrightError:
        """The refusal of what does not begin as a code, which names what it is."""
        if content.startswith(CODE_MAGIC.rstrip()):
            return self.bad(
                "is a Facewright code that was damaged by a transfer as text", "send it again, as binary"
            )
        if found := written_as_text(content):
            return self.bad(f"is {found[0]}", found[1])
        kind = kind_of(content)
        hint = _CODE_ITSELF
        if photo_format(content):
            hint = "codes are what photos become: ask a pipeline that takes photos, or send their codes"
        elif kind == "a JSON text":
            hint = "send what stands under its member code, decoded from base64"
        return self.bad(f"is {kind}, not a Facewright code", hint)

    def length(self, content: memoryview) -> int:
        """How long a code says that it is, at most as long as what is there."""
        if len(content) < _HEADER.size:
            raise self.bad(f"has {len(content)} bytes, fewer than a header")
        magic, version, _, length, _ = _HEADER.unpack_from(content)
        if magic != CODE_MAGIC:
            raise self.other_kind(bytes(content))
        if version != VERSION:
            raise self.bad(
                f"is of version {version}; this release reads {VERSION}",
                "update Facewright" if version > VERSION else "make it anew from the photo",
            )
        if length > MAX_CODE_BYTES:
            raise self.bad(f"says that it has {length} bytes; at most {MAX_CODE_BYTES} are allowed")
        if length > len(content):
            raise self.bad(f"is cut off: {len(content)} of {length} bytes are there")
        if length < _START + len(_TAGS) * _ROW.size:
            raise self.bad(f"says that it has {length} bytes, fewer than its table")
        return int(length)

    def table(self, content: bytes) -> tuple[str, list[tuple[str, int, int]]]:
        """The head's sha256, and the sections: tag, bytes here, bytes unpacked."""
        length = self.length(memoryview(content))
        if length != len(content):
            raise self.bad(f"has {len(content)} bytes, and says {length}")
        _, _, count, _, head = _HEADER.unpack_from(content)
        digest = hashlib.sha256(content[: _HEADER.size])
        digest.update(memoryview(content)[_START:])
        if digest.digest() != content[_HEADER.size : _START]:
            raise self.bad("is damaged: its sha256 is another")
        if count != len(_TAGS):
            raise self.bad(f"has {count} sections; a code of version {VERSION} has {len(_TAGS)}")
        rows = []
        for number, wanted in enumerate(_TAGS):
            tag, stored, size = _ROW.unpack_from(content, _START + number * _ROW.size)
            if tag != wanted.encode():
                raise self.bad(f"has a section {tag!r} where {wanted} belongs")
            rows.append((wanted, stored, size))
        inside = _START + len(rows) * _ROW.size + sum(stored for _, stored, _ in rows)
        if inside != length:
            raise self.bad(f"has sections of {inside} bytes in all, and is {length} long")
        return head.hex(), rows

    def unpacked(self, tag: str, section: bytes, size: int) -> bytes:
        """A compressed section, never more of it than it says, and that within its bound."""
        most = MOST_TEXT_BYTES if tag == _TEXT else next(_most_bytes(a) for a in ARRAYS if a.tag == tag)
        if size > most:
            raise self.bad(f"has a section {tag} of {size} bytes, more than {most}")
        inflate = zlib.decompressobj()
        try:
            content = inflate.decompress(section, size + 1)
        except zlib.error as error:
            raise self.bad(f"has a section {tag} that cannot be unpacked ({error})") from None
        if len(content) != size or not inflate.eof or inflate.unused_data:
            raise self.bad(f"has a section {tag} of another length than it says")
        return content

    def array(self, array: CodeArray, content: bytes, vertices: int) -> Any:
        """A section as an array, read-only."""
        shape = tuple(vertices if size == -1 else size for size in array.shape)
        wanted = int(np.prod(shape)) * array.dtype.itemsize
        if len(content) != wanted:
            raise self.bad(f"has a section {array.tag} of {len(content)} bytes, not {wanted}")
        return (
            np.frombuffer(content, array.dtype)
            .reshape(shape)
            .astype(array.dtype.newbyteorder("="), copy=False)
        )

    def check_texture(self, content: bytes) -> None:
        """Whether a texture is a JPEG of an allowed size; its pixels are not decoded here."""
        if len(content) > MOST_TEXTURE_BYTES:
            raise self.bad(f"has a texture of {len(content)} bytes, more than {MOST_TEXTURE_BYTES}")
        try:
            with Image.open(io.BytesIO(content), formats=("JPEG",)) as picture:
                size, mode = picture.size, picture.mode
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            raise self.bad("has a texture that is no JPEG") from None
        if size not in [(side, side) for side in CODE_TEXTURE_SIZES] or mode != "RGB":
            raise self.bad(f"has a texture of {size[0]} x {size[1]} texels ({mode})")

    def origin(self, text: bytes) -> Origin:
        """The section of text."""
        try:
            members: dict[str, Any] = json.loads(text)
            pipeline, version = members["pipeline"], members["version"]
            models, warnings = members["models"], members["warnings"]
            if members.keys() != {"pipeline", "version", "models", "warnings"}:
                raise ValueError("other members")
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise self.bad(f"has a section {_TEXT} that is not what a pipeline writes") from None
        named = isinstance(models, dict) and all(map(_is_line, (*models, *models.values())))
        told = isinstance(warnings, list) and all(map(_is_line, warnings))
        few = named and told and max(len(models), len(warnings)) <= _MOST_NAMES
        if not (few and _is_line(pipeline) and _is_line(version)):
            raise self.bad(f"has a section {_TEXT} that is not what a pipeline writes")
        return Origin(pipeline, version, models, tuple(warnings))


def _is_line(text: object) -> bool:
    """Whether something is a text that may be told in a report."""
    return isinstance(text, str) and len(text) <= _LONGEST and text.isprintable()


def _most_bytes(array: CodeArray) -> int:
    rows = [MOST_VERTICES if size == -1 else size for size in array.shape]
    return int(np.prod(rows)) * array.dtype.itemsize


def _bytes(code: AvatarCode, array: CodeArray) -> bytes:
    value = np.asarray(getattr(code, array.name))
    fits = len(value.shape) == len(array.shape) and all(
        want in (-1, have) for want, have in zip(array.shape, value.shape, strict=True)
    )
    if not fits:
        raise FacewrightError(
            ErrorCode.INTERNAL, f"{array.name} has shape {value.shape}, not {array.shape}", "report it"
        )
    return value.astype(array.dtype, casting="same_kind").tobytes()


def _text(origin: Origin) -> bytes:
    """The section of text; of very many weights or warnings the last are left out."""
    warnings = [warning[:_LONGEST] for warning in origin.warnings if _is_line(warning[:_LONGEST])]
    members: Mapping[str, Any] = {
        "pipeline": origin.pipeline,
        "version": origin.version,
        "models": dict(list(origin.models.items())[:_MOST_NAMES]),
        "warnings": warnings[:8],
    }
    return json.dumps(members, allow_nan=False).encode()
