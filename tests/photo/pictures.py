"""The photos that are in the repository, and what tests make and ask of them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import ExifTags, Image

from facewright.core.errors import FacewrightError
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.find_face import FoundFace, find_face
from facewright.photo.photo import decode_photo

F64 = npt.NDArray[np.float64]
ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
HEIC = ASTRONAUT.with_suffix(".heic")


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def exif(**values: float) -> Image.Exif:
    exif = Image.Exif()
    directory = exif.get_ifd(ExifTags.IFD.Exif)
    for name, value in values.items():
        directory[ExifTags.Base[name]] = value
    return exif


def refusal(photo: bytes) -> FacewrightError:
    with pytest.raises(FacewrightError) as caught:
        decode_photo(photo)
    return caught.value


def found_in(image: Image.Image, networks: FaceNetworks, face_index: int = -1) -> FoundFace:
    return find_face(encoded(image), networks, face_index)


def moved(points: npt.NDArray[Any], transform: npt.NDArray[Any]) -> F64:
    moved = np.c_[points, np.ones(len(points))] @ np.asarray(transform, np.float64).T
    return np.asarray(moved[:, :2] / moved[:, 2:])


def landmarks_in(found: FoundFace, networks: FaceNetworks) -> F64:
    """[478, 2] in photo pixels, as the server's next stage finds them."""
    landmarks, score = networks.landmarks(found.landmark_input)
    assert score > 0.9
    return moved(moved(landmarks[:, :2], found.landmark_to_crop), found.crop_to_photo)
