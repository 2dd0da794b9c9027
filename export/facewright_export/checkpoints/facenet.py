"""FaceNet's InceptionResnetV1: the state dicts that facenet-pytorch publishes (VGGFace2, CASIA-WebFace)."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import load_strictly, read_torch, section
from facewright_export.networks.inception_resnet_v1 import InceptionResnetV1


def import_facenet(path: Path | str) -> InceptionResnetV1:
    """The embedding network of a facenet-pytorch file; its classifier `logits` is left out.

    Raises CheckpointError.
    """
    network = InceptionResnetV1()
    state = section(read_torch(path), source=str(path))
    load_strictly(network, state, unused=("logits.",), source=str(path))
    network.eval()
    return network
