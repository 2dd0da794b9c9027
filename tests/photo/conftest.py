"""Pictures and networks that several files of tests share."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from facewright.photo.face_networks import FaceNetworks
from facewright.photo.find_face import FoundFace, find_face
from tests.photo.pictures import ASTRONAUT


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    """96 x 64, the left half dark, with a red corner at the top left."""
    pixels = np.full((64, 96, 3), 180, np.uint8)
    pixels[:, :48] = 60
    pixels[:24, :24] = (200, 30, 30)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def networks() -> FaceNetworks:
    return FaceNetworks.load()


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    return Image.open(ASTRONAUT).convert("RGB")


@pytest.fixture(scope="module")
def found(networks: FaceNetworks) -> FoundFace:
    return find_face(ASTRONAUT.read_bytes(), networks)
