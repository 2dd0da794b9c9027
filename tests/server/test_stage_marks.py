"""What the stages of a real server say of a request."""

from __future__ import annotations

import numpy as np
import pytest
import tritonclient.grpc as triton

from facewright.pipelines.twin import AVATAR_TWIN
from facewright.server import Server
from facewright_client.contract import GLB, PHOTO
from tests.server.conftest import HeardMarks
from tests.server.processes import eventually

pytestmark = pytest.mark.server


def test_a_request_is_followed_through_its_stages(server: Server, heard: HeardMarks, photo: bytes) -> None:
    tensor = triton.InferInput(PHOTO.name, [1, len(photo)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(photo, np.uint8)[None])
    wanted = [triton.InferRequestedOutput(GLB.name)]
    with triton.InferenceServerClient(server.url) as raw:
        raw.infer(AVATAR_TWIN.name, [tensor], outputs=wanted, request_id="followed")
    steps = [step.name for step in AVATAR_TWIN.steps_for([GLB])]
    assert eventually(lambda: len(heard.stages_of("followed")) >= len(steps), 10)
    assert heard.stages_of("followed") == steps
    assert eventually(lambda: not any(instance.request_ids for instance in heard.marks.instances()), 10)
    named = {instance.name for instance in heard.marks.instances()}
    assert {f"{step}_0_0" for step in steps} <= named, "as Triton's errors call them"
    assert heard.marks.malformed == 0
