"""Bad input gets its typed error with a mend, from a server that lives on."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from PIL import Image
from tritonclient.utils import InferenceServerException

from benchmarks.fuzz.mutated_photos import mutations, photo_formats
from facewright.adapter.in_process import run_in_process
from facewright.core.assets import cache_folder
from facewright.pipelines.registry import pipelines, stages
from facewright.pipelines.request import Request
from facewright.pipelines.section import sections_to_json
from facewright.pipelines.stages import EARLIER_SECTIONS, REQUEST
from facewright.server import Server, ServerSettings
from facewright_client import (
    BadOptionError,
    BadPhotoError,
    BadRequestError,
    Client,
    DeadlineExceededError,
    FaceTooSmallError,
    FacewrightClientError,
    NoFaceError,
    PhotoTooLargeError,
    contract,
)
from facewright_client.contract import Tensor
from tests.server import bad_photos
from tests.server.doors import behind, over_rest
from tests.server.processes import settled

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
        {"texture_format": "x" * 10_000},
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


def test_more_options_than_any_request_has(client: Client, photo: bytes) -> None:
    with pytest.raises(BadRequestError, match="beside the tensors' contents"):
        client.create(photo, texture_format="x" * 100_000)


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
    words = r"PHOTO (has shape|has a batch of 2|is (UINT8|FP32) of shape)"
    with pytest.raises(InferenceServerException, match=words):
        raw.infer("avatar_twin", [tensor], outputs=[triton.InferRequestedOutput("GLB")])
    raw.close()


@pytest.fixture(scope="module")
def travelling(photo: bytes) -> Mapping[Tensor, npt.NDArray[Any]]:
    """Every tensor of one avatar, by which stages can be called one by one."""
    request = Request("avatar_twin", {"texture_size": 512}, time.time())
    texts = {REQUEST: request.to_json(), EARLIER_SECTIONS: sections_to_json([])}
    tensors = run_in_process("avatar_twin", photo, {"texture_size": 512}).tensors
    return {**tensors, **{tensor: np.frombuffer(text.encode(), np.uint8) for tensor, text in texts.items()}}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("stage", ["fit_head", "bake_texture", "package_avatar", "render_preview"])
def test_stages_refuse_numbers_that_are_not_finite(
    server: Server, travelling: Mapping[Tensor, npt.NDArray[Any]], stage: str, value: float
) -> None:
    """Behind the door, where one might give another's nonsense: it is named, and becomes no avatar."""
    given = [tensor for tensor in stages(pipelines())[stage].takes if tensor in travelling]
    taken = [*given, REQUEST, EARLIER_SECTIONS]
    with triton.InferenceServerClient(behind(server)) as raw:
        raw.infer(stage, [_input(tensor, travelling[tensor]) for tensor in taken])
        for broken in (tensor for tensor in taken if tensor.dtype == "TYPE_FP32"):
            array = travelling[broken].copy()
            array.flat[array.size // 2] = value
            inputs = [_input(tensor, array if tensor == broken else travelling[tensor]) for tensor in taken]
            with pytest.raises(InferenceServerException) as caught:
                raw.infer(stage, inputs)
            answer = json.loads(str(caught.value.message()))
            assert (answer["code"], answer["stage"]) == ("INTERNAL", stage), broken.name
            assert "finite" in answer["message"], broken.name


def _input(tensor: Tensor, value: npt.NDArray[Any]) -> triton.InferInput:
    sent = triton.InferInput(tensor.name, [1, *value.shape], tensor.dtype.removeprefix("TYPE_"))
    sent.set_data_from_numpy(value[None])
    return sent


@pytest.mark.parametrize("stage", ["fit_head", "bake_texture", "package_avatar", "render_preview"])
def test_stages_refuse_options_that_the_first_stage_would(server: Server, stage: str) -> None:
    """A texture of 60000² texels would take the whole machine's memory, whoever let it in."""
    request = Request("avatar_twin", {"texture_size": 60_000}, time.time())
    travelling = {REQUEST: request.to_json(), EARLIER_SECTIONS: sections_to_json([])}
    inputs = []
    for tensor in (*stages(pipelines())[stage].takes, *travelling):
        if tensor in travelling:
            value = np.frombuffer(travelling[tensor].encode(), np.uint8)
        else:
            kind = np.uint8 if tensor.dtype == "TYPE_UINT8" else np.float32
            value = np.zeros([10 if n == -1 else n for n in tensor.shape], kind)
        inputs.append(_input(tensor, value))
    with (
        triton.InferenceServerClient(behind(server)) as raw,
        pytest.raises(InferenceServerException) as caught,
    ):
        raw.infer(stage, inputs)
    answer = json.loads(str(caught.value.message()))
    assert answer["code"] == "BAD_OPTION"
    assert answer["stage"] == stage
    assert "60000" in answer["message"]


@pytest.mark.parametrize(
    ("size", "code"), [(0, "BAD_PHOTO"), (contract.MAX_PHOTO_BYTES + 1, "PHOTO_TOO_LARGE")]
)
def test_fewer_and_more_bytes_than_a_photo_has(server: Server, size: int, code: str) -> None:
    """Our client refuses by itself; other clients get the same answer from the server."""
    content = np.zeros((1, size), np.uint8)
    tensor = triton.InferInput("PHOTO", list(content.shape), "UINT8")
    tensor.set_data_from_numpy(content)
    outputs = [triton.InferRequestedOutput("GLB")]
    refused = pytest.raises(InferenceServerException, match=code)
    with triton.InferenceServerClient(server.url) as raw, refused:
        raw.infer("avatar_twin", [tensor], outputs=outputs)


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


def test_a_deadline_stops_the_work(server: Server, client: Client, photo: bytes) -> None:
    before = settled(server.url, "package_avatar")
    with pytest.raises(DeadlineExceededError) as caught:
        client.create(photo, deadline_ms=1)
    assert caught.value.stage == "find_face"
    assert settled(server.url, "package_avatar") == before


def test_the_clients_own_time_limit(client: Client, photo: bytes) -> None:
    with pytest.raises(DeadlineExceededError) as caught:
        client.create(photo, timeout_s=0.03)
    assert caught.value.stage in ("", "gateway"), "the client gave up, not a stage"


def test_no_photo_in_logs_or_on_disk(
    tmp_path: Path, places: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the encoded photo nor its pixels, decoded or cropped, with Triton as talkative as it can be."""
    monkeypatch.setenv("TMPDIR", str(places))
    monkeypatch.setattr(tempfile, "tempdir", None)
    home_cache = cache_folder()
    started = time.time()
    marker = b"facewright-privacy-marker-4711"
    marked = bad_photos.with_comment(photo, marker * 20)
    secrets = _pieces(photo, marker)
    log = tmp_path / "triton.log"
    settings = ServerSettings(grpc_port=0, http_port=0, log=log, cores=1, log_verbose=True)
    with Server(settings) as server, Client(server.url) as client:
        client.create(marked, preview=True)
        json_answer = {"Accept": "application/json"}
        assert over_rest(server, "/v1/avatars?preview=true", marked, **json_answer).status == 200
        with pytest.raises(BadPhotoError):
            client.create(marked[: len(marked) // 2])
        with pytest.raises(BadOptionError):
            client.create(marked, lods=9)
        assert any(places.iterdir()), "the server's own folder is searched"
        changed = [path for path in _files(places, home_cache) if path.stat().st_mtime >= started]
        found = _containing([log, *changed], secrets)
    assert log.stat().st_size > 10_000, "Triton was talkative"
    assert not found
    changed = [path for path in _files(tmp_path, places, home_cache) if path.stat().st_mtime >= started]
    assert log in changed
    assert not _containing(changed, secrets)
    # The search finds what is there.
    (tmp_path / "leak").write_bytes(b"before" + np.asarray(Image.open(BytesIO(photo))).tobytes() + b"after")
    assert _containing([tmp_path / "leak"], secrets) == [tmp_path / "leak"]


def _pieces(photo: bytes, marker: bytes) -> list[bytes]:
    """What only this photo holds: of its comment, its encoded body and its decoded rows."""
    pixels = np.asarray(Image.open(BytesIO(photo)).convert("RGB"))
    rows = [pixels[row, 100:132].tobytes() for row in range(0, len(pixels), 16)]
    body = [photo[start : start + 64] for start in range(len(photo) // 4, len(photo) - 64, len(photo) // 16)]
    return [marker, *body, *(row for row in rows if len(set(row)) > 16)]


def _files(*folders: Path) -> list[Path]:
    return [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def _containing(paths: list[Path], pieces: list[bytes]) -> list[Path]:
    return [path for path in paths if any(piece in path.read_bytes() for piece in pieces)]


def _gif() -> bytes:
    file = BytesIO()
    Image.new("P", (64, 64)).save(file, "GIF")
    return file.getvalue()
