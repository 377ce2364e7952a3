"""Conformance suite for pruning criteria: a new criterion passes it by overriding one fixture.

    class TestMine(CriterionSuite):
        @pytest.fixture
        def criterion(self) -> Criterion:
            return Mine()

It checks that permuting channels permutes scores (U2; of a criterion that says it is not equivariant, that they
stay), that two runs agree (U3), and that modes, parameters, gradients and the random state are restored (U6). Shipped
with the package; needs pytest.
"""

from __future__ import annotations

import copy
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pruning.check import difference_after_cut
from pruning.criteria.base import Batches, Criterion, Loss
from pruning.groups import Grouping
from pruning.trace import trace
from pruning.tracking import find_groups


class SmallNet(nn.Module):
    """Three convolutions with a residual stream and a linear head; input [N, 3, 8, 8], output [N, 5]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.down = nn.Conv2d(6, 4, 3, padding=1)
        self.up = nn.Conv2d(4, 6, 3, padding=1)
        self.head = nn.Linear(6 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the five classes."""
        x = F.relu(self.norm(self.stem(x)))
        x = F.relu(x + self.up(F.relu(self.down(x))))
        result: Tensor = self.head(F.max_pool2d(x, 2).flatten(1))
        return result


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give batch norms non-trivial parameters and statistics, so that offsets and scales matter; in place."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor, low, high in (
                (module.weight, 0.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2.0),
            ):
                if tensor is not None:
                    values = torch.rand(tensor.shape, generator=generator) * (high - low) + low
                    tensor.data = values.to(tensor)
    return model


def random_kept(grouping: Grouping, seed: int) -> dict[str, tuple[int, ...]]:
    """Random units to keep, at least one of each group; equal for equal seeds."""
    generator = torch.Generator().manual_seed(seed)
    kept = {}
    for group in grouping.groups:
        count = int(torch.randint(1, group.size + 1, (), generator=generator))
        kept[group.name] = tuple(sorted(torch.randperm(group.size, generator=generator)[:count].tolist()))
    return kept


@cache
def _small_grouping() -> Grouping:
    """Exported once; the suite itself proves that criteria leave it as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return find_groups(trace(randomise(SmallNet()).double(), torch.randn(2, 3, 8, 8).double()))


class CriterionSuite:
    """Tests every criterion must pass; override `criterion`."""

    @pytest.fixture
    def criterion(self) -> Criterion:
        """The criterion under test."""
        raise NotImplementedError("override the fixture `criterion`")

    @pytest.fixture
    def loss(self) -> Loss:
        """Mean loss of a batch."""
        return F.cross_entropy

    @pytest.fixture
    def grouping(self) -> Grouping:
        """A small residual network and its groups."""
        return _small_grouping()

    @pytest.fixture
    def batches(self, criterion: Criterion) -> Batches | None:
        """Two batches of different size, or none for a criterion without data."""
        generator = torch.Generator().manual_seed(4)
        made = [(torch.randn(n, 3, 8, 8, generator=generator).double(), torch.arange(n) % 5) for n in (6, 3)]
        return made if criterion.needs_data else None

    def test_scores_are_complete_and_finite(
        self, criterion: Criterion, grouping: Grouping, batches: Batches | None, loss: Loss
    ) -> None:
        scores = criterion.score(grouping, batches, loss)
        assert {name: tuple(score.shape) for name, score in scores.items()} == {
            group.name: (group.size,) for group in grouping.groups
        }
        for score in scores.values():
            assert score.dtype == torch.float64 and bool(torch.isfinite(score).all())
            assert score.unique().numel() > 1, "all units of a random network score the same"

    def test_permuting_channels_permutes_scores(
        self, criterion: Criterion, grouping: Grouping, batches: Batches | None, loss: Loss
    ) -> None:
        scores = criterion.score(grouping, batches, loss)
        model, order = permuted(grouping)
        moved = criterion.score(find_groups(trace(model, grouping.trace.inputs)), batches, loss)
        for name, score in scores.items():
            expected = score[order[name]] if criterion.equivariant else score
            torch.testing.assert_close(moved[name], expected, rtol=1e-8, atol=1e-12)

    def test_two_runs_agree(
        self, criterion: Criterion, grouping: Grouping, batches: Batches | None, loss: Loss
    ) -> None:
        first = criterion.score(grouping, batches, loss)
        torch.rand(7)
        second = criterion.score(grouping, batches, loss)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_network_and_random_state_are_restored(
        self, criterion: Criterion, grouping: Grouping, batches: Batches | None, loss: Loss
    ) -> None:
        model = grouping.trace.model
        before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        wanted = {name: p.requires_grad for name, p in model.named_parameters()}
        criterion.score(grouping, batches, loss)
        assert torch.equal(torch.get_rng_state(), state)
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(module.training for module in model.modules())
        for name, parameter in model.named_parameters():
            assert parameter.grad is None and parameter.requires_grad == wanted[name]

    def test_a_criterion_with_data_refuses_none(self, criterion: Criterion, grouping: Grouping, loss: Loss) -> None:
        if not criterion.needs_data:
            pytest.skip("needs no data")
        nothing: list[tuple[Tensor, Tensor]] = []
        for missing in (None, nothing):
            with pytest.raises(ValueError, match="loader|data"):
                criterion.score(grouping, missing, loss)

    def test_scores_lead_to_a_valid_cut(
        self, criterion: Criterion, grouping: Grouping, batches: Batches | None, loss: Loss
    ) -> None:
        scores = criterion.score(grouping, batches, loss)
        kept = {n: tuple(sorted(s.argsort(descending=True)[: len(s) // 2].tolist())) for n, s in scores.items()}
        assert difference_after_cut(grouping, kept) < 1e-9


def permuted(grouping: Grouping, seed: int = 5) -> tuple[nn.Module, dict[str, Tensor]]:
    """The same function with the units of every group in another order, and that order.

    Returns:
        A module, and group name -> order such that new unit i is old unit `order[i]`.
    """
    generator = torch.Generator().manual_seed(seed)
    model = copy.deepcopy(grouping.trace.model)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    orders = {group.name: torch.randperm(group.size, generator=generator) for group in grouping.groups}
    for group in grouping.groups:
        for member in group.members:
            index = torch.arange(tensors[member.tensor].shape[member.axis])
            for unit, source in enumerate(orders[group.name].tolist()):
                index[list(member.indices[unit])] = torch.tensor(member.indices[source])
            tensors[member.tensor].data = tensors[member.tensor].data.index_select(member.axis, index)
    return model, orders
