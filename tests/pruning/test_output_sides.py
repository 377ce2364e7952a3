"""On which side of a weight its outputs lie: raw products, transposed convolutions, and what is refused there."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import Magnitude, TaylorWeight, criterion, find_groups, trace
from pruning.criteria.filters import filters


class Product(nn.Module):
    """x @ first, then @ second: outputs on the last axis; the units are the 4 hidden features."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.randn(3, 4)), nn.Parameter(torch.randn(4, 2))

    def forward(self, x):
        return F.relu(x @ self.first) @ self.second


def product():
    torch.manual_seed(0)
    return Product().double(), torch.randn(5, 3).double()


def transposed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ConvTranspose2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 2, 3))
    return model.double(), torch.randn(2, 3, 8, 8).double()


def only(scores, size):
    return next(score for score in scores.values() if len(score) == size)


def test_the_filter_of_a_raw_product_is_a_column():
    model, x = product()
    wanted = model.first.detach().norm(dim=0)
    torch.testing.assert_close(only(Magnitude(2, "filter").score(find_groups(trace(model, x)), None, None), 4), wanted)


@pytest.mark.parametrize(("layer", "size", "dims"), [(0, 4, (1, 2, 3)), (2, 6, (0, 2, 3))])
def test_the_filter_of_a_transposed_convolution_is_on_its_second_axis(layer, size, dims):
    model, x = transposed()
    grouping = find_groups(trace(model, x))
    wanted = model[layer].weight.detach().square().sum(dims).sqrt()
    torch.testing.assert_close(only(Magnitude(2, "filter").score(grouping, None, None), size), wanted)
    torch.testing.assert_close(only(filters(grouping), size).norm(dim=1), wanted)


@pytest.mark.parametrize(
    ("net", "name", "size", "dims"), [(product, "first", 4, (0,)), (transposed, "2.weight", 6, (0, 2, 3))]
)
def test_taylor_sums_over_the_weights_that_compute_the_unit(net, name, size, dims):
    model, x = net()
    found = only(TaylorWeight().score(find_groups(trace(model, x)), [(x, None)], lambda y, _: y.square().mean()), size)
    model(x).square().mean().backward()
    weight = dict(model.named_parameters())[name]
    torch.testing.assert_close(found, (weight * weight.grad).detach().square().sum(dims))


@pytest.mark.parametrize("name", ["sosp-h", "sosp-i", "singe"])
def test_criteria_that_do_not_know_transposed_convolutions_say_so(name):
    model, x = transposed()
    options = {"path": "weights"} if name == "singe" else {}
    data = [(x, torch.zeros(2, 2, 8, 8).double())]

    def loss(output, _):
        return output.square().mean()

    with pytest.raises(ValueError, match="ransposed|one tensor"):
        criterion(name, **options).score(find_groups(trace(model, x)), data, loss)


def test_a_stream_that_a_transposed_convolution_adds_to_is_refused():
    class Stream(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(3, 4, 3), nn.Conv2d(4, 2, 1)

        def forward(self, x):
            return self.c(F.relu(self.a(F.pad(x, (2, 2, 2, 2))) + self.b(x)))

    model, x = Stream().double(), torch.randn(2, 3, 6, 6).double()
    with pytest.raises(ValueError, match=r"b\.weight makes its units in a way that is not known"):
        criterion("sosp-h").score(find_groups(trace(model, x)), [(x, None)], lambda y, _: y.square().mean())
