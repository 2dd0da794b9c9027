"""Mutated photos against a real server: every answer must be an avatar or an error that blames the photo.

    python -m benchmarks.fuzz [--photos 10000] [--seed 0]

Starts its own server. One in ten goes through the door and the whole ensemble, the others past the door to
the stage that reads photos. Exit status 1 when the server blamed itself or lost a stage; offending photos'
numbers are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from benchmarks.fuzz.mutated_photos import mutations, photo_formats
from benchmarks.inner_stages import triton_target
from benchmarks.serving.process_memory import tree_memory
from facewright.pipelines.tensors import PHOTO_INFO
from facewright.server import Server, ServerSettings
from facewright_client import Client, Connection, FacewrightClientError, RetryPolicy, contract
from facewright_client._errors import error_from_answer

_PHOTO = Path(__file__).parents[2] / "tests" / "data" / "astronaut.jpg"
#: Codes that say what is wrong with a photo.
_BLAMES_PHOTO = {"BAD_PHOTO", "PHOTO_TOO_LARGE", "NO_FACE", "FACE_TOO_SMALL"}
_WHOLE_EVERY = 10
_SIDE = 256


def main() -> int:
    """Run the fuzz test; returns the exit status."""
    parser = argparse.ArgumentParser(description="Mutated photos against a real server.")
    parser.add_argument("--photos", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, default=Path("out/fuzz-server.log"), help="Triton's log")
    args = parser.parse_args()
    heic = _PHOTO.with_suffix(".heic").read_bytes()  # Pillow does not write it
    originals = [*photo_formats(_PHOTO.read_bytes(), _SIDE), heic]
    outcomes: Counter[str] = Counter()
    wrong: list[str] = []
    args.log.parent.mkdir(parents=True, exist_ok=True)
    settings = ServerSettings(grpc_port=0, http_port=0, log=args.log)
    started = time.monotonic()
    with (
        Server(settings) as server,
        Client(server.url, Connection(retries=RetryPolicy(attempts=1))) as client,
    ):
        stage = triton.InferenceServerClient(triton_target(server.pid))

        def send(numbered: tuple[int, bytes]) -> None:
            number, photo = numbered
            try:
                if number % _WHOLE_EVERY == 0:
                    client.create(photo, texture_size=512)
                else:
                    _find_face(stage, photo)
                outcomes["answered"] += 1
            except FacewrightClientError as error:
                outcomes[str(error.code)] += 1
                if error.code not in _BLAMES_PHOTO:
                    wrong.append(
                        f"photo {number} of seed {args.seed}: {error.code} by {error.stage}: {error}"
                    )

        pid = server.pid
        memory = tree_memory(pid).rss
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(send, enumerate(mutations(originals, args.photos, args.seed))):
                pass
        grown = tree_memory(pid).rss - memory
        if server.restarts or server.pid != pid:
            wrong.append("the server was restarted")
        stage.close()
    for line in wrong[:20]:
        print(line)
    seconds = time.monotonic() - started
    print(
        f"{args.photos} photos, seed {args.seed}, {seconds:.0f} s: {dict(outcomes)}; memory {grown:+.0f} MB"
    )
    return int(bool(wrong))


def _find_face(stage: triton.InferenceServerClient, photo: bytes) -> None:
    tensor = triton.InferInput(contract.PHOTO.name, [1, len(photo)], "UINT8")
    tensor.set_data_from_numpy(np.frombuffer(photo, np.uint8)[None])
    try:
        stage.infer("find_face", [tensor], outputs=[triton.InferRequestedOutput(PHOTO_INFO.name)])
    except InferenceServerException as failure:
        raise error_from_answer(str(failure.status()), str(failure.message())) from None


if __name__ == "__main__":
    sys.exit(main())
