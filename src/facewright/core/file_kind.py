"""What a file is that was sent as a photo or as a code, by its first bytes: one that is read, or one to be
named in the refusal.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from typing import Final, Literal

from facewright.core.errors import FacewrightError
from facewright_client.contract import PHOTO_FORMATS, ErrorCode

PhotoFormat = Literal["JPEG", "PNG", "WebP", "AVIF", "HEIC"]

_SAVE_AS: Final = "open it in an image viewer, save it as JPEG or PNG and send that"
_DEVELOP: Final = "export it as JPEG from the camera or a photo editor and send that"
_STILL: Final = "send a photo, or one frame of it saved as JPEG or PNG"
_EXPORT: Final = "export the picture in it as JPEG or PNG and send that"
_UNPACK: Final = "unpack it and send the picture itself"
_ITSELF: Final = f"send the bytes of the picture file itself: {PHOTO_FORMATS}"

# Signatures: place, bytes, what it is, what to do. The first that fits counts.
_KINDS: Final[tuple[tuple[int, bytes, str, str], ...]] = (
    (0, b"GIF8", "a GIF picture", _SAVE_AS),
    (8, b"CR\x02", "a Canon camera's raw file (CR2)", _DEVELOP),
    (0, b"IIU\0", "a Panasonic camera's raw file (RW2)", _DEVELOP),
    (0, b"IIRO", "an Olympus camera's raw file (ORF)", _DEVELOP),
    (0, b"IIRS", "an Olympus camera's raw file (ORF)", _DEVELOP),
    (0, b"MMOR", "an Olympus camera's raw file (ORF)", _DEVELOP),
    (0, b"FUJIFILMCCD-RAW", "a Fujifilm camera's raw file (RAF)", _DEVELOP),
    (0, b"FOVb", "a Sigma camera's raw file (X3F)", _DEVELOP),
    (0, b"\0MRM", "a Minolta camera's raw file (MRW)", _DEVELOP),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture", _SAVE_AS),
    (0, b"\xff\x0a", "a JPEG XL picture", _SAVE_AS),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture", _SAVE_AS),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _SAVE_AS),
    (0, b"\xff\xd8", "a damaged JPEG picture", _ITSELF),
    (0, b"\x89PNG", "a PNG picture that was damaged by a transfer as text", "send it again, as binary"),
    (0, b"8BPS", "a Photoshop document (PSD)", _EXPORT),
    (0, b"8BPB", "a Photoshop document (PSB)", _EXPORT),
    (0, b"gimp xcf", "a GIMP document (XCF)", _EXPORT),
    (0, b"%PDF", "a PDF document", _EXPORT),
    (0, b"%!PS", "a PostScript document", _EXPORT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", _EXPORT),
    (0, b"\0\0\x01\0", "a Windows icon", _SAVE_AS),
    (0, b"\0\0\x02\0\0\0\0\0", "a TGA picture", _SAVE_AS),
    (0, b"\0\0\x0a\0\0\0\0\0", "a TGA picture", _SAVE_AS),
    (0, b"\0\0\x02\0", "a Windows cursor", _SAVE_AS),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile", _SAVE_AS),
    (0, b"icns", "a macOS icon", _SAVE_AS),
    (0, b"qoif", "a QOI picture", _SAVE_AS),
    (0, b"DDS ", "a DDS texture", _SAVE_AS),
    (0, b"\xabKTX ", "a KTX texture", _SAVE_AS),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", _SAVE_AS),
    (0, b"#?RADIANCE", "a Radiance HDR picture", _SAVE_AS),
    (0, b"#?RGBE", "a Radiance HDR picture", _SAVE_AS),
    (0, b"SIMPLE  =", "a FITS picture", _SAVE_AS),
    (128, b"DICM", "a DICOM picture", _SAVE_AS),
    (
        0,
        b"FWCODE",
        "a Facewright code",
        "codes are for merge_avatars: facewright create me.code, Client.merge, or ?pipeline=merge_avatars",
    ),
    (0, b"glTF", "a 3D model (GLB)", "send the photo that the avatar is to be made of"),
    (0, b"Kaydara FBX", "a 3D model (FBX)", "send the photo that the avatar is to be made of"),
    (
        0,
        b"\0\x05\x16\x07",
        'the "._" companion that macOS writes beside a file',
        "send the file without the ._ before its name",
    ),
    (0, b"bplist00", "an Apple property list", _ITSELF),
    (0, b"L\0\0\0\x01\x14\x02\0", "a Windows shortcut", "send the file that it points to"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM film", _STILL),
    (0, b"FLV\x01", "a Flash film", _STILL),
    (0, b"\0\0\x01\xba", "an MPEG film", _STILL),
    (0, b"\0\0\x01\xb3", "an MPEG film", _STILL),
    (0, b"OggS", "an Ogg film or sound", _STILL),
    (0, b"0&\xb2u\x8ef\xcf\x11", "a Windows Media film", _STILL),
    (0, b"ID3", "an MP3 sound", _ITSELF),
    (0, b"fLaC", "a FLAC sound", _ITSELF),
    (0, b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (0, b"PK\x05\x06", "an empty ZIP archive", _UNPACK),
    (0, b"\x1f\x8b", "a gzip archive", _UNPACK),
    (4, b"1AY&SY", "a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "a Zstandard archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (257, b"ustar", "a tar archive", _UNPACK),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Microsoft Office document", _EXPORT),
    (0, b"{\\rtf", "an RTF document", _EXPORT),
    (0, b"\x7fELF", "a program", _ITSELF),
    (0, b"MZ\x90\0", "a Windows program", _ITSELF),
    (0, b"SQLite format 3\0", "a database", _ITSELF),
    (0, b"\x93NUMPY", "a NumPy array", "encode it as PNG and send that"),
    (0, b"\x89HDF", "an HDF5 file", _ITSELF),
    (0, b"\x80\x04\x95", "a Python pickle", _ITSELF),
)
# Sizes of the second header of a BMP file: two letters alone may begin any text.
_BMP_HEADERS: Final = tuple(size.to_bytes(4, "little") for size in (12, 16, 40, 52, 56, 64, 108, 124))
#: What the names in a ZIP archive's first entries say.
_ZIPPED: Final = (
    (b"word/", "a Word document (DOCX)", _EXPORT),
    (b"ppt/", "a PowerPoint document (PPTX)", _EXPORT),
    (b"xl/", "an Excel document (XLSX)", _EXPORT),
    (b"application/vnd.oasis.opendocument", "an OpenDocument file", _EXPORT),
    (b"application/epub+zip", "an EPUB book", _EXPORT),
)
_RIFF: Final = {b"AVI ": ("an AVI film", _STILL), b"WAVE": ("a WAV sound", _ITSELF)}
#: Major brands of ISO base media files (ftyp) that are not pictures, or not read.
_BRANDS: Final = {
    b"qt  ": ("a QuickTime film (MOV)", _STILL),
    b"crx ": ("a Canon camera's raw file (CR3)", _DEVELOP),
    b"jxl ": ("a JPEG XL picture", _SAVE_AS),
    b"jp2 ": ("a JPEG 2000 picture", _SAVE_AS),
    b"M4A ": ("an AAC sound (M4A)", _ITSELF),
}
_FILM: Final = ("a film (MP4)", _STILL)
_HEIF_BRANDS: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_AVIF_BRANDS: Final = (b"avif", b"avis")
_FILM_BOXES: Final = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
# What makers of cameras write into the TIFF files that their raw files are.
_RAW_MAKERS: Final = (
    (b"NIKON", "NEF"),
    (b"Canon", "raw"),
    (b"SONY", "ARW"),
    (b"PENTAX", "PEF"),
    (b"RICOH", "raw"),
)
_RAW_MAKERS_LOOKED_AT: Final = 4096
_DNG_VERSION: Final = 50706

#: Beginnings that are text, whatever follows.
_HEADS: Final = (
    (rb"HTTP/\d", "a web server's whole answer", "send its body alone"),
    (rb"--[-\w'()+,./:=? ]+\r?\nContent-", "the body of a form (multipart)", "send the file part alone"),
    (rb"P[1-6fF7]\s+(#.*\n|\d)", "a PNM picture", _SAVE_AS),
)
#: Longest beginning of a text that is looked at.
_TEXT_LOOKED_AT: Final = 4096
_TEXTS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        r"version https://git-lfs",
        "a Git LFS pointer",
        "fetch the picture it stands for with git lfs pull, and send that",
    ),
    (
        r"(https?|ftp|file|s3|gs|blob)://?\S+\s*$",
        "the text of an address",
        "fetch the picture there and send its bytes",
    ),
    (r"(<\?xml.*?)?(\s*<!--.*?-->|\s*<!DOCTYPE svg[^>]*>)*\s*<svg\b", "an SVG drawing", _SAVE_AS),
    (
        r"<!doctype html|<html\b|<head\b|<body\b|<script\b|<!--.*<html\b",
        "a web page (HTML)",
        "send the picture, not the page that shows it",
    ),
    (r"<\?xml|<[a-z][\w:.-]*[\s/>]", "an XML text", _ITSELF),
    (r"\[InternetShortcut\]", "a link to a web page", "fetch the picture there and send its bytes"),
    (r"/\* XPM", "an XPM picture", _SAVE_AS),
    (r"-----BEGIN ", "a PEM file", _ITSELF),
)


def photo_format(photo: bytes) -> PhotoFormat | None:
    """Which of the formats that are read a file claims to be; None where none."""
    if photo[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if photo[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if photo[:4] == b"RIFF" and photo[8:12] == b"WEBP":
        return "WebP"
    brands = _brands(photo)
    if any(brand in brands for brand in _AVIF_BRANDS):
        return "AVIF"
    if any(brand in brands for brand in _HEIF_BRANDS):
        return "HEIC"
    return None


def is_sequence(photo: bytes) -> bool:
    """Whether a HEIF file holds an animation (or a burst) beside its primary picture."""
    return any(brand in (b"avis", b"hevc", b"hevx", b"msf1") for brand in _brands(photo))


def other_kind(photo: bytes) -> FacewrightError:
    """The refusal of a file that is none of `photo_format`'s, which names what it is and what to send
    instead.
    """
    kind, hint = _kind(photo)
    return FacewrightError(
        ErrorCode.BAD_PHOTO,
        f"the photo ({len(photo)} bytes) is {kind}, not a {PHOTO_FORMATS} picture",
        hint,
    )


def kind_of(file: bytes) -> str:
    """What any file is, in words."""
    found = photo_format(file)
    return f"a {found} picture" if found else _kind(file)[0]


def written_as_text(file: bytes) -> tuple[str, str] | None:
    """What a text that stands for bytes is, and what to do; None for whatever else."""
    text = _readable(file)
    return None if text is None else _bytes_as_text(text)


def _brands(photo: bytes) -> list[bytes]:
    """The major and the compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    if photo[4:8] != b"ftyp":
        return []
    end = min(int.from_bytes(photo[:4], "big"), len(photo), 512)
    return [photo[8:12], *(photo[at : at + 4] for at in range(16, end - 3, 4))]


