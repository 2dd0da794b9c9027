"""dlib's face recognition network: its file format, hostile files, and dlib's own descriptors."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from facewright_export.checkpoints import (
    CheckpointError,
    LayoutError,
    UnreadableCheckpointError,
    WeightError,
)
from facewright_export.checkpoints.dlib import import_dlib_face_descriptor
from facewright_export.networks.dlib_resnet import PIXEL_MEAN, PIXEL_SCALE, DlibFaceDescriptor
from facewright_export.open_normalized.identity import read_published_descriptor
from facewright_export.seeded_weights import seeded_state_dict, seeded_uniform
from tests.networks.dlib_file import EMPTY, dlib_file, integer, number, text
from tests.networks.golden import relative_difference

F32 = NDArray[np.float32]

ASTRONAUT = Path(__file__).parents[1] / "data" / "astronaut.jpg"
#: The face in the astronaut's photo, pixels.
FACE = (150, 45, 290, 185)


@pytest.fixture(scope="module")
def arrays() -> dict[str, F32]:
    """Seeded weights, with the scales and shifts that dlib keeps apart."""
    shapes = {name: tuple(value.shape) for name, value in DlibFaceDescriptor().state_dict().items()}
    state = seeded_state_dict(shapes, 1)
    for name, shape in shapes.items():
        if name.endswith(".bias"):
            stem = name.removesuffix(".bias")
            state[f"{stem}.scale"] = seeded_uniform(shape, f"{stem}.scale", 1) + 2
            state[f"{stem}.shift"] = seeded_uniform(shape, f"{stem}.shift", 1)
    return state


@pytest.fixture(scope="module")
def sound(arrays: dict[str, F32]) -> bytes:
    return dlib_file(arrays)


def _import(content: bytes, folder: Path) -> DlibFaceDescriptor:
    path = folder / "network.dat"
    path.write_bytes(content)
    return import_dlib_face_descriptor(path)


def _normalised(pixels: NDArray[np.uint8]) -> torch.Tensor:
    scaled = (pixels.astype(np.float32) - np.float32(PIXEL_MEAN)) / np.float32(PIXEL_SCALE)
    return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)[None]))


def test_every_number_of_a_file_has_its_place(arrays: dict[str, F32], sound: bytes, tmp_path: Path) -> None:
    network = _import(sound, tmp_path)
    for name, found in network.state_dict().items():
        stem, _, part = name.rpartition(".")
        if part == "bias":
            expected = arrays[name] * arrays[f"{stem}.scale"] + arrays[f"{stem}.shift"]
        elif stem == "descriptor":
            expected = arrays[name]
        else:
            expected = arrays[name] * arrays[f"{stem}.scale"][:, None, None, None]
        np.testing.assert_array_equal(found.numpy(), expected)


def test_a_file_that_is_cut_short_is_refused_wherever_it_ends(sound: bytes, tmp_path: Path) -> None:
    ends = [*range(20, 360, 17), *range(1000, len(sound), len(sound) // 8), len(sound) - 1]
    for end in ends:
        with pytest.raises(UnreadableCheckpointError, match="cut short"):
            _import(sound[:end], tmp_path)


def test_another_file_is_refused(tmp_path: Path) -> None:
    for content in (b"", b"<!doctype html>", b"PK\x03\x04", integer(1) + text("loss_metric_3")):
        with pytest.raises(UnreadableCheckpointError):
            _import(content, tmp_path)
    with pytest.raises(UnreadableCheckpointError, match="No such file"):
        import_dlib_face_descriptor(tmp_path / "none.dat")


@pytest.mark.parametrize(
    ("there", "instead", "told"),
    [
        (text("relu_"), text("relu9"), "relu9"),
        (text("con_4"), text("con_9"), "con_9"),
        (text("input_rgb_image_sized"), integer(2**62), "a text of 4611686018427387904 bytes"),
        (text("input_rgb_image_sized"), integer(-5), "a text of -5 bytes"),
        (number(117.001), number(100.0), r"mean of green: 100.0, expected 117.001"),
        (number(117.001), integer(1) + integer(32000), "NaN or infinity"),
        (number(117.001), integer(1) + integer(31000), r"1 times 2\^31000"),
        (integer(150) + integer(150), integer(112) + integer(112), "112 112, expected 150 150"),
        # a claim of 2^60 numbers takes no memory: the shape is known before
        (
            integer(2) + integer(4736),
            integer(2) + integer(2**60),
            "1152921504606846976 1 1 1, expected 2 4736",
        ),
        (b"110" + 3 * EMPTY, b"11x" + 3 * EMPTY, "flags"),
        (EMPTY, b"\x01\x02" + integer(7) + 3 * integer(1), "gradient: 2 7 1 1 1, expected 2 0 0 0 0"),
        (
            text("max_pool_2") + integer(3),
            text("max_pool_2") + integer(2),
            "max_pool_2: 2 3 2 2 0 0, expected 3",
        ),
    ],
)
def test_another_network_is_refused_by_the_field_that_differs(
    sound: bytes, tmp_path: Path, there: bytes, instead: bytes, told: str
) -> None:
    assert there in sound
    with pytest.raises(LayoutError, match=told):
        _import(sound.replace(there, instead, 1), tmp_path)


def test_bytes_after_the_network_are_refused(sound: bytes, tmp_path: Path) -> None:
    with pytest.raises(LayoutError, match="the end: more bytes, expected none"):
        _import(sound + b"\x00", tmp_path)


def test_weights_that_are_not_finite_are_refused(arrays: dict[str, F32], tmp_path: Path) -> None:
    damaged = dict(arrays)
    damaged["blocks.4.conv1.weight"] = arrays["blocks.4.conv1.weight"] * np.float32(np.nan)
    damaged["stem.weight"] = arrays["stem.weight"] * np.float32(1e30)
    damaged["stem.scale"] = np.full_like(arrays["stem.scale"], 1e30)  # the product is beyond float32
    with pytest.raises(WeightError, match=r"blocks\.4\.conv1\.weight, stem\.weight"):
        _import(dlib_file(damaged), tmp_path)


def test_a_changed_byte_is_refused_as_a_checkpoint_error(sound: bytes, tmp_path: Path) -> None:
    """Nothing but a `CheckpointError` leaves the reader, whatever the bytes before the first weights are."""
    rng = np.random.default_rng(0)
    refused = 0
    for position in range(21, 370, 6):
        content = bytearray(sound[:400])
        content[position] = rng.integers(256)
        with pytest.raises(CheckpointError) as caught:
            _import(bytes(content), tmp_path)
        refused += isinstance(caught.value, LayoutError)
    assert 10 < refused < 58  # the others are cut short, or no integers


@pytest.fixture(scope="module")
def golden() -> dict[str, F32]:
    """Descriptors by dlib 20.0.1 itself (``compute_face_descriptor`` of pictures of 150 x 150 pixels).

    ``noise``: of a seeded picture; ``box``: of `FACE` in the astronaut's photo, resized by Pillow; ``chip``:
    of what ``get_face_chip(photo, landmarks, 150, 0.25)`` cuts from it by dlib's 68 landmarks.
    """
    with np.load(Path(__file__).parent / "goldens" / "dlib_face_descriptor.npz") as archive:
        return dict(archive)


def _pictures() -> dict[str, NDArray[np.uint8]]:
    noise = np.rint(127.5 + 127.5 * seeded_uniform((150, 150, 3), "picture", 0)).astype(np.uint8)
    photo = Image.open(ASTRONAUT).convert("RGB")
    return {"noise": noise, "box": np.asarray(photo.resize((150, 150), Image.Resampling.BILINEAR, box=FACE))}


@pytest.mark.parametrize("name", ["noise", "box"])
def test_descriptors_are_dlibs(
    published_descriptor: DlibFaceDescriptor, golden: dict[str, F32], name: str
) -> None:
    with torch.no_grad():
        found = published_descriptor(_normalised(_pictures()[name]))[0]
    assert relative_difference(found, golden[name]) < 1e-4


def test_an_archive_without_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "other.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("readme"), BytesIO())
    with pytest.raises(UnreadableCheckpointError, match=r"no .*dlib_face_recognition_resnet_model_v1\.dat"):
        read_published_descriptor(path)
