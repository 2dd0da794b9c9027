"""The shape decoder of the "twin" pipeline: an identity feature to the vertices of a neutral head.

Wang et al., "Digital Twin: Acquiring High-Fidelity 3D Avatar from a Single Image", section 3.3: three fully
connected layers of 128, 200 and 3·V outputs (V is 2925 there), the last one starting from 200 principal
components of the training heads.
"""

from torch import Tensor, nn
from torch.nn import functional

FEATURE_WIDTH = 256
HIDDEN_WIDTH = 128
COMPONENT_COUNT = 200
PAPER_VERTEX_COUNT = 2925


class ShapeDecoder(nn.Module):
    """identity feature f32 [B, 256] → vertices f32 [B, V, 3], metres, head space.

    The paper does not name an activation: here a ReLU follows the first layer only, so that the 200 outputs
    of the second are free to be principal-component coefficients of either sign.
    """

    def __init__(self, vertex_count: int = PAPER_VERTEX_COUNT) -> None:
        super().__init__()
        self.hidden = nn.Linear(FEATURE_WIDTH, HIDDEN_WIDTH)
        self.coefficients = nn.Linear(HIDDEN_WIDTH, COMPONENT_COUNT)
        self.vertices = nn.Linear(COMPONENT_COUNT, 3 * vertex_count)

    def forward(self, identity_feature: Tensor) -> Tensor:
        coefficients = self.coefficients(functional.relu(self.hidden(identity_feature)))
        return self.vertices(coefficients).reshape(-1, self.vertices.out_features // 3, 3)
