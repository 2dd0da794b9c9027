"""Options of a refinement, and the learning rate of each iteration."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facewright.core.options import OptionValue, validated_options
from facewright.pipelines.refinement import REFINE_OPTIONS


def _default(name: str) -> Any:
    return REFINE_OPTIONS[name].default


@dataclass(frozen=True)
class RefinementOptions:
    """What one refinement does; meanings, ranges and defaults are those of ``REFINE_OPTIONS``.

    The loss is eq. 2 of the normalized paper, `L = L_w + λ₁ LPIPS + λ₂ L_id`. The paper gives neither λ nor
    the optimiser nor its rates; `benchmarks/refinement` shows what the defaults do. L_w is the Euclidean
    distance of the latents from their start over the root of their number, so that its weight does not
    depend on it.

    Raises:
        FacewrightError: BAD_OPTION for a value out of range.
    """

    iterations: int = _default("iterations")
    learning_rate: float = _default("learning_rate")
    warm_up: float = _default("warm_up")
    ramp_down: float = _default("ramp_down")
    latent_weight: float = _default("latent_weight")
    perceptual_weight: float = _default("perceptual_weight")
    identity_weight: float = _default("identity_weight")
    optimize_camera: bool = _default("optimize_camera")
    optimize_light: bool = _default("optimize_light")
    patience: int = _default("patience")
    latent_noise: float = _default("latent_noise")
    seed: int = _default("seed")
    deadline_ms: int = _default("deadline_ms")
    preview_every: int = _default("preview_every")

    def __post_init__(self) -> None:
        validated_options(dataclasses.asdict(self), REFINE_OPTIONS)

    @classmethod
    def from_parameters(
        cls, parameters: Mapping[str, OptionValue], has_identity: bool = True
    ) -> RefinementOptions:
        """Validate request parameters; those absent take their defaults.

        Args:
            parameters: of the request.
            has_identity: whether there is an identity network: without one its weight is 0 by default.

        Raises:
            FacewrightError: BAD_OPTION for an unknown name, a wrong type, NaN or infinity, a value out of
                range.
        """
        weights = {} if has_identity else {"identity_weight": 0.0}
        return cls(**weights | validated_options(parameters, REFINE_OPTIONS))

    def rate_factor(self, iteration: int) -> float:
        """Share 0–1 of the full learning rate at an iteration from 0: a linear rise, then 1, then half a
        cosine down to 0 (StyleGAN2's projection, Karras et al. 2020, appendix D; their shares are the
        defaults).
        """
        done = (iteration + 1) / self.iterations
        rise = min(1.0, done / self.warm_up) if self.warm_up else 1.0
        left = min(1.0, (1 - iteration / self.iterations) / self.ramp_down) if self.ramp_down else 1.0
        return rise * (0.5 - 0.5 * math.cos(math.pi * left))

    def noise_deviation(self, iteration: int) -> float:
        """Standard deviation of the noise added to the latents: falls with the square of what is left of the
        first three quarters (Karras et al. 2020, appendix D).
        """
        left = max(0.0, 1 - iteration / self.iterations / 0.75)
        return self.latent_noise * left**2
