"""Causal: golden values, responses against the layers themselves, masks, noise (structured_pruning §1)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import criterion, find_groups, prune, trace
from pruning.criteria import Causal, causal
from pruning.criteria.information import gaussian_information
from pruning.testing import CriterionSuite, randomise


class TestCausal(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Causal(samples=200)


class TestCausalHistogram(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Causal(bounds=(-1.0, 2.0), estimator="histogram", samples=200)


class TestCausalMasks(CriterionSuite):
    @pytest.fixture
    def criterion(self):
        return Causal(samples=200, ratio=0.5)


def grouping_of(model, *shape):
    return find_groups(trace(model.double().eval(), torch.randn(2, *shape).double()))


def score(model, *shape, **options):
    return Causal(**options).score(grouping_of(model, *shape), None, None)


def chain(*weights):
    layers = [nn.Linear(len(w[0]), len(w), bias=False) for w in weights]
    for layer, weight in zip(layers, weights, strict=True):
        layer.weight.data = torch.tensor(weight)
    return nn.Sequential(*layers)


@pytest.mark.parametrize("bounds", [None, (-1.0, 3.0)])
def test_golden_values(bounds):
    """z = x₁ + 2x₂ + .5x₃ + N(0, .1), the noise being a fourth unit's response; ρ² needs second moments only."""
    model = chain(torch.eye(4).tolist(), [[1.0, 2.0, 0.5, 0.1**0.5]])
    found = score(model, 4, bounds=bounds, samples=40_000)["0"]
    torch.testing.assert_close(found[:3], torch.tensor([0.10346, 0.68850, 0.02393]).double(), rtol=0, atol=0.01)


@pytest.mark.parametrize("estimator", ["gaussian", "histogram"])
def test_a_unit_that_is_not_read_scores_exactly_zero_and_so_does_a_constant(estimator):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 2))
    model[2].weight.data[:, 1] = 0
    model[0].weight.data[2], model[0].bias.data[2] = 0, 0.7
    found = score(model, 2, 6, 6, estimator=estimator, samples=300)["0"]
    assert found[1] == 0 and found[2] == 0 and bool((found[[0, 3]] > 0.01).all())


@pytest.mark.parametrize("estimator", ["gaussian", "histogram"])
def test_scaling_a_whole_row_of_a_reader_changes_nothing(estimator):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4))
    before = score(model, 3, estimator=estimator, samples=300)["0"]
    model[2].weight.data[1] *= -8
    model[2].bias.data += 3
    torch.testing.assert_close(score(model, 3, estimator=estimator, samples=300)["0"], before)
    model[2].weight.data[1, 0] *= 3
    assert not torch.allclose(score(model, 3, estimator=estimator, samples=300)["0"], before)


def test_a_unit_that_alone_is_read_scores_the_limit():
    found = score(chain([[1.0], [2.0]], [[1.0, 0.0], [0.0, 1.0]]), 1, samples=50)["0"]
    torch.testing.assert_close(found, torch.full((2,), 6 * torch.log(torch.tensor(10.0)) / 2).double())


class Net(nn.Module):
    """stem, activation, something in between, reader, and a head of one position."""

    def __init__(self, stem, between, reader):
        super().__init__()
        self.stem, self.between, self.reader = stem, between, reader

    def ends(self, x):
        return self.between(F.relu(self.stem(x)))

    def forward(self, x):
        return self.reader(self.ends(x))


def conv(width):
    return nn.Conv2d(2, width, 3, padding=1)


