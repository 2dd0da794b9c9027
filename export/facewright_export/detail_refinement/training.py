"""Training of the open ``detail_refinement`` on synthetic people, and its error on those kept back.

Losses, all in the metrics of eyes or in logarithms. The albedo's tone (its mean over the face) and its form
(what differs from that) are learnt apart, because one photo hardly tells the first: were they one loss, the
tone's large errors would drown brows and beards, and faces come out alike and grey. Beside them the gradient
(Yang et al. 2021, eq. 15, on the albedo instead of the render: it is known), ln of the light, left and right
alike in what is coarse (eq. 7), and the light's gain small where nothing speaks for it (eq. 4). Eqs. 8 and
10 to 12 tie the paper's albedo to that of a face model; here the truth does that.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from facewright.appearance.texel_layout import TexelPoints, padded_texel_map
from facewright.core.colour import LUMINANCE
from facewright.head.head_model import HeadModel
from facewright.pipelines.tensors import UV_MAP_SIZE
from facewright_export.detail_refinement.network import (
    MIRRORED_BANDS,
    Believed,
    OpenDetailRefinement,
    halved,
    linear_from_srgb,
)
from facewright_export.detail_refinement.uv_people import LN_LIGHT_LOW, LN_LIGHT_STEP

BATCH: Final = 8
#: Skin of this luminance and more is drawn so much more often: people are drawn evenly from black to white,
#: those who take photos of themselves are not.
_PALE: Final = (0.25, 3.0)
#: ln by which a photo may differ from albedo x light and is believed, and eq. 9's alpha, for the light.
_AGREES: Final = 0.35
_EDGES: Final = 80.0
#: Share of the priors that know the tone, and how well, ln: of luminance, and of red and blue beside it.
_KNOWING: Final = 0.4
_PRIOR_SIGMA: Final = (0.2, 0.05)


@dataclass(frozen=True)
class People:
    """Samples as the network reads them; bytes, [N, C, 128, 128], but for light, tone and gains.

    Attributes: those of `UvSample`; ``shown`` and ``seen`` are the texture's.
    """

    shown: Tensor
    seen: Tensor
    prior: Tensor
    sh_light: Tensor
    albedo: Tensor
    light: Tensor
    tone: Tensor

    def __len__(self) -> int:
        return len(self.tone)

    @classmethod
    def read(cls, files: list[Path], network: OpenDetailRefinement) -> People:
        """Those of files of `write_samples`."""
        parts: list[list[Tensor]] = []
        for path in files:
            with np.load(path) as file:
                texture = torch.from_numpy(file["texture"]).float() / 255
                shown, seen = network.reduced(texture, network.seen(texture))
                parts.append(
                    [
                        (shown * 255).round().byte(),
                        (seen * 255).round().byte(),
                        *(
                            torch.from_numpy(file[name])
                            for name in ("prior_albedo", "sh_light", "albedo", "light", "tone")
                        ),
                    ]
                )
        return cls(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _own_tone(prior: Tensor) -> Tensor:
    """[N, 3], of priors [N, 3, 128, 128], linear: on the nose's ridge they are plain skin."""
    middle = prior.shape[2] // 2
    return linear_from_srgb(prior[:, :, middle, middle]).clamp_min(0.004)


@dataclass(frozen=True)
class Known:
    """A batch's truth: ln of albedo and light [B, 3, 128, 128], how far albedo x light is the photo, 0-1,
    [B, 1, 128, 128]."""

    albedo: Tensor
    light: Tensor
    trust: Tensor


