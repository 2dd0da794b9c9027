"""Bad input gets its typed error with a mend, from a server that lives on."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from facewright_client import (
    BadOptionError,
    BadPhotoError,
    BadRequestError,
    CancelledError,
    Client,
    DeadlineExceededError,
    FaceTooSmallError,
    FacewrightClientError,
    NoFaceError,
    PhotoTooLargeError,
)
from PIL import Image
from tritonclient.utils import InferenceServerException

from benchmarks.fuzz.mutated_photos import mutations, photo_formats
from facewright.server import Server
from tests.server import bad_photos

pytestmark = pytest.mark.server


@pytest.fixture(autouse=True)
def _server_lives_on(server: Server, client: Client, photo: bytes) -> object:
    """After each test the very same server process still makes avatars."""
    pid = server.pid
    yield
    assert client.create(photo, texture_size=512).glb.startswith(b"glTF")
    assert server.pid == pid
    assert server.restarts == 0


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("empty", BadPhotoError),
        ("text", BadPhotoError),
        ("gif", BadPhotoError),
        ("truncated", BadPhotoError),
        ("header only", BadPhotoError),
        ("1 x 1", BadPhotoError),
        ("bomb", PhotoTooLargeError),
        ("61 megapixels", PhotoTooLargeError),
        ("blank", NoFaceError),
        ("cat", NoFaceError),
        ("small face", FaceTooSmallError),
    ],
)
def test_bad_photos(client: Client, photo: bytes, name: str, error: type[FacewrightClientError]) -> None:
    content = {
        "empty": lambda: b"",
        "text": lambda: b"this is not a photo" * 100,
        "gif": _gif,
        "truncated": lambda: photo[: len(photo) // 2],
        "header only": lambda: photo[:300],
        "1 x 1": lambda: bad_photos.blank(1, 1),
        "bomb": lambda: bad_photos.bomb(50_000, 50_000),
        "61 megapixels": lambda: bad_photos.blank(10_000, 6_100),
        "blank": lambda: bad_photos.blank(640, 480),
        "cat": bad_photos.cat,
        "small face": lambda: bad_photos.scaled(photo, 80),
    }[name]()
    with pytest.raises(error) as caught:
        client.create(content)
    assert caught.value.stage == "find_face"
    assert caught.value.message
    assert caught.value.hint


def test_sixty_megapixels_are_served(client: Client, photo: bytes) -> None:
    large = Image.open(BytesIO(photo)).resize((7740, 7740), Image.Resampling.BILINEAR)
    file = BytesIO()
    large.save(file, "JPEG", quality=50)
    assert client.create(file.getvalue(), texture_size=512).report["photo"]["width"] == 7740


@pytest.mark.parametrize(
    "options",
    [
        {"texture_size": 1000},
        {"texture_size": "big"},
        {"delight": math.nan},
        {"delight": math.inf},
        {"delight": -0.5},
        {"lods": 3},
        {"deadline_ms": -1},
        {"no_such_option": 1},
        {"visemes": "maybe"},
        {"texture_format": "x" * 100_000},
    ],
)
def test_bad_options(client: Client, photo: bytes, options: dict) -> None:
    with pytest.raises(BadOptionError) as caught:
        client.create(photo, **options)
    assert next(iter(options)) in caught.value.message
    assert caught.value.hint
    assert len(str(caught.value)) < 500


def test_a_face_that_is_not_there(client: Client, photo: bytes) -> None:
    with pytest.raises(NoFaceError, match="face_index"):
        client.create(photo, face_index=7)


def test_an_unknown_pipeline(client: Client, photo: bytes) -> None:
    with pytest.raises(BadRequestError):
        client.create(photo, pipeline="avatar_of_tomorrow")


@pytest.mark.parametrize(
    ("shape", "kind"), [([1, 2, 50], "UINT8"), ([2, 50], "UINT8"), ([100], "UINT8"), ([1, 25], "FP32")]
)
def test_wrong_tensors(server: Server, shape: list[int], kind: str) -> None:
    raw = triton.InferenceServerClient(server.url)
    tensor = triton.InferInput("PHOTO", shape, kind)
    tensor.set_data_from_numpy(np.zeros(shape, np.uint8 if kind == "UINT8" else np.float32))
    with pytest.raises(InferenceServerException, match=r"(?i)shape|data-type|batch|dims"):
        raw.infer("avatar_twin", [tensor], outputs=[triton.InferRequestedOutput("GLB")])
    raw.close()


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e38])
def test_stages_refuse_numbers_that_are_not_finite(server: Server, value: float) -> None:
    """Stages can be called one by one; nonsense must not kill them."""
    raw = triton.InferenceServerClient(server.url)
    tensor = triton.InferInput("LANDMARK_INPUT", [1, 3, 192, 192], "FP32")
    tensor.set_data_from_numpy(np.full((1, 3, 192, 192), value, np.float32))
    score = raw.infer("face_landmarks", [tensor]).as_numpy("FACE_SCORE")
    assert not score[0, 0] > 0.9
    raw.close()


def test_mutated_photos(client: Client, photo: bytes) -> None:
    """Each damaged photo gives an avatar or an error that blames the photo, never the server."""
    outcomes: Counter[str] = Counter()
    for damaged in mutations([photo, *photo_formats(photo, 256)], count=60, seed=1):
        try:
            client.create(damaged, texture_size=512)
            outcomes["avatar"] += 1
        except (BadPhotoError, NoFaceError, FaceTooSmallError, PhotoTooLargeError) as error:
            outcomes[error.code] += 1
    assert outcomes["BAD_PHOTO"] > 0
    assert outcomes["avatar"] > 0


def test_a_deadline_stops_the_work(client: Client, photo: bytes) -> None:
    def baked() -> int:
        models = {model["name"]: model for model in client.statistics()["model_stats"]}
        return int(models["package_avatar"]["inference_stats"]["success"].get("count", 0))

    before = baked()
    with pytest.raises(DeadlineExceededError) as caught:
        client.create(photo, deadline_ms=1)
    assert caught.value.stage in ("fit_head", "bake_texture")
    assert baked() == before


def test_the_clients_own_time_limit(client: Client, photo: bytes) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        client.create(photo, timeout_s=0.03)
    assert time.monotonic() - started < 2


def test_a_client_that_leaves(client: Client, server: Server, photo: bytes) -> None:
    """Requests that wait are dropped when their client is gone, so that others do not wait for them."""
    waiting = [client.submit(photo, texture_size=4096, texture_format="png") for _ in range(12)]
    time.sleep(0.3)
    for pending in waiting:
        pending.cancel()
    for pending in waiting:
        with pytest.raises(CancelledError):
            pending.result(10)
    started = time.monotonic()
    client.create(photo)
    # Twelve such textures would take half a minute.
    assert time.monotonic() - started < 15


def test_no_photo_in_logs_or_on_disk(client: Client, server_log: Path, photo: bytes, tmp_path: Path) -> None:
    marker = b"facewright-privacy-marker-4711"
    marked = bad_photos.with_comment(photo, marker * 20)
    client.create(marked)
    with pytest.raises(BadPhotoError):
        client.create(marked[:4000])
    with pytest.raises(BadOptionError):
        client.create(marked, lods=9)
    assert marker not in server_log.read_bytes()
    served = [
        path for path in Path("/tmp").glob("facewright-*") if path.stat().st_uid == tmp_path.stat().st_uid
    ]
    assert served
    for folder in served:
        for path in folder.rglob("*"):
            assert not path.is_file() or marker not in path.read_bytes(), path
    assert not list(Path("/dev/shm").glob(f"facewright-{os.getpid()}-*"))


def _gif() -> bytes:
    file = BytesIO()
    Image.new("P", (64, 64)).save(file, "GIF")
    return file.getvalue()