def _kind(photo: bytes) -> tuple[str, str]:
    if not photo.strip(b"\0"):
        return "nothing but zeros", "send it again: it was not written or transferred"
    if photo[4:8] == b"ftyp":
        return _BRANDS.get(photo[8:12], _unread_heif(photo) or _FILM)
    if photo[4:8] in _FILM_BOXES:
        return _BRANDS[b"qt  "]
    if photo[:4] == b"RIFF":
        return _RIFF.get(photo[8:12], ("a RIFF file", _ITSELF))
    if photo[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff(photo)
    if photo[:2] == b"BM" and photo[14:18] in _BMP_HEADERS:
        return "a BMP picture", _SAVE_AS
    if photo[:1] == photo[188:189] == photo[376:377] == b"G":
        return "an MPEG film", _STILL
    for place, signature, kind, hint in _KINDS:
        if photo[place : place + len(signature)] == signature:
            return _zipped(photo) if kind == "a ZIP archive" else (kind, hint)
    for pattern, kind, hint in _HEADS:
        if re.match(pattern, photo):
            return kind, hint
    return (
        _text(photo) or _within(photo) or (f"of no known kind (it starts with {photo[:8].hex(' ')})", _ITSELF)
    )


def _unread_heif(photo: bytes) -> tuple[str, str] | None:
    brands = _brands(photo)
    if b"mif1" in brands or b"msf1" in brands or b"mif2" in brands:
        return "a HEIF picture of a kind other than HEIC and AVIF", _SAVE_AS
    return None


def _tiff(photo: bytes) -> tuple[str, str]:
    if photo[8:10] == b"CR":
        return "a Canon camera's raw file (CR2)", _DEVELOP
    order: Literal["little", "big"] = "little" if photo[:2] == b"II" else "big"
    place = int.from_bytes(photo[4:8], order)
    count = min(int.from_bytes(photo[place : place + 2], order), 512)
    tags = {int.from_bytes(photo[at : at + 2], order) for at in range(place + 2, place + 2 + 12 * count, 12)}
    if _DNG_VERSION in tags:
        return "a camera's raw file (DNG)", _DEVELOP
    # Sub-directories (330) beside a maker are a raw file's; editors write neither for a plain picture.
    for maker, suffix in _RAW_MAKERS:
        if 330 in tags and maker in photo[:_RAW_MAKERS_LOOKED_AT]:
            return f"a camera's raw file ({maker.decode().title()}, {suffix})", _DEVELOP
    return "a TIFF picture", _SAVE_AS


def _zipped(photo: bytes) -> tuple[str, str]:
    for name, kind, hint in _ZIPPED:
        if name in photo[:65536] or name in photo[-65536:]:
            return kind, hint
    return "a ZIP archive", _UNPACK


def _text(photo: bytes) -> tuple[str, str] | None:
    """What a text is, or None for what is no text."""
    text = _readable(photo)
    if text is None:
        return None
    if not text:
        return "nothing but blanks", _ITSELF
    for pattern, kind, hint in _TEXTS:
        if re.match(pattern, text, re.IGNORECASE | re.DOTALL):
            return kind, hint
    if found := _bytes_as_text(text):
        return found
    if text[0] in '{["':
        return "a JSON text", "send the bytes of the picture alone, not a JSON request around them"
    return "a text", _ITSELF


def _readable(photo: bytes) -> str | None:
    """The beginning of a text; None for what is no text."""
    start = photo[:_TEXT_LOOKED_AT]
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        text = start.decode("utf-16", "replace")
    else:
        try:
            # A decoder in steps, because a character may be cut in two at the end.
            text = codecs.getincrementaldecoder("utf-8-sig")().decode(start)
        except UnicodeDecodeError:
            return None
    if (
        "\0" in text
        or sum(not (letter.isprintable() or letter.isspace()) for letter in text) > len(text) / 50
    ):
        return None
    return text.lstrip()


def _bytes_as_text(text: str) -> tuple[str, str] | None:
    """What stands for bytes, and what to do; None where it does not, or stands for nothing known."""
    if text[:5].lower() == "data:":
        return "the text of a data: URL", "decode what follows base64, and send those bytes"
    if re.match(r"b['\"](\\|FWCODE|RIFF)", text):
        return "the text of Python bytes", "send the bytes themselves"
    for encoding, inside in (("hexadecimal", _hexadecimal(text)), ("base64", _base64(text))):
        if inside and not (kind := kind_of(inside)).startswith(("of no known", "a text", "nothing")):
            return f"the {encoding} text of {kind}", "decode it and send those bytes"
    return None


def _hexadecimal(text: str) -> bytes:
    """The first bytes of hexadecimal text, as xxd, Python and databases write it; none where it is none."""
    digits = re.sub(r"^(0x|\\x)|[\s:]", "", text.strip("\"' \r\n"))[:1024]
    return bytes.fromhex(digits[: len(digits) // 2 * 2]) if re.fullmatch("[0-9A-Fa-f]{32,}", digits) else b""


def _base64(text: str) -> bytes:
    """The first bytes of base64 text; none where it is none."""
    letters = re.sub(r"\s", "", text.strip("\"' \r\n")).replace("-", "+").replace("_", "/")[:1024]
    if not re.fullmatch(r"[A-Za-z0-9+/]{16,}={0,2}", letters):
        return b""
    try:
        return base64.b64decode(letters[: len(letters) // 4 * 4])
    except binascii.Error:
        return b""


def _within(photo: bytes) -> tuple[str, str] | None:
    """A picture behind other bytes, as where a header of a message was not taken off."""
    for signature, name in ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG")):
        place = photo[:_TEXT_LOOKED_AT].find(signature)
        if place > 0:
            return f"a {name} picture behind {place} other bytes", f"leave out the first {place} bytes"
    return None
