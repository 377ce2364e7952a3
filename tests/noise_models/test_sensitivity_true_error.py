"""Exact-error and Hessian-vector sensitivity: against sums by hand, against each other, against what is measured."""

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, Assignment, Choice, Operands, correct, layer_table, quantise
from multipliers import Library, Multiplier, Provenance
from noise_models.divergence import DivergenceMeter, MeasuredDivergence
from noise_models.sensitivity import ExactError, HessianVector
from noise_models.sensitivity.layer_errors import LayerErrors
from noise_models.sensitivity.recording import record

TRUNCATED = Choice("mul8u_trunc10", Operands.SIGN_MAGNITUDE)


def test_the_error_is_the_tables_summed_and_corrected(small: Any, few_circuits: Library) -> None:
    """Convolution "2" unfolded by hand: Σ T[w, x] - w x, then the gain and bias that restore mean and std."""
    layer = small.network.layers()["2"]
    for choice in (TRUNCATED, Choice("mul8u_drum5", Operands.AFFINE, True), Choice("mul8u_bam_h2v6", swap=True)):
        records, count = record(small.network, small.images)
        assert count == 96
        error = torch.cat(LayerErrors(small.network, few_circuits).of("2", choice, records["2"])).double()
        table = layer_table(few_circuits[choice.multiplier], choice.operands, choice.swap)
        values, scale, zero = small.traces["2"].weight_values(choice.operands)
        codes = torch.cat([codes for (codes,) in records["2"].codes]).permute(0, 3, 1, 2)
        patches = F.unfold(codes.float(), 3, stride=2).long().transpose(1, 2).numpy()  # [N, positions, K]
        products = table.values[(values + table.offset)[None, None], patches[:, :, None]].sum(3, dtype=np.int64)
        centred = (patches - int(layer.sources[0].zero_point))[:, :, None]
        exact = (centred * (values - zero[:, None])[None, None]).sum(3)
        wrong = products - (patches[:, :, None] * values[None, None].astype(np.int64)).sum(3)
        y = exact * scale * float(layer.sources[0].scale)
        y_wrong = (exact + wrong) * scale * float(layer.sources[0].scale)
        gain = y.std((0, 1)) / y_wrong.std((0, 1))
        expected = gain * (y_wrong - y_wrong.mean((0, 1))) + y.mean((0, 1)) - y
        np.testing.assert_allclose(error.flatten(2).transpose(1, 2), expected, atol=2e-6)


def test_exact_error_sums_over_the_whole_image(small: Any, few_circuits: Library) -> None:
    judge = ExactError(small.network, few_circuits, small.batches, temperature=1.0)
    errors = torch.cat(judge.errors.of("2", TRUNCATED, judge.records["2"]))
    network = small.network
    layer = network.layers()["2"]
    rises = []
    labels = torch.cat([labels for _, labels in small.batches])
    for image, label, error in zip(torch.cat(small.images), labels, errors, strict=True):
        step = torch.zeros((), requires_grad=True)
        layer.perturb = lambda y, error=error, step=step: y + step * error
        with network.using(Arithmetic.FAKE):
            loss = F.cross_entropy(network(image[None]), label[None])
        rises.append(float(torch.autograd.grad(loss, step)[0]))
        layer.perturb = None
    np.testing.assert_allclose(judge.rises("2", TRUNCATED), rises, rtol=1e-3, atol=1e-6)
    assert judge.of("2", TRUNCATED) == pytest.approx(0.5 * np.mean(np.square(rises)), rel=1e-4)


def _lstm() -> nn.Module:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(self.lstm(x)[0][:, -1])

    return Net()


@pytest.mark.parametrize("kind", ["convolution", "recurrent"])
def test_hessian_is_the_expectation_over_labels(kind: str, small: Any, few_circuits: Library) -> None:
    """1/2 d^T H d = Σ_labels p(label) 1/2 (g . d)^2, image by image."""
    network, images = small.network, small.images
    if kind == "recurrent":
        images = list(torch.randn(40, 7, 5).split(20))
        network = quantise(_lstm(), images)
    with torch.no_grad(), network.using(Arithmetic.FAKE):
        chances = F.softmax(torch.cat([network(x) for x in images]) / 1.5, 1).double()
    for name in network.layers():
        hessian = HessianVector(network, few_circuits, images, 1.5).of(name, TRUNCATED)
        rises = torch.stack(
            [
                ExactError(network, few_circuits, [(x, torch.full((len(x),), label)) for x in images], 1.5).rises(
                    name, TRUNCATED
                )
                for label in range(chances.shape[1])
            ],
            1,
        )
        assert hessian == pytest.approx(float(0.5 * (chances * rises**2).sum(1).mean()), rel=1e-3)
        assert hessian > 0


