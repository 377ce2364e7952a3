"""The verbs on a user's own module and DataLoader, each alone."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import picojoule
from approx import Assignment, Choice, Operands, Recipe, accuracy
from multipliers import default_library
from picojoule.arguments import circuits_of


class Own(nn.Module):
    """A little network with a depthwise layer, in training mode as users leave it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.ReLU())
        self.point = nn.Conv2d(8, 12, 1)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(12, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.point(self.depth(self.stem(x)))))


@pytest.fixture
def loader() -> DataLoader:
    images = torch.randn(96, 3, 12, 12)
    labels = (images[:, :1].mean((1, 2, 3)) > 0).long() + 2 * (images[:, 1:].mean((1, 2, 3)) > 0).long()
    return DataLoader(TensorDataset(images, labels), batch_size=32)


@pytest.fixture
def model() -> nn.Module:
    return Own().train()


def test_select_approximate_retrain_compile_energy(model: nn.Module, loader: DataLoader, tmp_path: Path) -> None:
    front = picojoule.select(model, loader)
    point = front.best(energy=0.6)
    network = picojoule.approximate(model, point.assignment, loader)
    before = [p.detach().clone() for p in network.parameters()]
    picojoule.retrain(network, loader, Recipe(epochs=1, learning_rate=1e-2), teacher=model)
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    report = picojoule.energy(model, point.assignment, (3, 12, 12))
    assert 0.3 < report.saved_multiplication < 1
    assert report.saved_multiplication == pytest.approx(
        picojoule.energy(network, point.assignment).saved_multiplication
    )
    assert picojoule.compile(network, "x86-64", tmp_path / "build").passed
    assert model.training


def test_retrain_with_the_tables_own_differences(model: nn.Module, loader: DataLoader) -> None:
    assignment, weights = Assignment({"*": Choice("mul8u_trunc6")}), {}
    for gradient in ("line", "straight", 0, 8):
        network = picojoule.approximate(model, assignment, loader)
        picojoule.retrain(network, loader, Recipe(epochs=1, learning_rate=1e-2), gradient=gradient)
        weights[gradient] = network.layers()["point"].weight.detach()
        assert (network.layers()["stem.0"].layer_circuit.derivatives is None) == isinstance(gradient, str)
    assert len({float(w.sum()) for w in weights.values()}) == 4
    with pytest.raises(ValueError, match=r"half_window: expected 0\.\.125, got 126"):
        picojoule.retrain(network, loader, gradient=126)


def test_trace_sees_every_layer(model: nn.Module, loader: DataLoader) -> None:
    assert list(picojoule.trace(model, loader)) == ["stem.0", "depth.0", "point", "head.3"]


def test_prune_then_approximate(model: nn.Module, loader: DataLoader) -> None:
    result = picojoule.prune(model, torch.zeros(1, 3, 12, 12), macs=0.7, criterion="magnitude")
    assert result.macs_after <= 0.7 * result.macs_before and result.max_difference < 1e-9
    assignment = Assignment({"point": Choice("mul8u_drum4", Operands.SIGN_MAGNITUDE_9)})
    network = picojoule.approximate(result.model, assignment, loader)
    assert network(torch.randn(2, 3, 12, 12)).shape == (2, 4)


def test_approximate_leaves_what_it_is_given(model: nn.Module, loader: DataLoader) -> None:
    exact = picojoule.quantise(model, loader)
    state = {k: v.clone() for k, v in exact.state_dict().items()}
    picojoule.approximate(exact, Assignment({"*": Choice("mul8u_mitchell")}), loader)
    assert all(torch.equal(v, state[k]) for k, v in exact.state_dict().items())
    assert all(layer.table is None for layer in exact.layers().values())


def test_a_loader_of_dictionaries_is_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match=r"must yield images or \(images, labels, ...\), got dict"):
        picojoule.quantise(model, [{"image": torch.zeros(1, 3, 12, 12)}])


def test_energy_of_a_float_model_needs_its_image_size(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="input_shape"):
        picojoule.energy(model, Assignment())


def test_a_verb_that_does_not_exist() -> None:
    with pytest.raises(AttributeError, match="the verbs are approximate, compile"):
        picojoule.quantize  # noqa: B018


def test_loaders_that_do_not_fit_are_refused_by_what_they_lack(model: nn.Module, loader: DataLoader) -> None:
    network = picojoule.approximate(model, Assignment({"*": Choice("mul8u_trunc4")}), loader)
    batches = list(loader)
    with pytest.raises(ValueError, match="batch without images, of shape"):
        picojoule.select(model, [batches[0][0][:0]])
    with pytest.raises(ValueError, match=r"must yield \(images, labels\) here, got Tensor"):
        picojoule.retrain(network, [batches[0][0][:2]])
    with pytest.raises(ValueError, match="yielded nothing in epoch 2; give one that can be iterated again"):
        picojoule.retrain(network, iter(batches), Recipe(epochs=2))
    with pytest.raises(ValueError, match=r"must yield \(images, labels\) here, got list of 1"):
        accuracy(network, [[batches[0][0]]])
    with pytest.raises(ValueError, match=r"labels must lie in 0..3"):
        accuracy(network, [(batches[0][0], batches[0][1] + 9)])


def test_a_float_network_is_neither_retrained_nor_compiled(
    model: nn.Module, loader: DataLoader, tmp_path: Path
) -> None:
    for wrong in (lambda: picojoule.retrain(model, loader), lambda: picojoule.compile(model, "cortex-m4", tmp_path)):
        with pytest.raises(ValueError, match=r"expected a network from picojoule.approximate .*, got Own"):
            wrong()


def test_a_library_without_circuits_is_not_replaced_by_the_default(model: nn.Module, loader: DataLoader) -> None:
    with pytest.raises(ValueError, match="circuit"):
        picojoule.select(model, loader, library={})


def test_arguments_of_a_wrong_kind_are_named(model: nn.Module, loader: DataLoader) -> None:
    with pytest.raises(TypeError, match=r"expected limits, such as noise_models.Limits\(.*, got dict"):
        picojoule.select(model, loader, limits={"energy": 0.5})
    for library in (7, ["mul8u_drum4"]):
        with pytest.raises(TypeError, match="expected circuits by name or a library's name, such as .*, got "):
            picojoule.select(model, loader, library=library)
    with pytest.raises(ValueError, match="library 'nowhere': expected"):
        picojoule.select(model, loader, library="nowhere")
    with pytest.raises(ValueError, match="expected operands among .*'affine'.*, got 'ternary'"):
        picojoule.select(model, loader, operands="ternary")
    for verb in (lambda a: picojoule.approximate(model, a, loader), lambda a: picojoule.energy(model, a, (3, 8, 8))):
        with pytest.raises(TypeError, match="expected an assignment, such as Assignment.load"):
            verb({"0": "mul8u_drum4"})
    with pytest.raises(TypeError, match=r"bits: expected a whole number 2\.\.8"):
        picojoule.quantise(model, loader, bits=3.5)


def test_a_library_by_name_and_one_coding(model: nn.Module, loader: DataLoader, tmp_path: Path) -> None:
    default_library().save(tmp_path / "own.npz")
    for library in (tmp_path / "own.npz", str(tmp_path / "own.npz")):
        assert set(circuits_of(library)) == set(default_library())
    front = picojoule.select(model, loader, library="default", operands="affine")
    assert {choice.operands for point in front for choice in point.assignment.layers.values()} == {Operands.AFFINE}
    assert len(front) > 3
