"""The identity network of refinement on open weights: what it is shown, its gradient, and what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.refinement.loss_terms import ASTRONAUT, photo_subject, refine_by_columns
from facewright.core.assets import BUILD_COMMAND
from facewright.core.errors import FacewrightError
from facewright.engines.onnx_engine import OnnxEngine
from facewright.photo.face_networks import FaceNetworks
from facewright.photo.find_face import find_face
from facewright.refine.device import RefinementDevice
from facewright.refine.network_files import IDENTITY_COMMAND, refinement_files, refinement_folder
from facewright.refine.networks import GRAD_IMAGE, IMAGE, LOSS, load_refinement_networks
from facewright_export.gradients.example_images import smooth_images
from facewright_export.networks.dlib_resnet import INPUT_SIZE, DlibFaceDescriptor
from facewright_export.open_normalized.identity import OpenIdentity, build


@pytest.fixture(scope="module")
def folder(published_descriptor: DlibFaceDescriptor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Open assets of a machine where the command was run."""
    made = tmp_path_factory.mktemp("cache") / "open"
    build(published_descriptor, made)
    for path in refinement_files(refinement_folder()).values():
        (made / path.name).symlink_to(path.resolve())
    return made


@pytest.fixture(scope="module")
def face_crop() -> NDArray[np.uint8]:
    """The astronaut's FACE_CROP at the refinement's size."""
    found = find_face(ASTRONAUT.read_bytes(), FaceNetworks.load())
    return np.asarray(Image.fromarray(found.face_crop).reduce(4))


def test_the_network_is_shown_the_face_that_dlib_would_cut_out(
    published_descriptor: DlibFaceDescriptor, face_crop: NDArray[np.uint8]
) -> None:
    """What is left is that dlib's own alignment also turns the face by 3 degrees."""
    with np.load(Path(__file__).parent / "goldens" / "dlib_face_descriptor.npz") as archive:
        aligned = torch.from_numpy(archive["chip"])
    picture = torch.from_numpy(face_crop.transpose(2, 0, 1)[None].astype(np.float32)) / 255
    loss = OpenIdentity(published_descriptor)

    def distance(shown: torch.Tensor) -> float:
        return float(loss(shown, aligned[None] / aligned.norm()))

    with torch.no_grad():
        assert distance(picture) < 0.006
        for moved in (torch.roll(picture, 36, 2), torch.roll(picture, 36, 3)):
            assert distance(moved) > 0.03


def test_the_pair_is_the_distance_and_its_gradient(
    published_descriptor: DlibFaceDescriptor, folder: Path
) -> None:
    identity = load_refinement_networks(folder, OnnxEngine).identity
    assert identity is not None
    loss = OpenIdentity(published_descriptor)
    image, photo = smooth_images("a", 3, 256), smooth_images("b", 3, 256)
    targets = identity.targets.run({IMAGE: photo.numpy()})
    found = identity.loss.run({IMAGE: image.numpy(), **targets})
    expected, pull_back = torch.func.vjp(lambda x: loss(x, *loss.targets(photo)), image)
    gradient = pull_back(torch.ones(3))[0].numpy()
    np.testing.assert_allclose(found[LOSS], expected.numpy(), rtol=1e-3)
    for ours, autograd in zip(found[GRAD_IMAGE], gradient, strict=True):
        cosine = (ours * autograd).sum() / (np.linalg.norm(ours) * np.linalg.norm(autograd))
        assert cosine > 0.99999
        assert np.linalg.norm(ours - autograd) < 1e-3 * np.linalg.norm(autograd)
    # Nothing outside the window that the network is shown has a gradient.
    margin = int(128 - INPUT_SIZE / 2 - 1)
    assert np.abs(found[GRAD_IMAGE][..., :margin]).max() == 0
    assert np.abs(found[GRAD_IMAGE][..., 128]).max() > 0


def test_the_stages_find_what_the_command_built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACEWRIGHT_REFINEMENT_NETWORKS")
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(folder.parent))
    assert refinement_folder() == folder
    assert {"identity_targets", "identity_loss"} < refinement_files(folder).keys()
    monkeypatch.setenv("FACEWRIGHT_REFINEMENT_NETWORKS", "/another")
    assert refinement_folder() == Path("/another")


@pytest.mark.parametrize(
    ("missing", "mend"),
    [("identity_targets", IDENTITY_COMMAND), ("generator_backward", f"run: {BUILD_COMMAND}")],
)
def test_a_missing_network_is_an_error_that_names_its_command(
    missing: str, mend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FACEWRIGHT_CACHE", str(tmp_path))
    made = tmp_path / "open"
    made.mkdir()
    for name in (*refinement_files(refinement_folder()), "identity_targets", "identity_loss"):
        if name != missing:
            (made / f"{name}.onnx").touch()
    with pytest.raises(FacewrightError, match=rf"{missing}\.onnx, which is not in") as caught:
        refinement_files(made)
    assert caught.value.hint == mend
    with pytest.raises(FacewrightError, match="which is not in") as caught:
        refinement_files(tmp_path / "brought")
    assert "docs/refinement.md" in caught.value.hint


@pytest.mark.slow
def test_each_term_does_on_a_photo_what_the_figure_shows(folder: Path) -> None:
    """Normalized, figure 18: identity alone is blind to what one sees, both terms together have both."""
    device = RefinementDevice.cpu(1)
    networks = load_refinement_networks(folder, device.open_engine)
    rows, pictures = refine_by_columns(photo_subject(networks, device, ASTRONAUT), networks, device, 40)
    assert pictures.shape == (256, 5 * 256, 3)
    left: dict[str, dict[str, Any]] = {
        row["terms"]: {name: row[name][1] / row[name][0] for name in ("identity", "perceptual")}
        for row in rows
    }
    # 0.55 to 0.62 is left of what is refined, 0.92 to 1.05 of what is not. Bounds are between them, with room
    # for what other orders of sums change.
    assert left["identity"]["identity"] < 0.75, left
    assert left["identity"]["perceptual"] > 0.8, left
    assert left["perceptual"]["perceptual"] < 0.8, left
    assert left["perceptual"]["identity"] > 0.8, left
    assert left["identity and perceptual"]["identity"] < 0.8, left
    assert left["identity and perceptual"]["perceptual"] < 0.8, left
