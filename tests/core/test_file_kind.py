"""Whatever is sent as a photo is named, in one line, with what to send instead."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from facewright.core.errors import FacewrightError
from facewright.core.file_kind import photo_format
from facewright.photo.photo import decode_photo
from facewright_client.contract import ErrorCode

ASTRONAUT = (Path(__file__).parents[1] / "data" / "astronaut.jpg").read_bytes()
HEIC = (Path(__file__).parents[1] / "data" / "astronaut.heic").read_bytes()


def _saved(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (64, 48)).save(file, kind, **options)
    return file.getvalue()


def _zip(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return file.getvalue()


def _raw(maker: bytes, *tags: int) -> bytes:
    """A TIFF directory of a maker and some tags."""
    entries = [struct.pack("<HHII", 271, 2, len(maker), 200)]
    entries += [struct.pack("<HHII", tag, 4, 1, 0) for tag in tags]
    return (b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries)).ljust(200, b"\0") + maker


def _ftyp(*brands: bytes) -> bytes:
    return (
        struct.pack(">I", 12 + 4 * len(brands))
        + b"ftyp"
        + brands[0]
        + bytes(4)
        + b"".join(brands[1:])
        + bytes(60)
    )


_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
_HTML = b"<!DOCTYPE html>\n<html><body>404</body></html>"
_SVG = b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>'
_CODE = b"FWCODE\r\n\1\0\x12\0" + bytes(60)
_BASE64 = base64.b64encode(ASTRONAUT)


@pytest.mark.parametrize(
    ("photo", "kind", "advice"),
    [
        (_saved("GIF"), "a GIF picture", "save it as JPEG or PNG"),
        (_saved("TGA"), "a TGA picture", "save it as JPEG or PNG"),
        (_saved("TGA", compression="tga_rle"), "a TGA picture", "save it as JPEG or PNG"),
        (_saved("PNG").replace(b"\r\n", b"\n"), "a transfer as text", "as binary"),
        (_saved("PNG").replace(b"\n", b"\r\n"), "a transfer as text", "as binary"),
        (_saved("BMP"), "a BMP picture", "save it as JPEG or PNG"),
        (_saved("TIFF"), "a TIFF picture", "save it as JPEG or PNG"),
        (_saved("TIFF", exif={271: "NIKON CORPORATION"}), "a TIFF picture", "save it as JPEG or PNG"),
        (_saved("JPEG2000"), "a JPEG 2000 picture", "save it as JPEG or PNG"),
        (_saved("JPEG2000", no_jp2=True), "a JPEG 2000 picture", "save it as JPEG or PNG"),
        (_saved("ICO"), "a Windows icon", "save it as JPEG or PNG"),
        (_saved("PPM"), "a PNM picture", "save it as JPEG or PNG"),
        (_saved("QOI"), "a QOI picture", "save it as JPEG or PNG"),
        (_saved("DDS"), "a DDS texture", "save it as JPEG or PNG"),
        (_saved("PDF"), "a PDF document", "export the picture"),
        (_saved("EPS"), "a PostScript document", "export the picture"),
        (b"\xff\x0a" + bytes(60), "a JPEG XL picture", "save it as JPEG or PNG"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "a JPEG XL picture", "save it as JPEG or PNG"),
        (b"8BPS\0\1" + bytes(60), "a Photoshop document", "export the picture"),
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(60), "Canon camera's raw file (CR2)", "export it as JPEG"),
        (_ftyp(b"crx ", b"isom"), "Canon camera's raw file (CR3)", "export it as JPEG"),
        (_raw(b"NIKON CORPORATION", 330), "camera's raw file (Nikon, NEF)", "export it as JPEG"),
        (_raw(b"SONY", 330), "camera's raw file (Sony, ARW)", "export it as JPEG"),
        (_raw(b"Google", 50706), "camera's raw file (DNG)", "export it as JPEG"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(60), "Fujifilm camera's raw file", "export it as JPEG"),
        (b"IIU\0" + bytes(60), "Panasonic camera's raw file", "export it as JPEG"),
        (b"IIRO" + bytes(60), "Olympus camera's raw file", "export it as JPEG"),
        (_SVG, "an SVG drawing", "save it as JPEG or PNG"),
        (_ftyp(b"qt  "), "a QuickTime film (MOV)", "one frame"),
        (struct.pack(">I", 8) + b"wide" + bytes(60), "a QuickTime film (MOV)", "one frame"),
        (_ftyp(b"isom", b"iso2", b"avc1", b"mp41"), "a film (MP4)", "one frame"),
        (b"\x1a\x45\xdf\xa3" + bytes(60), "a Matroska or WebM film", "one frame"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(60), "an AVI film", "one frame"),
        (b"RIFF\0\0\0\0WAVEfmt " + bytes(60), "a WAV sound", "the picture file itself"),
        (_ftyp(b"mif1", b"miaf"), "a HEIF picture of a kind other than HEIC and AVIF", "save it as JPEG"),
        (_zip("photo.heic", "photo.mov"), "a ZIP archive", "unpack it"),
        (_zip("[Content_Types].xml", "word/document.xml"), "a Word document (DOCX)", "export the picture"),
        (_zip("[Content_Types].xml", "ppt/presentation.xml"), "a PowerPoint document", "export the picture"),
        (gzip.compress(ASTRONAUT), "a gzip archive", "unpack it"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(60), "an old Microsoft Office document", "export"),
        (b"\0\x05\x16\x07" + bytes(60), 'the "._" companion', "without the ._"),
        (json.dumps({"image": "abc"}).encode(), "a JSON text", "not a JSON request"),
        (_HTML, "a web page (HTML)", "not the page"),
        (b"\xef\xbb\xbf" + _HTML, "a web page (HTML)", "not the page"),
        (_HTML.decode().encode("utf-16"), "a web page (HTML)", "not the page"),
        (b"<Error><Code>AccessDenied</Code></Error>", "an XML text", "the picture file itself"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + ASTRONAUT[:99],
            "a web server's whole answer",
            "body",
        ),
        (b"Hello", "a text", "the picture file itself"),
        ("Grüße aus Köln, BMW".encode(), "a text", "the picture file itself"),
        (b"BM is not a picture", "a text", "the picture file itself"),
        (b" \r\n", "nothing but blanks", "the picture file itself"),
        (b"https://example.com/me.jpg", "the text of an address", "fetch the picture"),
        (b"[InternetShortcut]\r\nURL=https://example.com", "a link to a web page", "fetch the picture"),
        (b"data:image/jpeg;base64," + _BASE64, "the text of a data: URL", "decode"),
        (_BASE64, "the base64 text of a JPEG picture", "decode it"),
        (base64.encodebytes(HEIC), "the base64 text of a HEIC picture", "decode it"),
        (base64.urlsafe_b64encode(_saved("PNG")), "the base64 text of a PNG picture", "decode it"),
        (b'"' + base64.b64encode(_saved("GIF")) + b'"', "the base64 text of a GIF picture", "decode it"),
        (ASTRONAUT.hex().encode(), "the hexadecimal text of a JPEG picture", "decode it"),
        (b"\\x" + _saved("PNG").hex().upper().encode(), "the hexadecimal text of a PNG picture", "decode it"),
        (_CODE, "a Facewright code", "facewright create me.code"),
        (base64.b64encode(_CODE), "the base64 text of a Facewright code", "decode it"),
        (repr(ASTRONAUT[:200]).encode(), "the text of Python bytes", "send the bytes themselves"),
        (_LFS, "a Git LFS pointer", "git lfs pull"),
        (
            b'------WebKitFormBoundaryX\r\nContent-Disposition: form-data; name="photo"\r\n\r\n' + ASTRONAUT,
            "a form (multipart)",
            "file part",
        ),
        (
            b"\0\0\0\x20\1\2\3\4" + ASTRONAUT,
            "a JPEG picture behind 8 other bytes",
            "leave out the first 8 bytes",
        ),
        (b"\xef\xbb\xbf" + ASTRONAUT, "a JPEG picture behind 3 other bytes", "leave out the first 3 bytes"),
        (bytes(5000), "nothing but zeros", "send it again"),
        (b"\x93NUMPY\1\0" + bytes(60), "a NumPy array", "encode it as PNG"),
        (b"glTF\2\0\0\0" + bytes(60), "a 3D model (GLB)", "the photo that the avatar"),
        (
            bytes.fromhex("deadbeef00112233"),
            "of no known kind (it starts with de ad be ef",
            "the picture file itself",
        ),
        (b"\x7f", "of no known kind", "the picture file itself"),
    ],
)
def test_what_is_no_photo_is_named(photo: bytes, kind: str, advice: str) -> None:
    with pytest.raises(FacewrightError) as caught:
        decode_photo(photo)
    error = caught.value
    assert error.code == ErrorCode.BAD_PHOTO
    assert kind in error.message
    assert f"({len(photo)} bytes)" in error.message
    assert "not a JPEG, PNG, WebP, AVIF or HEIC picture" in error.message
    assert advice in error.hint
    assert "\n" not in error.message + error.hint


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_what_is_read_is_known(kind: str) -> None:
    found = photo_format(_saved(kind))
    assert found is not None
    assert found.upper() == kind
    assert photo_format(HEIC) == "HEIC"


def test_any_bytes_are_named() -> None:
    rng = np.random.default_rng(1)
    starts = [b"", b"II*\0", b"RIFF", b"\0\0\0\x18ftyp", b"PK\3\4", b"{", b"<", b"\xff\xfe", b"data:", b"BM"]
    for n in range(600):
        photo = starts[n % len(starts)] + rng.bytes(int(rng.integers(1, 400)))
        with pytest.raises(FacewrightError):
            decode_photo(photo)