class Trainer:
    """Trains one network.

    Args:
        head: whose UV the people are in.
        network: to train, in place.
        people: to train on.
        seed: of the order, and of what is changed in them.
    """

    def __init__(self, head: HeadModel, network: OpenDetailRefinement, people: People, seed: int) -> None:
        self._network, self._people = network, people
        self.weight = face_weight(head)
        self._draw = torch.Generator().manual_seed(seed)
        bright = people.tone @ torch.from_numpy(LUMINANCE)
        self._chance = torch.where(bright > _PALE[0], _PALE[1], 1.0)

    def train(self, seconds: float, rate: float, say: Callable[[str], None]) -> int:
        """Steps until so many seconds of the processor are spent; how many."""
        network = self._network
        optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=0.02)
        began, step, mean = time.process_time(), 0, 0.0
        network.train()
        while (spent := (time.process_time() - began) / seconds) < 1.0:
            now = rate * min(1.0, 0.02 + 30 * spent) * (0.51 + 0.5 * float(np.cos(np.pi * spent)))
            for group in optimiser.param_groups:
                group["lr"] = now
            rows = torch.multinomial(self._chance, BATCH, generator=self._draw)
            loss = self._loss(rows)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            step += 1
            mean += (loss.item() - mean) * max(0.02, 1 / step)
            if step % 100 == 0:
                say(f"step {step}, {100 * spent:.0f} % of the time, loss {mean:.3f}")
        return step

    def _loss(self, rows: Tensor) -> Tensor:
        flipped = torch.rand(len(rows), generator=self._draw) < 0.5
        believed, known = run(self._network, self._people, rows, flipped, self._draw)
        weight, half = self.weight, halved(self.weight)
        truth = halved(known.albedo)
        loss = functional.binary_cross_entropy(believed.trust.clamp(0.001, 0.999), known.trust, weight) * 2
        for albedo, counts in ((halved(believed.albedo), 1.0), (halved(believed.painted), 0.4)):
            tone = masked_mean(truth - albedo, half)
            loss = loss + counts * apart(lab(albedo), lab(truth), half) / 10
            loss = loss + counts * apart(lab(albedo + tone), lab(truth), half) / 5
            for axis in (2, 3):
                steeper = (albedo - truth).diff(dim=axis).abs()
                loss = loss + counts * masked_mean(steeper, half.narrow(axis, 1, half.shape[axis] - 1)).mean()
        loss = loss + masked_mean((believed.light - known.light).abs(), weight).mean()
        for axis in (2, 3):
            even = torch.exp(-_EDGES * halved(known.light).diff(dim=axis).square())
            loss = loss + 0.5 * (even * believed.gain.diff(dim=axis).abs()).mean()
        coarse = functional.avg_pool2d(believed.albedo, 8)
        uneven = masked_mean((coarse - coarse.flip(3)).abs(), functional.avg_pool2d(weight, 8)).mean()
        return loss + 0.2 * uneven + 0.01 * (believed.gain * believed.gain).mean()


def run(
    network: OpenDetailRefinement,
    people: People,
    rows: Tensor,
    flipped: Tensor | None = None,
    draw: torch.Generator | None = None,
) -> tuple[Believed, Known]:
    """What the network believes of some people, and the truth; left for right where ``flipped``, with priors
    that know more where ``draw`` is given."""
    parts = (people.shown, people.seen, people.prior, people.albedo, people.light)
    planes = [part[rows].float() / 255 for part in parts]
    sh_light = people.sh_light[rows]
    if flipped is not None:
        planes = [torch.where(flipped[:, None, None, None], part.flip(3), part) for part in planes]
        mirrored = sh_light * torch.tensor(MIRRORED_BANDS)[:, None]
        sh_light = torch.where(flipped[:, None, None], mirrored, sh_light)
    shown, seen, prior, albedo, light = planes
    truth = linear_from_srgb(albedo).clamp_min(0.004).log()
    light = light * (255 * LN_LIGHT_STEP) + LN_LIGHT_LOW
    known = _known(truth, light, linear_from_srgb(shown).clamp_min(0.004).log(), seen)
    if draw is not None:
        prior = _knowing(prior, people.tone[rows], draw)
    return network.believe(shown, seen, prior, sh_light), known


def _known(albedo: Tensor, light: Tensor, shown: Tensor, seen: Tensor) -> Known:
    """The truth of one photo: its camera has exposure, white balance and a curve, so that light is brought to
    where albedo x light is what the photo shows in the middle, and what it shows is believed where they
    agree."""
    apart = shown - albedo - light
    where = (seen > 0.9) & (shown.amin(1, keepdim=True) > -4)
    middle = torch.where(where, apart, torch.nan).flatten(2).nanmedian(2).values.nan_to_num(0.0)
    apart = apart - middle[..., None, None]
    # At the edge of a brow a fit that is a millimetre off disagrees, and it is the brow all the same.
    grey = albedo.mean(1, keepdim=True)
    mean = functional.avg_pool2d(grey, 5, 1, 2, count_include_pad=False)
    edge = functional.avg_pool2d((grey - mean).square(), 5, 1, 2, count_include_pad=False).sqrt()
    trust = torch.exp(-((apart.abs().amax(1, keepdim=True) / (_AGREES + 2 * edge)) ** 2)) * seen
    return Known(albedo, light + middle[..., None, None], trust)


