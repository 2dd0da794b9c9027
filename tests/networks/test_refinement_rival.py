"""What `benchmarks.refinement` compares with: traced graphs run by torch, and autograd on the same task."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.refinement.autograd_rival import AutogradRival, checked_rival
from benchmarks.refinement.measure import iteration_cost, make_step
from benchmarks.refinement.problem import Problem, make_problem
from benchmarks.refinement.torch_networks import TorchNetworks, as_graphs, graph_on, open_networks
from facewright.refine.device import RefinementDevice
from facewright.refine.loop import refine
from facewright_export.gradients.joint_graph import trace_losses_with_gradient
from facewright_export.gradients.refinement_functions import PerceptualLoss
from facewright_export.open_normalized.perceptual import OpenPerceptual

CPU = RefinementDevice.cpu()


@pytest.fixture(scope="module")
def networks() -> TorchNetworks:
    return open_networks()


@pytest.fixture(scope="module")
def problem(networks: TorchNetworks) -> Problem:
    return make_problem(as_graphs(networks, CPU), CPU, 2)


def test_graphs_run_by_torch_are_engines_of_the_loop(problem: Problem) -> None:
    results = refine(make_step(problem, 5, latent_weight=0.0, warm_up=0.0))
    for result in results:
        assert result.losses.shape == (5, 4)
        assert result.losses[:, 0].min() < 0.95 * result.losses[0, 0]


@pytest.mark.parametrize("precision", [torch.float32, torch.float16])
def test_graphs_compute_on_the_device_they_are_moved_to(precision: torch.dtype) -> None:
    loss = PerceptualLoss(OpenPerceptual(), precision)
    image = torch.zeros(2, 3, 64, 64)
    traced = trace_losses_with_gradient(loss, [image, *loss.targets(image)], 0)
    on_meta = graph_on(traced, "meta")
    inputs = [
        torch.zeros(
            3, *(int(n) for n in node.meta["val"].shape[1:]), dtype=node.meta["val"].dtype, device="meta"
        )
        for node in traced.graph.find_nodes(op="placeholder")
    ]
    values, gradient = on_meta(*inputs)
    assert (values.device.type, gradient.device.type) == ("meta", "meta")
    assert gradient.shape == (3, 3, 64, 64)


def test_autograd_gives_the_same_loss_and_gradient(problem: Problem, networks: TorchNetworks) -> None:
    rival, cosine = checked_rival(networks, problem, "fp32")  # asserts equal losses itself
    assert cosine > 0.9999
    cost = iteration_cost(problem, 1, rival.step)
    assert cost["rival"].keys() < cost.keys()


def test_autograd_takes_the_same_steps(problem: Problem, networks: TorchNetworks) -> None:
    step = make_step(problem, 3, warm_up=0.0, ramp_down=0.0)
    rival = AutogradRival(networks, problem, step.options)
    ours, theirs = [], []
    for _ in range(3):
        step.step()
        ours.append(step.losses[:, 0])
        theirs.append(rival.step().numpy())
    np.testing.assert_allclose(np.array(ours), np.array(theirs), rtol=5e-3)
