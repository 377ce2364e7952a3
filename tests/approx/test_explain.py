"""`explain_kernels` names the kernel that really runs."""

import torch
from torch import nn

from approx import Assignment, Choice, Operands, explain_kernels, quantise
from approx.kernels import dispatch
from multipliers import Library, generate


def test_every_layer_is_explained() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32, 5),
    )
    images = torch.randn(4, 3, 4, 4)
    network = quantise(model.eval(), [images])
    library = Library([generate("mul8u_trunc6"), generate("mul8s_trunc4")])
    choices = {"0": Choice("mul8u_trunc6"), "2": Choice("mul8s_trunc4", Operands.SIGNED)}
    network.assign(Assignment(choices), library)
    before = network(images)
    first, depthwise, linear = explain_kernels(network, images)
    assert (first.layer, first.circuit, first.shape) == ("0", "mul8u_trunc6", "4 x 4 x 4 x 3 -> 8, 3 x 3")
    assert linear.circuit == "exact"
    assert depthwise.shape == "4 x 4 x 4 x 8 -> 8, 3 x 3"
    known = {path.kernel.__name__.rpartition(".")[2] for path in dispatch.PATHS}
    for row in (first, depthwise, linear):
        assert row.path in known and row.predicted_ms > 0
        assert row.measured_ms > 0 and row.float_ms > 0
    assert torch.equal(network(images), before)
