"""The AGN search: equations on a network small enough to follow by hand, batch normalisation live."""

import copy
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from noise_models.agn import AgnSearch, AgnSettings, learn_tolerance

Case = Any  # `Normalised` of conftest.py
NAMES = ["0", "3", "7"]


def test_gradient_of_sigma_is_the_papers(normalised: Case) -> None:
    """dL/dsigma_l = Σ g eps std(y) - lambda c_l sign(sigma_l) 1[|sigma_l| < sigma_max]."""
    model, traces, batches = normalised
    search = AgnSearch(model, traces, AgnSettings(strength=0.3, sigma_max=0.2))
    search.parameter.data = torch.tensor([0.1, -0.05, 0.4])
    add, seen = search.network.perturb, []
    assert add is not None

    def spy(index: int, y: torch.Tensor) -> torch.Tensor:
        noisy = add(index, y)
        noisy.retain_grad()
        seen.append((y, noisy))
        return noisy

    search.network.perturb = spy
    images, labels = batches[0]
    search.network.train()
    loss, cross_entropy = search.loss(search.network(images), labels)
    loss.backward()
    random = torch.Generator().manual_seed(0)
    macs = torch.tensor([float(t.macs) for t in traces.values()])
    shares, gradient = macs / macs.sum(), search.parameter.grad
    assert gradient is not None
    for index, ((y, noisy), sign, counts) in enumerate(zip(seen, (1, -1, 1), (1, 1, 0), strict=True)):
        eps = torch.randn(y.shape, generator=random)
        sigma = search.sigma[index].detach()
        torch.testing.assert_close(noisy.detach(), (y + eps * y.std() * sigma).detach())
        assert noisy.grad is not None
        expected = (noisy.grad * eps * y.std()).sum() - 0.3 * shares[index] * sign * counts
        torch.testing.assert_close(gradient[index], expected.detach(), rtol=1e-4, atol=1e-6)
    earned = (shares * torch.tensor([0.1, 0.05, 0.2])).sum()
    torch.testing.assert_close(loss, cross_entropy - 0.3 * earned)


def test_gradient_flows_through_the_std_and_validation_is_without_noise(normalised: Case) -> None:
    model, traces, batches = normalised
    search = AgnSearch(model, traces, AgnSettings(sigma_init=0.3))
    add = search.network.train().perturb
    assert add is not None
    y = torch.randn(5, 4, 3, 3, requires_grad=True)
    weight = torch.randn(5, 4, 3, 3)
    (weight * add(0, y)).sum().backward()
    eps = torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    spread = (y - y.mean()) / ((y.numel() - 1) * y.std())
    torch.testing.assert_close(y.grad, (weight + 0.3 * (weight * eps).sum() * spread).detach())
    search.network.eval()
    assert add(0, y) is y
    assert torch.equal(search.network(batches[0][0]), search.network(batches[0][0]))


def test_search_leaves_the_model_alone_and_learns(normalised: Case) -> None:
    model, traces, batches = normalised
    before = copy.deepcopy(model.state_dict())
    steps: list[tuple[int, int]] = []
    settings = AgnSettings(epochs=8, strength=0.5)  # the published learning rate, on a network that was never trained
    result = learn_tolerance(model, batches, traces, settings, progress=lambda d, t, _: steps.append((d, t)))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items()) and not model.training
    assert steps == [(i, 24) for i in range(1, 25)]
    assert len(result.history) == 8
    assert result.history[-1].cross_entropy < 0.5 * result.history[0].cross_entropy
    assert result.tolerance.method == "agn" and result.tolerance.parameters["strength"] == 0.5
    assert list(result.tolerance.layers) == NAMES
    assert not result.model.training
    trained = result.model.state_dict()
    assert all(not torch.equal(trained[key], before[key]) for key in ("0.weight", "3.weight", "1.running_mean"))
    with torch.no_grad():
        right = [sum(int((m(x).argmax(1) == y).sum()) for x, y in batches) for m in (model, result.model)]
    assert right[1] > 1.5 * right[0]  # the trained copy is the user's own kind of network


