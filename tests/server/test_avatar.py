"""A photo through the real ensemble: what comes back, by every client, with every option."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from PIL import Image

from facewright.pipelines.registry import stages
from facewright.pipelines.twin import AVATAR_TWIN, RENDER_PREVIEW, WRITE_CODE
from facewright.server import Server
from facewright.server.served_repository import served_pipelines
from facewright_client import AsyncClient, BadCodeError, Client, contract
from tests.server.doors import events, metrics, over_rest
from tests.server.processes import settled

pytestmark = pytest.mark.server

HEIC = Path(__file__).parents[1] / "data" / "astronaut.heic"


def _gltf(glb: bytes) -> dict:
    magic, version, length, json_length, kind = struct.unpack_from("<4sIII4s", glb)
    assert (magic, version, length, kind) == (b"glTF", 2, len(glb), b"JSON")
    return json.loads(glb[20 : 20 + json_length])


def test_an_avatar_has_everything(client: Client, photo: bytes) -> None:
    avatar = client.create(photo, preview=True)
    gltf = _gltf(avatar.glb)
    names = gltf["meshes"][0]["extras"]["targetNames"]
    assert {"jawOpen", "eyeBlinkLeft", "mouthSmileRight"} <= set(names)
    assert avatar.identity.shape == (160,)
    assert avatar.expression.shape == (52,)
    assert 0 <= avatar.expression.min() <= avatar.expression.max() <= 1
    assert avatar.landmarks.shape == (478, 2)
    assert (avatar.landmarks >= 0).all()
    assert (avatar.landmarks <= 512).all()
    assert avatar.neutral_vertices.shape[1] == 3
    assert 0.1 < np.ptp(avatar.neutral_vertices[:, 1]) < 0.5  # metres
    assert np.linalg.det(avatar.head_to_camera[:, :3]) == pytest.approx(1, abs=1e-3)
    assert avatar.sh_light.shape == (9, 3)
    assert avatar.preview is not None
    assert Image.open(BytesIO(avatar.preview)).format == "PNG"
    assert avatar.report["photo"]["width"] == 512
    spent = avatar.report["milliseconds"]
    stages = {step.split(".")[0] for step in spent}
    assert stages == {"find_face", "face_landmarks+face_shape", "fit_head", "bake_texture", "package_avatar"}
    assert all(milliseconds >= 0 for milliseconds in spent.values())


@pytest.mark.parametrize("kind", ["heic", "avif"])
def test_what_phones_write_is_read(client: Client, photo: bytes, kind: str) -> None:
    """By the stages of the server, whose Python has the decoder."""
    if kind == "heic":
        content = HEIC.read_bytes()
    else:
        file = BytesIO()
        Image.open(BytesIO(photo)).save(file, "AVIF", speed=10)
        content = file.getvalue()
    expected = client.create(photo).report["photo"]["face_box"]
    assert client.create(content).report["photo"]["face_box"] == pytest.approx(expected, abs=4)


def test_the_reported_face_chosen_again_is_the_same(client: Client, photo: bytes) -> None:
    """Two faces, the smaller at the left: the main one is the second."""
    face = Image.open(BytesIO(photo)).crop((120, 0, 340, 220))
    canvas = Image.new("RGB", (1000, 500), (96, 100, 110))
    canvas.paste(face.resize((160, 160)), (30, 150))
    canvas.paste(face.resize((440, 440)), (460, 30))
    file = BytesIO()
    canvas.save(file, "JPEG", quality=92)
    main = client.create(file.getvalue())
    assert (main.report["photo"]["face_count"], main.report["photo"]["face_index"]) == (2, 1)
    assert any("2 faces" in warning and "face_index" in warning for warning in main.warnings)
    again = client.create(file.getvalue(), face_index=1)
    assert again.report["photo"] == main.report["photo"]
    other = client.create(file.getvalue(), face_index=0).report["photo"]
    assert other["face_count"] == 2
    assert other["face_box"][2] < 200


def test_the_same_photo_gives_the_same_file(client: Client, photo: bytes) -> None:
    assert client.create(photo).glb == client.create(photo).glb


@pytest.mark.parametrize(
    "options",
    [
        {"texture_size": 512, "texture_format": "png"},
        {"texture_size": 2048, "texture_format": "webp", "lods": 2},
        {"delight": 0.0, "visemes": False, "focal_px": 700.0, "face_index": 0},
    ],
)
def test_options_reach_their_stage(client: Client, photo: bytes, options: dict) -> None:
    avatar = client.create(photo, **options)
    gltf = _gltf(avatar.glb)
    size = options.get("texture_size", 1024)
    image = gltf["images"][0]
    assert image["mimeType"] == f"image/{options.get('texture_format', 'jpeg')}"
    view = gltf["bufferViews"][image["bufferView"]]
    start = 20 + struct.unpack_from("<I", avatar.glb, 12)[0] + 8 + view.get("byteOffset", 0)
    assert Image.open(BytesIO(avatar.glb[start : start + view["byteLength"]])).size == (size, size)
    assert ("viseme_aa" in gltf["meshes"][0]["extras"]["targetNames"]) == options.get("visemes", True)


def test_preview_costs_nothing_unless_asked_for(server: Server, client: Client, photo: bytes) -> None:
    before = settled(server.url, "render_preview")
    client.create(photo)
    assert settled(server.url, "render_preview") == before
    client.create(photo, preview=True)
    assert settled(server.url, "render_preview") == before + 1


def test_any_outputs_alone_can_be_asked_for(server: Server, photo: bytes) -> None:
    """Triton 2.51 by itself finds a deadlock where outputs of one of the first steps are wanted alone."""
    every = [[tensor.name] for tensor in AVATAR_TWIN.gives]
    raw = triton.InferenceServerClient(server.url)
    tensor = triton.InferInput(contract.PHOTO.name, [1, len(photo)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(photo, np.uint8)[None])
    for wanted in (*every, ["GLB", "LANDMARKS"], ["REPORT", "PREVIEW"], ["IDENTITY", "LANDMARKS"]):
        outputs = [triton.InferRequestedOutput(name) for name in wanted]
        result = raw.infer("avatar_twin", [tensor], outputs=outputs)
        assert {output.name for output in result.get_response().outputs} == set(wanted)
        assert all(result.as_numpy(name) is not None for name in wanted)
    raw.close()


def test_asyncio_clients_share_a_connection(server: Server, photo: bytes) -> None:
    async def many() -> list[bytes]:
        async with AsyncClient(server.url) as connected:
            avatars = await asyncio.gather(*(connected.create(photo, texture_size=512) for _ in range(6)))
            return [avatar.glb for avatar in avatars]

    files = asyncio.run(many())
    assert len(files) == 6
    assert len(set(files)) == 1


def test_a_photo_as_curl_sends_it(server: Server, client: Client, photo: bytes) -> None:
    """``curl --data-binary @me.jpg``, which says of the photo that it is a form; the file is gRPC's."""
    answer = over_rest(server, "/v1/avatars?texture_size=512&delight=0.25", photo)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "model/gltf-binary")
    assert answer.body == client.create(photo, texture_size=512, delight=0.25).glb


