"""What the stages of a real server say of a request, and what becomes of one that is stopped."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton

from facewright.pipelines.twin import AVATAR_TWIN, BAKE_TEXTURE
from facewright.server import Server
from facewright.server.instance_watch import InstanceWatch, Verdict, Why
from facewright_client.contract import GLB, PHOTO
from tests.server.conftest import HeardMarks
from tests.server.processes import eventually

pytestmark = pytest.mark.server


def _create(server: Server, photo: bytes, request_id: str, **options: str | int) -> int:
    """Bytes of the GLB of a request with an id of its own."""
    tensor = triton.InferInput(PHOTO.name, [1, len(photo)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(photo, np.uint8)[None])
    with triton.InferenceServerClient(server.url) as raw:
        wanted = [triton.InferRequestedOutput(GLB.name)]
        result = raw.infer(
            AVATAR_TWIN.name, [tensor], outputs=wanted, request_id=request_id, parameters=options
        )
    return int(result.as_numpy(GLB.name).size)


def test_a_request_is_followed_through_its_stages(server: Server, heard: HeardMarks, photo: bytes) -> None:
    assert _create(server, photo, "followed", texture_size=512)
    steps = [step.name for step in AVATAR_TWIN.steps_for([GLB])]
    assert eventually(lambda: len(heard.stages_of("followed")) >= len(steps), 10)
    assert heard.stages_of("followed") == steps
    assert eventually(lambda: not any(instance.request_ids for instance in heard.marks.instances()), 10)
    assert heard.marks.malformed == 0


def test_an_instance_that_is_stopped_at_work_is_found_with_what_it_holds(
    server: Server, heard: HeardMarks, photo: bytes
) -> None:
    watch = InstanceWatch(patience_s=0.5)
    with ThreadPoolExecutor(1) as pool:
        made: Future[int] = pool.submit(
            _create, server, photo, "stopped", texture_size=2048, texture_format="png"
        )
        assert eventually(lambda: bool(heard.holding(BAKE_TEXTURE.name)), 60)
        (pid,) = heard.holding(BAKE_TEXTURE.name)
        os.kill(pid, signal.SIGSTOP)
        try:
            found: list[Verdict] = []

            def noticed() -> bool:
                found[:] = watch.look(heard.marks.instances(), time.monotonic())
                return bool(found)

            assert eventually(noticed, 30)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert [(verdict.pid, verdict.stage, verdict.why, verdict.request_ids) for verdict in found] == [
            (pid, BAKE_TEXTURE.name, Why.STOPPED, ("stopped",))
        ]
        assert made.result(60)
