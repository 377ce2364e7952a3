"""The program computes exactly what the network computes: every operation, every coding, every circuit."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Assignment, Choice, Operands, QuantisedNetwork, capture, correct, layer_table, quantise
from deploy.build import build
from deploy.interpreter import run
from deploy.program_file import load_program, save_program
from multipliers import Library, Multiplier, default_library, generate


class Everything(nn.Module):
    """One of each operation that can be lowered."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4)
        self.dilated = nn.Conv2d(8, 8, (3, 1), padding=(2, 0), dilation=(2, 1))
        self.same = nn.Conv2d(20, 6, 4, padding="same")
        self.hidden, self.head = nn.Linear(6 * 4, 12), nn.Linear(12, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu6(self.norm(self.stem(x)))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        y = F.relu(self.grouped(x))
        z = self.dilated(y)
        y = F.relu(z) + z
        y = torch.cat([F.avg_pool2d(y, 3, 1, 1), shortcut], 1)
        y = F.adaptive_avg_pool2d(F.max_pool2d(self.same(y), 3, 1, 1), 2)
        return self.head(F.relu(self.hidden(y.flatten(1))))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(24, 2, 8, 8, generator=torch.Generator().manual_seed(0)) + 0.4


def calibrated(images: torch.Tensor) -> QuantisedNetwork:
    torch.manual_seed(3)
    model = Everything()
    with torch.no_grad():
        model.norm.running_var.uniform_(0.5, 2)
        model.norm.running_mean.normal_()
    return quantise(model, [images])


def assert_same_integers(network: QuantisedNetwork, images: torch.Tensor) -> None:
    program = build(network)
    codes = run(program, program.quantise_input(images.numpy()))
    with torch.no_grad():
        wanted = network(images).double() / network.quantizers["q_head"].scale  # type: ignore[operator]
    assert (codes == torch.round(wanted).numpy()).all()
    assert len(np.unique(codes)) > 20


def test_exact(images: torch.Tensor) -> None:
    assert_same_integers(calibrated(images), images)


@pytest.mark.parametrize("operands", list(Operands))
@pytest.mark.parametrize("swap", [False, True])
def test_approximate_and_corrected(images: torch.Tensor, operands: Operands, swap: bool) -> None:
    library = default_library()
    if operands.signed_circuit:
        name = min((m for m in library.values() if m.signed and not m.is_exact), key=lambda m: m.statistics().mae).name
    else:
        name = "mul8u_bam_h2v6"
    network = calibrated(images).assign(Assignment({"*": Choice(name, operands, swap)}), library)
    assert all(layer.table is not None for layer in network.layers().values())
    assert_same_integers(correct(network, images), images)


def test_a_circuit_whose_zero_is_not_zero(images: torch.Tensor) -> None:
    like = default_library()["mul8u_exact"]
    table = like.table + 7
    odd = Multiplier("odd", table.astype(np.int32), False, 8, 8, 1.0, 1.0, None, None, like.provenance)
    for operands in (Operands.SIGN_MAGNITUDE, Operands.AFFINE):
        network = calibrated(images).assign(Assignment({"*": Choice("odd", operands)}), {"odd": odd})
        assert_same_integers(network, images)


def test_a_channel_without_weights_deploys(images: torch.Tensor) -> None:
    """Its factor of requantisation is too small for a mantissa of 31 bits."""
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0.0, 0.0
    network = quantise(model, [images])
    program = build(network)
    with torch.no_grad():
        wanted = network(images).double() / network.quantizers["q_3"].scale
    assert (run(program, program.quantise_input(images.numpy())) == torch.round(wanted).numpy()).all()


def test_file_round_trip(images: torch.Tensor, tmp_path) -> None:
    library = default_library()
    program = build(calibrated(images).assign(Assignment({"*": Choice("mul8u_mitchell")}), library), "everything")
    save_program(program, tmp_path / "p.safetensors")
    again = load_program(tmp_path / "p.safetensors")
    codes = program.quantise_input(images.numpy())
    assert (run(again, codes) == run(program, codes)).all() and again.metadata["name"] == "everything"


def test_an_uncalibrated_network_is_refused(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="not calibrated"):
        build(capture(Everything(), images))


def test_wrong_image_size(images: torch.Tensor) -> None:
    program = build(calibrated(images))
    with pytest.raises(ValueError, match=r"\('N', 2, 8, 8\), got \(1, 2, 9, 9\)"):
        program.quantise_input(np.zeros((1, 2, 9, 9)))


def two_layers(bits: int = 8) -> QuantisedNetwork:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5))
    return quantise(model.eval(), [torch.randn(8, 2, 8, 8)], bits=bits)


def test_circuits_with_a_narrow_weight_operand_deploy(images: torch.Tensor) -> None:
    network = two_layers()
    network.assign(Assignment({"*": Choice("mul8x5u_trunc3")}), Library([generate("mul8x5u_trunc3")]))
    program = build(network)
    codes = run(program, program.quantise_input(images.numpy()))
    with torch.no_grad():
        wanted = network(images).double() / network.layers()["3"].output.scale
    assert (codes == torch.round(wanted).numpy()).all() and len(np.unique(codes)) > 20


def test_narrow_activations_and_circuits_by_channel_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="'@input' writes activations of 4 bits, programs hold 8"):
        build(two_layers(4))
    network = two_layers()
    tables = {n: layer_table(generate(n), Operands.SIGN_MAGNITUDE) for n in ("mul8u_trunc4", "mul8u_drum4")}
    network.layers()["0"].use_circuits(tables, Operands.SIGN_MAGNITUDE, [*tables] * 2)
    with pytest.raises(ValueError, match="'0' has circuits by output channel"):
        build(network)