def test_tolerance_is_sigma_of_every_layer(normalised: Case) -> None:
    model, traces, batches = normalised
    search = AgnSearch(model, traces, AgnSettings(strength=0.0, learning_rate=0.5, sigma_init=1e-3, decay_every=0))
    found = []
    for _ in range(3):
        search.run_epoch(batches)
        found.append(search.sigma.detach().clone())
    assert (torch.stack(found) < 0).any(), "sigma may cross zero"
    sigma, tolerance = found[-1].abs(), search.tolerance()
    assert tolerance["7"].relative == pytest.approx([float(sigma[2])] * 3)
    assert tolerance["7"].absolute == pytest.approx([float(sigma[2]) * traces["7"].accumulator_std] * 3)
    for index, name in enumerate(NAMES):
        whole = search.folding[name].tolerance(1.0)
        finite = tolerance[name].absolute[whole.absolute < math.inf]
        assert finite == pytest.approx(float(sigma[index]) * whole.absolute[whole.absolute < math.inf])


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_resumed_search_is_the_same_search(normalised: Case, momentum: float) -> None:
    model, traces, batches = normalised
    settings = AgnSettings(epochs=3, learning_rate=0.02, momentum=momentum, decay_every=2, weight_decay=1e-3)
    states: list[dict[str, torch.Tensor]] = []
    whole = learn_tolerance(model, batches, traces, settings, save=states.append)
    assert len(states) == 3 and all(isinstance(v, torch.Tensor) for v in states[0].values())
    for state in states[:2]:
        resumed = learn_tolerance(model, batches, traces, settings, state=state)
        assert resumed.history == whole.history
        assert resumed.tolerance.to_json() == whole.tolerance.to_json()
        a, b = resumed.model.state_dict(), whole.model.state_dict()
        assert all(torch.equal(a[key], b[key]) for key in b)
    other = learn_tolerance(model, batches, traces, AgnSettings(**{**vars(settings), "seed": 1}))
    assert other.tolerance.to_json() != whole.tolerance.to_json()
    with pytest.raises(ValueError, match="no state of an AGN search over the 3 layers"):
        learn_tolerance(model, batches, traces, settings, state={"parameter": torch.zeros(7)})


def test_a_resumed_search_drops_out_the_same_activations(normalised: Case) -> None:
    model, traces, batches = normalised
    model, settings = copy.deepcopy(model), AgnSettings(epochs=2, learning_rate=0.02)
    model[5] = nn.Sequential(model[5], nn.Dropout(0.5))
    states: list[dict[str, torch.Tensor]] = []
    torch.manual_seed(0)
    whole = learn_tolerance(model, batches, traces, settings, save=states.append)
    torch.manual_seed(0)  # as a stage begins, interrupted before or not
    resumed = learn_tolerance(model, batches, traces, settings, state=states[0])
    assert resumed.history == whole.history
    assert resumed.tolerance.to_json() == whole.tolerance.to_json()


def test_the_learning_rate_falls_in_steps_and_decay_spares_sigma(normalised: Case) -> None:
    model, traces, batches = normalised
    settings = AgnSettings(epochs=5, learning_rate=0.4, decay_every=2, weight_decay=0.1)
    assert [settings.decay(e) for e in range(5)] == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert AgnSettings(decay_every=0).decay(99) == 1
    search = AgnSearch(model, traces, settings)
    groups = [group for o in search.optimisers.values() for group in o.param_groups]
    assert [group["weight_decay"] for group in groups] == [0.1, 0, 0]
    for _ in range(3):
        search.run_epoch(batches[:1])
    assert [group["lr"] for group in groups] == pytest.approx([0.04, 0.04, 0.04])


def test_search_refuses_bad_data(normalised: Case) -> None:
    model, traces, batches = normalised
    images, labels = batches[0]

    def learn(data: Any) -> None:
        learn_tolerance(model, data, traces, AgnSettings(epochs=2))

    with pytest.raises(ValueError, match="yielded nothing in epoch 1"):
        learn([])
    with pytest.raises(ValueError, match="yielded nothing in epoch 2"):
        learn(iter(batches))
    with pytest.raises(ValueError, match=r"0\.\.2.*got 0\.\.3"):
        learn([(images, torch.tensor([3] + [0] * 31))])
    with pytest.raises(ValueError, match="one label per image, 32"):
        learn([(images, labels[:5])])
    with pytest.raises(ValueError, match="loss is nan in epoch 1, step 1"):
        learn([(images * math.nan, labels)])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs=0 .expected > 0"),
        ({"strength": -1.0}, "strength=-1.0 .expected >= 0"),
        ({"learning_rate": math.inf}, "learning_rate=inf"),
        ({"sigma_init": math.nan}, "sigma_init=nan"),
        ({"sigma_init": 0.6}, "sigma_init=0.6 .expected <= sigma_max 0.5"),
    ],
)
def test_settings_refuse_impossible_values(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AgnSettings(**wrong)


def test_cross_entropy_is_that_of_the_labels(normalised: Case) -> None:
    model, traces, batches = normalised
    search = AgnSearch(model, traces, AgnSettings(strength=0.0))
    scores = torch.randn(32, 3)
    loss, cross_entropy = search.loss(scores, batches[0][1])
    torch.testing.assert_close(loss, F.cross_entropy(scores, batches[0][1]))
    assert torch.equal(loss, cross_entropy)
