"""StyleGAN2's layers with their gradients written out, against autograd on the layers as they are."""

import pytest
import torch
from torch import Tensor, nn

from facewright_export.gradients.cheapest_cut import split_at_cheapest_cut
from facewright_export.gradients.joint_graph import trace_joint_graph
from facewright_export.gradients.styled_layers import with_lean_gradients
from facewright_export.networks.stylegan2 import GeneratorLayout, StyleGan2Synthesis


def _synthesis(noise: bool, clamp: float | None = None) -> nn.Module:
    torch.manual_seed(0)
    layout = GeneratorLayout(16, 6, largest_width=8, noise=noise, activation_clamp=clamp)
    network = StyleGan2Synthesis(layout).double().eval()
    for name, parameter in network.named_parameters():
        if name.endswith(("noise.weight", "bias")):
            nn.init.normal_(parameter)
    return network.requires_grad_(False)


def _with_gradient(network: nn.Module, codes: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    image, pull_back = torch.func.vjp(network, codes)
    return image, pull_back(grad)[0]


@pytest.mark.parametrize(("noise", "clamp"), [(False, None), (True, None), (False, 0.5)])
def test_values_and_gradient_are_the_same(noise: bool, clamp: float | None) -> None:
    network = _synthesis(noise, clamp)
    codes = torch.randn(3, 6, 512, dtype=torch.float64)
    grad = torch.randn(3, 6, 16, 16, dtype=torch.float64)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    lean = with_lean_gradients(network)
    found, expected = (_with_gradient(each, codes, grad) for each in (lean, network))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dict(network.state_dict()), before)


def test_the_backward_graph_writes_fewer_maps() -> None:
    network = _synthesis(noise=False).float()

    def maps_written(function: nn.Module) -> int:
        joint = trace_joint_graph(lambda w: (function(w),), [torch.zeros(2, 6, 512)], [0])
        backward = split_at_cheapest_cut(joint, ["W_PLUS"], 1).backward
        values = [node.meta.get("val") for node in backward.graph.nodes if node.op == "call_function"]
        return sum(isinstance(v, Tensor) and tuple(v.shape[1:]) == (8, 16, 16) for v in values)

    assert maps_written(with_lean_gradients(network)) < 0.75 * maps_written(network)