def _knowing(prior: Tensor, tone: Tensor, draw: torch.Generator) -> Tensor:
    """Some of the priors with about the true tone."""
    chosen = (torch.rand(len(prior), 1, generator=draw) < _KNOWING).float()
    own = _own_tone(prior)
    error = torch.randn(len(prior), 1, generator=draw) * _PRIOR_SIGMA[0]
    hue = torch.randn(len(prior), 3, generator=draw) * _PRIOR_SIGMA[1]
    factor = torch.exp(chosen * (tone.log() - own.log() + error + hue)) ** (1 / 2.2)
    return (prior * factor[..., None, None]).clamp(0.0, 1.0)


def face_weight(head: HeadModel) -> Tensor:
    """[1, 1, 128, 128]: what counts; the face 1, other skin less, what is not skin nothing."""
    points = TexelPoints(head, padded_texel_map(head, UV_MAP_SIZE))
    inside = np.clip(1.0 - 2.0 * head.region("mouth_inside"), 0.0, 1.0)
    face = np.clip(head.region("face") + head.region("forehead"), 0.0, 1.0)
    skin = np.zeros(head.vertex_count, np.float32)
    skin[np.unique(head.triangles[head.part_triangles("skin")])] = 1.0
    weight = points.interpolate(((0.15 + 0.85 * face) * inside * skin).astype(np.float32))
    return halved(torch.from_numpy(weight.reshape(1, 1, UV_MAP_SIZE, UV_MAP_SIZE)))


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted means [B, C, 1, 1]."""
    return (values * weight).sum((2, 3), keepdim=True) / (weight.sum((2, 3), keepdim=True) + 1e-6)


def apart(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Mean L1 distance of Lab maps [B, 3, H, W]."""
    return masked_mean((first - second).abs().sum(1, keepdim=True), weight).mean()


def delta_e(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """Mean CIE 1976 distance [B] of ln albedos."""
    distance = (lab(first) - lab(second)).square().sum(1, keepdim=True).sqrt()
    return masked_mean(distance, weight)[:, 0, 0, 0]


#: sRGB's linear light to CIE XYZ over the white point D65.
_TO_XYZ: Final = np.diag(1 / np.array([0.9505, 1.0, 1.089])) @ [
    [0.4124, 0.3576, 0.1805],
    [0.2126, 0.7152, 0.0722],
    [0.0193, 0.1192, 0.9505],
]


def lab(ln_linear: Tensor) -> Tensor:
    """CIE Lab (D65) of ln of linear RGB [B, 3, H, W]."""
    linear = ln_linear.clamp(-8.0, 0.5).exp()
    xyz = torch.einsum("ic,bchw->bihw", torch.from_numpy(_TO_XYZ).float(), linear)
    f = torch.where(xyz > 0.008856, xyz.clamp_min(0.008) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = f.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


@torch.no_grad()
def held_out(network: OpenDetailRefinement, people: People, head: HeadModel) -> dict[str, float]:
    """Errors on people not trained on: ΔE of the albedo; with the true mean tone; of the albedo that is
    painted alone; of the photo over the coarse light, as it was; ln of the light's form."""
    network.eval()
    weight = (face_weight(head) > 0.9).float()
    rows = torch.arange(len(people))
    found: dict[str, list[Tensor]] = {}

    def keep(name: str, value: Tensor) -> None:
        found.setdefault(name, []).append(value)

    for part in rows.split(16):
        believed, known = run(network, people, part)
        for name, albedo in (("delta_e", believed.albedo), ("painted_delta_e", believed.painted)):
            tone = masked_mean(known.albedo - albedo, weight)
            keep(name, delta_e(albedo, known.albedo, weight))
            keep(f"{name}_true_tone", delta_e(albedo + tone, known.albedo, weight))
        off = believed.light - known.light
        keep("ln_light", masked_mean(off.abs(), weight).mean((1, 2, 3)))
        keep("ln_light_form", masked_mean((off - masked_mean(off, weight)).abs(), weight).mean((1, 2, 3)))
        keep("trust", masked_mean(believed.trust, weight).mean((1, 2, 3)))
        keep("true_trust", masked_mean(known.trust, weight).mean((1, 2, 3)))
    return {name: round(float(torch.cat(values).mean()), 3) for name, values in found.items()}
