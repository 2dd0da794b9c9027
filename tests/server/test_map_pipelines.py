"""avatar_normalized, avatar_rerenderable and what is made of their codes, on one real server."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageOps

from facewright.server import Server, ServerSettings
from facewright_client import Avatar, BadCodeError, BadOptionError, BadRequestError, Client

PIPELINES = ("avatar_normalized", "avatar_rerenderable", "interpolate_avatars", "relight_avatar")
SMALL = {"texture_size": 512}

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def maps_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("maps") / "triton.log"
    settings = ServerSettings(grpc_port=0, http_port=0, log=log, pipelines=PIPELINES)
    with Server(settings) as running:
        yield running


@pytest.fixture(scope="module")
def maps_client(maps_server: Server) -> Iterator[Client]:
    with Client(maps_server.url) as connected:
        yield connected


@pytest.fixture(scope="module")
def people(maps_client: Client, photo: bytes) -> tuple[Avatar, Avatar]:
    """The astronaut, and who she would be in a mirror and dim light."""
    with Image.open(io.BytesIO(photo)) as picture:
        dim = ImageOps.mirror(picture.convert("RGB")).point(lambda level: int(0.6 * level))
    file = io.BytesIO()
    dim.save(file, "PNG")
    options = {"iterations": 0, "code": True, **SMALL}
    one, other = (maps_client.create(p, "avatar_normalized", **options) for p in (photo, file.getvalue()))
    return one, other


def test_a_photo_becomes_a_normalized_avatar(people: tuple[Avatar, Avatar]) -> None:
    avatar = people[0]
    assert avatar.glb.startswith(b"glTF")
    assert avatar.report["refinement"] == {"iterations": 0}
    assert {"generator_forward.onnx", "face_embedding.onnx"} <= set(avatar.report["models"])


def test_few_iterations_are_told_of_and_kept(maps_client: Client, photo: bytes) -> None:
    stages: list[str] = []
    avatar = maps_client.create(photo, "avatar_normalized", iterations=2, progress=stages.append, **SMALL)
    assert avatar.report["refinement"]["iterations"] == 2
    assert stages.index("refine_maps") < stages.index("bake_texture")


def test_at_the_deadline_the_best_so_far_is_dressed(maps_client: Client, photo: bytes) -> None:
    avatar = maps_client.create(photo, "avatar_normalized", iterations=2000, deadline_ms=9000, **SMALL)
    assert avatar.report["refinement"]["deadline"]
    assert avatar.report["refinement"]["iterations"] < 2000


def test_between_two_people(maps_client: Client, people: tuple[Avatar, Avatar]) -> None:
    one, other = people
    assert one.code is not None
    assert other.code is not None
    between = maps_client.interpolate([one.code, other.code], [1, 1], **SMALL)
    middle = (one.neutral_vertices + other.neutral_vertices) / 2
    assert np.abs(between.neutral_vertices - middle).max() < 1e-3
    assert between.report["mix"] == {"shares": [0.5, 0.5]}
    with pytest.raises(BadOptionError):
        maps_client.interpolate([one.code, other.code], [1])


def test_in_another_light(maps_client: Client, people: tuple[Avatar, Avatar]) -> None:
    one, other = people
    assert one.code is not None
    relit = maps_client.relight(one.code, light=other.code)
    assert np.allclose(relit.sh_light, other.sh_light, atol=1e-4)
    assert np.asarray(Image.open(io.BytesIO(relit.picture))).shape == (512, 512, 3)
    dark = maps_client.relight(one.code, light=0.2 * one.sh_light)
    own = maps_client.relight(one.code)
    levels = [np.asarray(Image.open(io.BytesIO(r.picture))).mean() for r in (dark, own)]
    assert levels[0] < 0.7 * levels[1]
    with pytest.raises(BadCodeError):
        maps_client.relight(b"FWCODE no more")
    with pytest.raises(BadOptionError):
        maps_client.relight(one.code, light=other.sh_light[:4])


def test_a_photo_becomes_a_rerenderable_avatar(maps_client: Client, photo: bytes) -> None:
    avatar = maps_client.create(photo, "avatar_rerenderable", code=True, **SMALL)
    assert avatar.glb.startswith(b"glTF")
    assert avatar.report["unwrapped"]["seen_share"] > 0.5
    assert "detail_refinement.onnx" in avatar.report["models"]
    assert avatar.code is not None
    with pytest.raises(BadCodeError, match="has no latents"):
        maps_client.interpolate([avatar.code])


def test_rest_makes_them_too(maps_server: Server, photo: bytes, people: tuple[Avatar, Avatar]) -> None:
    with Client(f"http://127.0.0.1:{maps_server.settings.http_port}") as client:
        made = client.create(photo, "avatar_normalized", iterations=0, **SMALL)
        assert np.abs(made.neutral_vertices - people[0].neutral_vertices).max() < 1e-5
        assert people[0].code is not None
        with pytest.raises(BadRequestError, match="gRPC"):
            client.relight(people[0].code)
