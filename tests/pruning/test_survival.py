"""What belongs to the user survives a cut in place: hooks, graphs, memory formats, buffers; what cannot is refused."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm
from torch.nn.utils import prune as masking

from pruning import Plan, cut_optimiser, find_groups, find_safe_groups, prune, trace
from pruning.check import require_equal
from pruning.probe import require_equal_cut


@pytest.fixture
def plan(traced):
    grouping = find_groups(traced("conv"))
    return Plan.from_kept(grouping, {group.name: tuple(range(0, group.size, 2)) for group in grouping.groups})


def test_a_loss_that_is_still_alive(build, image, plan):
    """Its graph remembers the old shapes of the gradients; the next backward pass must not."""
    model = build("conv")
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    loss = model(image).sum()
    loss.backward()
    optimiser.step()
    outputs = model(image)
    cut_optimiser(optimiser, plan.apply(model), plan)
    optimiser.zero_grad()
    model(image).sum().backward()
    optimiser.step()
    assert all(p.grad.shape == p.shape for p in model.parameters())
    assert loss.requires_grad and outputs.requires_grad


def test_hooks_of_parameters_and_modules(build, image, plan):
    model, calls = build("conv"), []
    weight = model.features[0].weight
    weight.register_hook(lambda gradient: calls.append(("gradient", gradient.shape[0])))
    weight.register_post_accumulate_grad_hook(lambda p: calls.append(("accumulated", p.grad.shape[0])))
    model.features[4].register_full_backward_hook(lambda m, gi, go: calls.append(("backward", go[0].shape[1])))
    model.features[4].register_forward_pre_hook(lambda m, args: calls.append(("before", args[0].shape[1])))
    alive = model(image).sum()
    alive.backward()
    assert sorted(calls) == [("accumulated", 8), ("backward", 12), ("before", 8), ("gradient", 8)]
    calls.clear()
    plan.apply(model)
    model(image).sum().backward()
    assert sorted(calls) == [("accumulated", 4), ("backward", 6), ("before", 4), ("gradient", 4)]


def test_memory_format_dtype_and_flags(build, plan):
    model = build("conv").to(memory_format=torch.channels_last)
    model.features[4].weight.requires_grad_(False)
    model.features[5].running_mean = model.features[5].running_mean.double()
    model.features[4].weight.grad = torch.ones_like(model.features[4].weight)
    plan.apply(model)
    weight = model.features[4].weight
    assert weight.shape == (6, 4, 3, 3) and not weight.requires_grad and weight.is_leaf
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    assert weight.grad.shape == weight.shape and weight.grad.is_contiguous(memory_format=torch.channels_last)
    assert model.features[0].weight.requires_grad and model.features[0].weight.dtype == torch.float32
    assert model.features[5].running_mean.dtype == torch.float64
    assert model.features[5].num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (weight_norm, "WeightNorm .*remove_weight_norm"),
        (spectral_norm, "SpectralNorm .*remove_spectral_norm"),
        (
            lambda layer: masking.l1_unstructured(layer, "weight", 0.3),
            "L1Unstructured|BasePruningMethod .*prune.remove",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_weights_written_by_hooks_are_refused_by_name(build, image, change, name):
    model = build("conv")
    change(model.features[4])
    with pytest.raises(ValueError, match=f"layer 'features.4': {name}"):
        prune(model, image, criterion="magnitude")


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_parametrisations_are_followed_or_frozen(build, image):
    """A weight that is twice its parameter shrinks with it; a weight norm has no rule and freezes both its sides."""
    model = build("conv")
    parametrize.register_parametrization(model.features[0], "weight", Doubled())
    parametrizations.weight_norm(model.classifier[0])
    result = prune(model, image, criterion="magnitude", macs=0.8)
    assert result.max_difference < 1e-9
    assert result.kept.keys() == {"features.1"}  # named after the batch norm, whose `weight` is a parameter
    assert "weight_norm" in " ".join(entry.reason for entry in result.frozen)
    layer = result.model.features[0]
    assert layer.out_channels == layer.weight.shape[0] == result.kept["features.1"][0]
    assert parametrize.is_parametrized(layer, "weight")


def test_the_check_is_not_blinded_by_zeros(build, traced, image):
    """A head of zeros makes every cut look right; a wrong one is found all the same, and the weights stay."""
    model = build("nhwc")
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    grouping = find_safe_groups(trace(model, image))
    kept = {"conv": (0, 1, 2, 4, 5)}
    right = Plan.from_kept(grouping, kept)
    axes = tuple(
        type(a)(a.tensor, a.axis, a.size, (0, 1, 2, 3, 5)) if a.tensor.startswith("norm") else a for a in right.axes
    )
    assert axes != right.axes
    wrong, good = Plan(axes).apply(build("nhwc")), right.apply(build("nhwc"))
    for each in (wrong, good):
        nn.init.zeros_(each.head.weight)
        nn.init.zeros_(each.head.bias)
    before = {name: value.clone() for name, value in wrong.state_dict().items()}
    assert require_equal(grouping, kept, wrong) == 0.0
    with pytest.raises(RuntimeError, match="differs from the masked one"):
        require_equal_cut(grouping, kept, wrong)
    assert require_equal_cut(grouping, kept, good) == 0.0
    assert all(torch.equal(value, before[name]) for name, value in wrong.state_dict().items())
