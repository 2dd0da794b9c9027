"""The open detail refinement: its arithmetic around the trained part, its training, the file that travels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from facewright.core.assets import asset_path
from facewright.engines.onnx_engine import OnnxEngine
from facewright.head.head_model import HeadModel
from facewright.texture.unwrap_texture import NOISE_MEAN, NOISE_SIGMA
from facewright_export.detail_refinement.network import (
    OpenDetailRefinement,
    halved,
    irradiance,
    linear_from_srgb,
    srgb_from_linear,
)
from facewright_export.detail_refinement.onnx_file import NETWORK_FILE
from facewright_export.detail_refinement.training import People, Trainer, held_out, run
from facewright_export.detail_refinement.uv_people import UvPeople, write_samples


@pytest.fixture(scope="module")
def network(open_head: HeadModel) -> OpenDetailRefinement:
    torch.manual_seed(0)
    return OpenDetailRefinement(open_head).eval()


def _smooth_light(strength: float = 0.6) -> torch.Tensor:
    light = torch.zeros(1, 9, 3)
    light[:, 0] = 3.0
    light[:, 3] = strength  # from the subject's left
    return light


def _noise(*shape: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return (NOISE_MEAN + NOISE_SIGMA * torch.randn(shape, generator=draw)).clamp(0, 1)


def test_noise_is_unseen_and_a_photo_is_seen(network: OpenDetailRefinement) -> None:
    texture = _noise(1, 3, 256, 256)
    rows = torch.linspace(0.2, 0.8, 256)
    texture[..., 64:192] = (rows[:, None] + 0.02 * torch.sin(rows[:, None] * 500)).expand(3, 256, 128)
    seen = network.seen(texture)[0, 0]
    assert seen[:, 70:186].min() > 0.95
    assert seen[:, :58].mean() < 0.02
    shown, share = network.reduced(texture, network.seen(texture))
    assert shown[..., :28].abs().max() < 1.0
    assert share[..., 36:92].min() > 0.95


@torch.no_grad()
def test_albedo_times_light_is_the_photo_where_it_is_believed(network: OpenDetailRefinement) -> None:
    """And the map of lights is the coarse light times what is gained, its bands those of CONVENTIONS.md."""
    light, texture = _smooth_light(), torch.full((1, 3, 256, 256), 0.5)
    prior = torch.full((1, 3, 256, 256), 0.6)
    believed = network.believe(halved(texture), torch.ones(1, 1, 128, 128), halved(prior), light)
    network.trust.bias.data.fill_(20.0)  # believes everything
    try:
        albedo, lights = network(texture, prior, light)
    finally:
        network.trust.bias.data.zero_()
    shade = (lights.reshape(1, 3, 9, 256, 256) * network.bands[:, None]).sum(2)
    skin = network.skin[0, 0] > 0
    photo = (linear_from_srgb(albedo) * shade)[0, :, skin]
    assert (photo - linear_from_srgb(torch.tensor(0.5))).abs().max() < 0.03
    assert torch.equal(albedo[0, :, ~skin], prior[0, :, ~skin])
    assert believed.gain.std() < 0.3


@torch.no_grad()
def test_light_from_behind_is_made_up_for_and_never_dark(network: OpenDetailRefinement) -> None:
    light = _smooth_light(9.0)
    assert (irradiance(light, network.bands) < 0).any()
    _, lights = network(torch.full((1, 3, 256, 256), 0.5), torch.full((1, 3, 256, 256), 0.5), light)
    shade = (lights.reshape(1, 3, 9, 256, 256) * network.bands[:, None]).sum(2)
    assert shade[0, :, network.skin[0, 0] > 0].min() > 0.03


def test_srgb_is_its_own_inverse() -> None:
    codes = torch.linspace(0, 1, 256)
    assert (srgb_from_linear(linear_from_srgb(codes)) - codes).abs().max() < 2e-3


def test_training_lowers_the_error_on_its_people(open_head: HeadModel, tmp_path: Path) -> None:
    file = tmp_path / "people.npz"
    write_samples(list(UvPeople(open_head, 5).samples(0, 8)), file)
    torch.manual_seed(0)
    network = OpenDetailRefinement(open_head)
    people = People.read([file], network)
    assert len(people) == 8
    before = held_out(network, people, open_head)
    said: list[str] = []
    assert Trainer(open_head, network, people, 1).train(1.5, 2e-3, said.append) >= 2
    after = held_out(network, people, open_head)
    assert after["painted_delta_e"] < before["painted_delta_e"] - 1
    believed, known = run(network, people, torch.arange(2))
    again, mirrored = run(network, people, torch.arange(2), torch.tensor([True, True]))
    assert torch.allclose(mirrored.albedo.flip(3), known.albedo)
    assert torch.isfinite(again.albedo).all()
    assert torch.isfinite(believed.light).all()
    # the truths are of the photos: over most of what is seen albedo x light is what they show
    assert known.trust.sum() > 0.4 * (people.seen[:2].float() / 255).sum()


def test_the_file_that_travels_is_small_and_says_where_it_is_from() -> None:
    assert NETWORK_FILE.stat().st_size < 8e6
    said = {entry.key: entry.value for entry in onnx.load(NETWORK_FILE).metadata_props}
    provenance = json.loads(said["provenance"])
    assert said["licence"] == "Apache-2.0 AND MIT"
    assert "facewright_export.detail_refinement" in provenance["command"]
    assert provenance["held_out"]["delta_e_true_tone"] < 4


def test_its_answer_to_a_photo_without_a_face_is_finite_and_complete() -> None:
    network = OnnxEngine(asset_path("detail_refinement.onnx"))
    noise = _noise(2, 3, 256, 256).numpy()
    prior = np.full((2, 3, 256, 256), 0.6, np.float32)
    light = np.repeat(_smooth_light().numpy(), 2, axis=0)
    answer = network.run({"UV_TEXTURE": noise, "PRIOR_ALBEDO": prior, "SH_LIGHT": light})
    albedo, lights = (np.asarray(answer[name]) for name in ("DETAILED_ALBEDO", "SH_LIGHT_MAP"))
    # each of the three counts: an export that takes one image for two would not see it
    for name, other in (("UV_TEXTURE", prior), ("PRIOR_ALBEDO", 0.8 * prior), ("SH_LIGHT", 0.5 * light)):
        given = {"UV_TEXTURE": noise, "PRIOR_ALBEDO": prior, "SH_LIGHT": light} | {name: other}
        assert np.abs(np.asarray(network.run(given)["DETAILED_ALBEDO"]) - albedo).max() > 0.01, name
    assert albedo.shape == (2, 3, 256, 256)
    assert lights.shape == (2, 27, 256, 256)
    assert np.isfinite(lights).all()
    # nothing of the noise is taken for skin
    rough = np.abs(np.diff(albedo, axis=3)).mean()
    assert rough < 0.02
