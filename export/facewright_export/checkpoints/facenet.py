"""FaceNet's InceptionResnetV1: the state dicts that facenet-pytorch publishes (VGGFace2, CASIA-WebFace)."""

from __future__ import annotations

from pathlib import Path

from facewright_export.checkpoints._reading import fill
from facewright_export.networks.inception_resnet_v1 import InceptionResnetV1


def import_facenet(path: Path | str) -> InceptionResnetV1:
    """The embedding network of a facenet-pytorch file; its classifier `logits` is left out.

    Raises CheckpointError.
    """
    network = InceptionResnetV1()
    fill(network, path, unused=("logits.",))
    network.eval()
    return network
