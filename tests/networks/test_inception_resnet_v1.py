"""InceptionResnetV1 against recorded outputs of facenet-pytorch, from a file in its format."""

from pathlib import Path

import pytest
import torch

from facewright_export.checkpoints import LayoutError, WeightError
from facewright_export.checkpoints.facenet import import_facenet
from tests.networks.golden import SAME_NETWORK, load_golden, relative_difference, seeded_input


@torch.no_grad()
def test_file_to_embedding(tmp_path: Path) -> None:
    golden = load_golden("inception_resnet_v1")
    assert golden.shapes["logits.weight"] == (8631, 512)
    torch.save(golden.weights(), tmp_path / "20180402-114759-vggface2.pt")
    network = import_facenet(tmp_path / "20180402-114759-vggface2.pt")
    embedding = network(seeded_input((2, 3, 160, 160)))
    assert relative_difference(embedding, golden.outputs["embedding"]) < SAME_NETWORK
    # Seeded weights move the two embeddings only a little apart, so hold what differs between them, too.
    official = golden.outputs["embedding"]
    # Rounding leaves 2e-5 of that, another ε of batch normalisation 7e-3.
    assert relative_difference(embedding[0] - embedding[1], official[0] - official[1]) < 1e-3
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(2))


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    weights = load_golden("inception_resnet_v1").weights()
    path = tmp_path / "facenet.pt"
    missing = {key: value for key, value in weights.items() if key != "repeat_2.3.branch1.1.bn.weight"}
    torch.save(missing, path)
    with pytest.raises(LayoutError, match=r"1 missing: repeat_2\.3\.branch1\.1\.bn\.weight"):
        import_facenet(path)
    torch.save({**weights, "last_linear.weight": torch.zeros(128, 1792)}, path)
    with pytest.raises(LayoutError, match=r"last_linear\.weight is float32 \[128, 1792\]"):
        import_facenet(path)
    torch.save({**weights, "last_bn.bias": torch.full((512,), torch.nan)}, path)
    with pytest.raises(WeightError, match=r"last_bn\.bias"):
        import_facenet(path)
