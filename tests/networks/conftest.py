"""What every test of a network shares."""

from __future__ import annotations

import pytest
import torch

from facewright.core.wheels import FACE_RECOGNITION_MODELS
from facewright_export.networks.dlib_resnet import DlibFaceDescriptor
from facewright_export.open_normalized.identity import read_published_descriptor
from tests.support.pinned_wheel import wheel_or_skip


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Torch on one thread: on a busy machine its threads wait for each other, and two are slower than one."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def published_descriptor() -> DlibFaceDescriptor:
    """dlib's network with its published weights, which are not in this repository."""
    archive = wheel_or_skip(FACE_RECOGNITION_MODELS)
    return read_published_descriptor(archive)