def test_every_stage_has_metrics(server: Server, client: Client, photo: bytes) -> None:
    client.create(photo, texture_size=512)
    exported = metrics(server)
    for stage in stages(served_pipelines(())):
        assert f'facewright_stage_seconds_count{{stage="{stage}"}}' in exported
    assert "facewright_door_service_seconds" in exported


@pytest.mark.parametrize("preview", [False, True])
def test_stages_are_told_in_order(server: Server, photo: bytes, preview: bool) -> None:
    """All of the pipeline's steps, as far as they work for what is asked for."""
    with events(server, f"/v1/avatars?texture_size=512&preview={str(preview).lower()}", photo) as told:
        *began, (last, avatar) = told
    steps = [step.name for step in AVATAR_TWIN.steps if preview or step not in (WRITE_CODE, RENDER_PREVIEW)]
    assert began == [("began", {"stage": name}) for name in steps]
    assert last == "avatar"
    assert base64.b64decode(avatar["glb"]).startswith(b"glTF")
    assert ("preview" in avatar) == preview


def test_the_command_line_makes_resumes_and_reports(server: Server, photo: bytes, tmp_path: Path) -> None:
    for name in ("one.jpg", "two.jpg"):
        (tmp_path / name).write_bytes(photo)
    (tmp_path / "broken.jpg").write_bytes(photo[:5000])
    command = [sys.executable, "-m", "facewright.cli", "create", *map(str, sorted(tmp_path.glob("*.jpg")))]
    command += ["-o", str(tmp_path / "out"), "--server", server.url, "--texture-size", "512", "--report"]

    def run() -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "broken.jpg: BAD_PHOTO" in done.stderr
        return done.stderr.splitlines()[-1]

    assert run() == "2 made, 0 already there, 1 failed"
    assert (tmp_path / "out" / "one.glb").read_bytes().startswith(b"glTF")
    assert json.loads((tmp_path / "out" / "two.report.json").read_text())["photo"]["width"] == 512
    (tmp_path / "out" / "two.glb").unlink()
    assert run() == "1 made, 1 already there, 1 failed"


def test_the_game_server_answers_every_player(server: Server, photo: bytes, tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_bytes(photo)
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    example = Path(__file__).parents[2] / "client" / "examples" / "game_server.py"
    command = [sys.executable, str(example), str(tmp_path / "good.jpg"), str(tmp_path / "bad.jpg")]
    done = subprocess.run(
        [*command, "--players", "8", "--server", server.url], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert sum("MB" in line for line in lines) == 4
    assert sum("BAD_PHOTO" in line for line in lines[:-1]) == 4
    assert lines[-1].startswith("4 avatars in")


def test_photos_of_one_person_together(server: Server, client: Client, photo: bytes) -> None:
    """Over gRPC, over REST, and again of their codes alone; a code costs nothing unless it is asked for."""
    before = settled(server.url, "write_code")
    client.create(photo)
    assert settled(server.url, "write_code") == before
    file = BytesIO()
    Image.open(BytesIO(photo)).rotate(6).crop((60, 0, 420, 360)).save(file, "PNG")
    merged = client.create([photo, file.getvalue()], code=True, preview=True, texture_size=512)
    assert _gltf(merged.glb)["asset"]["extras"]["pipeline"] == "merge_avatars"
    assert len(merged.report["merge"]["photos"]) == 2
    assert merged.preview is not None
    assert merged.code is not None
    assert client.merge([merged.code], texture_size=512).glb == merged.glb
    reply = over_rest(server, "/v1/avatars?pipeline=merge_avatars&texture_size=512", merged.code)
    assert (reply.status, reply.body) == (200, merged.glb)
    with pytest.raises(BadCodeError, match="code 2 is cut off"):
        client.merge([merged.code[:-1]])
