"""Synthetic people that nothing was trained on, whose albedo is known."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from benchmarks.likeness.consistency import lab_from_srgb
from facewright.core.assets import asset_path
from facewright.core.colour import linear_from_srgb, luminance, srgb_from_linear
from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright_export.detail_refinement.training import face_weight
from facewright_export.detail_refinement.uv_people import (
    LN_LIGHT_LOW,
    LN_LIGHT_STEP,
    TRUTH_SIDE,
    UvPeople,
    UvSample,
)

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

#: No seed of training.
SEED: Final = 22
#: Luminance that relit faces have on average.
_RELIT: Final = 0.3
_LEAST: Final = 1e-3


class KnownAlbedos:
    """Measures the network on ``count`` people of one head model."""

    def __init__(self, head: HeadModel, count: int) -> None:
        self._samples = list(UvPeople(head, SEED).samples(0, count))
        weight = face_weight(head).numpy()[0, 0].astype(np.float64)
        self._weight = np.where(weight > 0.9, weight, 0.0) / weight[weight > 0.9].sum()
        self._network = OnnxEngine(asset_path("detail_refinement.onnx"))

    def row(self) -> dict[str, float]:
        """Mean ΔE of the albedo, also with the true mean tone, and of faces relit by the next person's light
        with it and without; the same of the photo over the coarse light's tone is not asked: see `prior`."""
        found: dict[str, list[float]] = {}
        for sample, other in zip(self._samples, [*self._samples[1:], self._samples[0]], strict=True):
            true = linear_from_srgb(sample.albedo.transpose(1, 2, 0))
            light = np.exp(other.light.transpose(1, 2, 0) * np.float32(LN_LIGHT_STEP) + LN_LIGHT_LOW)
            prior = linear_from_srgb(sample.prior_albedo.transpose(1, 2, 0))
            for name, albedo in (("", self._albedo(sample)), ("prior, ", prior)):
                tone = self._mean(np.log(true + _LEAST)) - self._mean(np.log(albedo + _LEAST))
                toned = albedo * np.exp(tone)
                exposed = light * (_RELIT / float(luminance(self._mean(true * light).astype(np.float32))))
                for what, value in (
                    ("albedo ΔE", self._apart(albedo, true)),
                    ("albedo ΔE, true tone", self._apart(toned, true)),
                    ("relit ΔE", self._apart(albedo * exposed, true * exposed)),
                    ("relit ΔE, true tone", self._apart(toned * exposed, true * exposed)),
                ):
                    found.setdefault(name + what, []).append(value)
        return {name: round(float(np.mean(values)), 2) for name, values in found.items()}

    def _albedo(self, sample: UvSample) -> npt.NDArray[np.float32]:
        """Linear [128, 128, 3]."""
        prior = Image.fromarray(sample.prior_albedo.transpose(1, 2, 0))
        larger = np.asarray(prior.resize((2 * TRUTH_SIDE, 2 * TRUTH_SIDE)))
        answer = self._network.run(
            {
                "UV_TEXTURE": sample.texture[None].astype(np.float32) / 255,
                "PRIOR_ALBEDO": larger.transpose(2, 0, 1)[None].astype(np.float32) / 255,
                "SH_LIGHT": sample.sh_light[None],
            }
        )
        coded = np.clip(np.asarray(answer["DETAILED_ALBEDO"])[0].transpose(1, 2, 0), 0, 1)
        linear = linear_from_srgb((coded * 255 + 0.5).astype(np.uint8))
        halved: npt.NDArray[np.float32] = linear.reshape(TRUTH_SIDE, 2, TRUTH_SIDE, 2, 3).mean(axis=(1, 3))
        return halved

    def _mean(self, values: npt.NDArray[np.floating]) -> F64:
        mean: F64 = np.einsum("hw,hwc->c", self._weight, values)
        return mean

    def _apart(self, one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> float:
        first, second = (lab_from_srgb(srgb_from_linear(own.astype(np.float32))) for own in (one, other))
        return float((np.linalg.norm(first - second, axis=-1) * self._weight).sum())