def test_both_foretell_what_is_measured(small: Any, few_circuits: Library) -> None:
    """In the last layer nothing but the softmax lies between error and divergence."""
    images = torch.cat(small.images)
    meter = MeasuredDivergence(DivergenceMeter(small.network, few_circuits, [images], images))
    hessian = HessianVector(small.network, few_circuits, small.images, 1.0)
    sampled = ExactError(small.network, few_circuits, [images] * 20, 1.0)
    for choice in (TRUNCATED, Choice("mul8u_bam_h2v6")):
        measured = meter.of("5", choice)
        assert hessian.of("5", choice) == pytest.approx(measured, rel=0.05)
        assert sampled.of("5", choice) == pytest.approx(measured, rel=0.25)


def test_what_correction_removes_does_not_count(small: Any, few_circuits: Library) -> None:
    products = np.multiply.outer(np.arange(256), np.arange(256))
    made_up = Provenance("test", "none", "made up", 0.0)
    shifted = Multiplier("shifted", products + 200, False, 8, 8, 1.0, 1.0, None, None, made_up)
    judge = ExactError(small.network, {**few_circuits, "shifted": shifted}, small.images)
    for name in judge.records:
        assert judge.of(name, Choice("shifted", Operands.AFFINE)) < 1e-9 < judge.of(name, TRUNCATED)
        for operands in Operands:
            exact = "mul8s_exact" if operands.signed_circuit else "mul8u_exact"
            assert judge.of(name, Choice(exact, operands)) == 0
    sequences = [torch.randn(40, 7, 5)]
    recurrent = ExactError(quantise(_lstm(), sequences), {"shifted": shifted}, sequences)  # not corrected inside
    rises = [recurrent.of(name, Choice("shifted", Operands.AFFINE)) for name in recurrent.records]
    assert min(rises[:2]) > 1e-7 and rises[2] < 1e-9


def test_refinements_repeat_and_leave_the_network_alone(small: Any, few_circuits: Library) -> None:
    network = small.network
    before = copy.deepcopy(network.state_dict())
    judges = [ExactError(network, few_circuits, small.images) for _ in range(2)]
    judges += [HessianVector(network, few_circuits, small.images) for _ in range(2)]  # type: ignore[misc]
    first, again, hessian, once_more = (
        [judge.of(name, choice) for name in network.layers() for choice in (TRUNCATED, Choice("mul8u_drum5"))]
        for judge in judges
    )
    assert first == again and hessian == once_more
    backwards = [judges[0].of(name, TRUNCATED) for name in reversed(network.layers())]
    assert backwards == first[::2][::-1]  # what was asked for before does not matter
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    for layer in network.layers().values():
        assert layer.perturb is None and layer.table is None and layer.weight.requires_grad
        assert not layer._forward_pre_hooks
    assert not network._forward_pre_hooks


def test_bad_input_is_refused(small: Any, few_circuits: Library) -> None:
    network, images = small.network, small.images
    for kind in (ExactError, HessianVector):
        judge = kind(network, few_circuits, images)
        with pytest.raises(ValueError, match="no layer 'conv9'"):
            judge.of("conv9", TRUNCATED)
        with pytest.raises(ValueError, match="'nope'"):
            judge.of("2", Choice("nope"))
        with pytest.raises(ValueError, match="unsigned"):
            judge.of("2", Choice("mul8s_exact", Operands.AFFINE))
        with pytest.raises(ValueError, match="yielded nothing"):
            kind(network, few_circuits, [])
        with pytest.raises(ValueError, match="32 of 32 images of batch 1 hold NaN"):
            kind(network, few_circuits, [images[0] * math.nan])
        with pytest.raises(ValueError, match="temperature"):
            kind(network, few_circuits, images, temperature=-1.0)
        assert not network._forward_pre_hooks
    corrected = copy.deepcopy(network).assign(Assignment({"2": TRUNCATED}), few_circuits)
    with pytest.raises(ValueError, match=r"\['2'\] are corrected already"):
        ExactError(correct(corrected, images[0]), few_circuits, images)
    with pytest.raises(ValueError, match="labels must lie in"):
        ExactError(network, few_circuits, [(images[0], torch.full((32,), 9))])


def test_the_meter_measures_the_corrected_network(small: Any, few_circuits: Library) -> None:
    images = torch.cat(small.images)
    network = small.network
    meter = DivergenceMeter(network, few_circuits, small.batches, images, temperature=2.0)
    assignment = Assignment({"0": TRUNCATED, "5": Choice("mul8u_drum5")})
    approximate = correct(copy.deepcopy(network).assign(assignment, few_circuits), images)
    with torch.no_grad():
        exact, scores = (F.softmax(net(images).double() / 2, 1) for net in (network, approximate))
    expected = float((exact * (exact / scores).log()).sum(1).mean())
    assert expected > 1e-5
    assert meter.of(assignment) == pytest.approx(expected, rel=1e-9)
    assert meter.of(Assignment()) == 0
    assert meter.of(assignment) == meter.of(assignment)
    for match, batches in (("yielded nothing", []), ("hold NaN", [images * math.nan]), ("no images", [images[:0]])):
        with pytest.raises(ValueError, match=match):
            DivergenceMeter(network, few_circuits, batches, images)
    with pytest.raises(ValueError, match="temperature"):
        DivergenceMeter(network, few_circuits, [images], images, temperature=0)
