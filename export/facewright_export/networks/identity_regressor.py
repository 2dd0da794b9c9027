"""The identity regressor of the "normalized" pipeline: a face-recognition embedding to a W+ code.

Luo et al., "Normalized Avatar Synthesis Using StyleGAN and Perceptual Refinement", section 3.1 (R maps the
FaceNet feature to W+ = 14 × 512) and section 4, implementation details: four fully connected layers with
leaky ReLU.
"""

from torch import Tensor, nn


class IdentityRegressor(nn.Module):
    """identity embedding f32 [B, 512] of unit length → w_plus f32 [B, style_count, style_width].

    The paper gives neither the hidden width nor the slope: 512, the width of both its ends, and 0.2,
    StyleGAN2's own. Nothing follows the last layer, because w codes have either sign.
    """

    def __init__(
        self,
        style_count: int = 14,
        style_width: int = 512,
        embedding_width: int = 512,
        hidden_width: int = 512,
    ) -> None:
        super().__init__()
        self.style_count = style_count
        self.style_width = style_width
        self.layers = nn.Sequential(
            nn.Linear(embedding_width, hidden_width),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_width, hidden_width),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_width, hidden_width),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_width, style_count * style_width),
        )

    def forward(self, embedding: Tensor) -> Tensor:
        return self.layers(embedding).reshape(-1, self.style_count, self.style_width)