CHANNELS = [[i] for i in range(6)]
NETS = {
    "convolution": (conv(6), nn.Identity(), nn.Conv2d(6, 4, 3, stride=2, padding=1), CHANNELS, 9),
    "grouped": (conv(6), nn.Identity(), nn.Conv2d(6, 4, 2, groups=2), [[0, 3], [1, 4], [2, 5]], 16),
    "depthwise": (conv(6), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 4, 1), CHANNELS, 9),
    "depthwise multiplier": (
        conv(3), nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(6, 4, 1), [[0, 1], [2, 3], [4, 5]], 9,
    ),
    "transposed": (conv(6), nn.Identity(), nn.ConvTranspose2d(6, 4, 3, stride=2, output_padding=1), CHANNELS, 144),
    "grouped transposed": (
        conv(6), nn.Identity(), nn.ConvTranspose2d(6, 4, 2, groups=2), [[0, 3], [1, 4], [2, 5]], 36,
    ),
    "flattened": (conv(3), nn.Flatten(), nn.Linear(75, 4), [list(range(25 * i, 25 * i + 25)) for i in range(3)], 1),
    "sequence": (nn.Linear(2, 6), nn.Identity(), nn.Linear(6, 4), CHANNELS, 25),
}  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 10**6])
@pytest.mark.parametrize("name", NETS)
def test_responses_are_the_layers_own(name, chunk, monkeypatch):
    """Against the reader itself, on everything else zeroed; samples = values of an output, inputs as needed."""
    monkeypatch.setattr(causal, "CHUNK", chunk)
    torch.manual_seed(0)
    stem, between, reader, units, positions = NETS[name]
    model, shape = Net(stem, between, reader).double().eval(), (5, 5, 2) if name == "sequence" else (2, 5, 5)
    found = score(model, *shape, samples=100, seed=4)
    assert len(found) == 1
    noise = torch.randn(-(-100 // positions), *shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    axis = 3 if name == "sequence" else 1
    if len(noise) > 64:  # noise is drawn in parts
        generator = torch.Generator().manual_seed(4)
        noise = torch.cat([torch.randn(n, *shape, generator=generator, dtype=torch.float64) for n in (64, 36)])
    with torch.no_grad():
        ends = model.ends(noise)
        zero = reader(torch.zeros_like(ends))
        whole, expected = reader(ends) - zero, []
        assert whole.numel() // whole.shape[axis] // len(noise) == positions
        for own in units:
            masked = torch.zeros_like(ends).index_copy(
                axis, torch.tensor(own), ends.index_select(axis, torch.tensor(own))
            )
            part = reader(masked) - zero
            pairs = zip(part.movedim(axis, 0), whole.movedim(axis, 0), strict=True)
            rho = torch.stack([torch.corrcoef(torch.stack([u.flatten(), z.flatten()]))[0, 1] for u, z in pairs])
            expected.append(-(1 - rho.square().clamp(max=1 - 1e-6)).log().sum() / 2)
    torch.testing.assert_close(next(iter(found.values())), torch.stack(expected), rtol=1e-8, atol=1e-10)


class Two(nn.Module):
    """A unit read twice, once behind a batch norm of a transposed convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.one, self.two = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 3, 1), nn.ConvTranspose2d(4, 2, 1)
        self.norm, self.which = nn.BatchNorm2d(2), None

    def forward(self, x):
        x = F.relu(self.stem(x))
        found = [self.one(x).mean((2, 3)), self.norm(self.two(x)).mean((2, 3))]
        return tuple(found) if self.which is None else found[self.which]


def test_scores_are_sums_over_readers():
    torch.manual_seed(0)
    model = randomise(Two())
    both = score(model, 2, 4, 4, samples=128)["stem"]
    alone = []
    for model.which in (0, 1):
        alone.append(score(model, 2, 4, 4, samples=128)["stem"])
    torch.testing.assert_close(both, sum(alone))
    model.which = None
    model.norm.weight.data.zero_()
    torch.testing.assert_close(score(model, 2, 4, 4, samples=128)["stem"], alone[0])


def test_masks_stay_on_downstream():
    """With a ratio, later groups are scored as in the network whose lowest units are not read any more."""
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2))
    plain, masked = score(model, 3, samples=300), score(model, 3, samples=300, ratio=0.5)
    torch.testing.assert_close(masked["0"], plain["0"])
    model[2].weight.data[:, plain["0"].argsort()[:3]] = 0
    torch.testing.assert_close(masked["2"], score(model, 3, samples=300)["2"])
    assert not torch.allclose(masked["2"], plain["2"])


def test_seed_and_samples_matter_and_the_default_is_usual():
    model = nn.Sequential(nn.Linear(3, 6), nn.ReLU(), nn.Linear(6, 5))
    exact = score(model, 3, samples=20_000)["0"]
    errors = []
    for samples in (100, 2048):
        found = [score(model, 3, samples=samples, seed=seed)["0"] for seed in (0, 1)]
        assert not torch.equal(*found)
        errors.append(float((found[0] - exact).abs().max()))
    assert errors[1] < errors[0] / 2 and criterion("causal").samples == 2048


def test_pruning_by_name_keeps_what_is_read(build, image):
    result = prune(build("conv"), image, criterion=Causal(samples=64), macs=0.5)
    assert result.macs_after <= 0.5 * result.macs_before and result.max_difference < 1e-9


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.one, self.two = nn.Embedding(9, 4), nn.Linear(4, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.two(F.relu(self.one(self.table(x))))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


class Read(nn.Module):
    def __init__(self, function, *shape):
        super().__init__()
        self.first, self.head, self.function = nn.Linear(3, 6), nn.Linear(6, 2), function
        self.tensor = nn.Parameter(torch.randn(*shape))

    def forward(self, x):
        y = F.relu(self.first(x))
        return self.head(y), self.function(y, self.tensor)


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (Tokens(), torch.tensor([[1, 2], [3, 4]]), "input 0 has dtype torch.int64"),
        (Recurrent(), torch.randn(2, 4, 3), "read inside a recurrent layer, by lstm.weight_hh_l0"),
        (Read(lambda y, p: y.sum(1), 1), torch.randn(2, 3), "sums over channels without weights"),
        (Read(lambda y, p: y @ p, 6), torch.randn(2, 3), "aten.matmul .* no parameter matrix"),
        (Read(lambda y, p: y @ p, 5, 6, 4), torch.randn(2, 3), "aten.matmul .* no parameter matrix"),
        (Read(lambda y, p: y[:, None, None] @ p, 5, 6, 4), torch.randn(2, 3), "aten.matmul .* no parameter matrix"),
    ],
)
def test_what_has_no_response_is_refused_by_name(model, example, message):
    with pytest.raises(ValueError, match=message):
        Causal(samples=10).score(find_groups(trace(model, example)), None, None)


def test_infinite_responses_are_refused():
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2)).double()
    model[0].bias.data[1] = torch.inf
    with pytest.raises(ValueError, match="not finite under noise"):
        Causal(samples=10).score(grouping_of(model, 3), None, None)


@pytest.mark.parametrize(
    "options",
    [
        {"bounds": (1.0, 1.0)},
        {"bounds": (0.0, float("inf"))},
        {"bounds": (0.0,)},
        {"estimator": "knn"},
        {"samples": 1},
        {"samples": 10.0},
        {"ratio": 1.0},
    ],
)
def test_bad_options(options):
    with pytest.raises(ValueError, match="causal, .*expected"):
        Causal(**options)


def test_golden_values_without_sampling_error():
    """The formula on samples whose covariance is exactly that of independent variables."""
    torch.manual_seed(0)
    x = torch.linalg.qr(F.pad(torch.randn(50, 4).double(), (1, 0), value=1.0))[0][:, 1:].T * 50**0.5
    parts = torch.tensor([1.0, 2.0, 0.5, 0.1**0.5]).double()[:, None] * x
    found = gaussian_information(parts[:, None], parts.sum(0, keepdim=True))[:3, 0]
    torch.testing.assert_close(found, torch.tensor([0.10346, 0.68850, 0.02393]).double(), rtol=0, atol=5e-6)
