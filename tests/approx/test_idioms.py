"""What users write around attention and recurrent layers: captured, and run in integers as in floating point."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, quantise
from approx.quantizer import KEPT, Quantizer

TOKENS, WIDTH, HIDDEN = 10, 16, 5


class Idiom(nn.Module):
    """[N, TOKENS, WIDTH] -> a linear layer behind what is tried."""

    def __init__(self, body: Callable[["Idiom", torch.Tensor], torch.Tensor], outputs: int) -> None:
        super().__init__()
        self.body, self.first, self.last = body, nn.Linear(WIDTH, WIDTH), nn.Linear(outputs, 3)
        self.attend = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.lstm, self.gru = nn.LSTM(WIDTH, HIDDEN, batch_first=True), nn.GRU(WIDTH, HIDDEN, batch_first=True)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.square = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.factor = nn.Parameter(torch.full((1, 1, 1, 1), 1.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(self.body(self, x))


def started(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros(1, x.size(0), HIDDEN).to(x.device)


WORKS: dict[str, tuple[Callable[[Idiom, torch.Tensor], torch.Tensor], int]] = {
    "cross": (lambda m, x: m.attend(m.first(x[:, :4]), x[:, 4:], x[:, 4:], need_weights=False)[0], WIDTH),
    "parameter": (lambda m, x: x @ m.square, WIDTH),
    "repeat": (lambda m, x: torch.cat([m.token.repeat(x.shape[0], 1, 1), x], 1), WIDTH),
    "expand": (lambda m, x: torch.cat([m.token.expand(x.shape[0], 3, -1), x], 1), WIDTH),
    "zeros": (lambda m, x: torch.cat([torch.zeros(x.shape[0], 1, WIDTH).to(x.device), x], 1), WIDTH),
    "states": (lambda m, x: m.lstm(x, (started(x), started(x)))[0][:, -1], HIDDEN),
    "axes": (lambda m, x: (m.first(x) * m.factor)[0], WIDTH),
    "weights": (lambda m, x: m.attend(m.first(x), x, x)[1], TOKENS),
    "tied": (lambda m, x: F.linear(m.first(x), m.first.weight.T), WIDTH),
    "mT": (lambda m, x: m.first(x).mT, TOKENS),
}


@pytest.mark.parametrize("what", WORKS)
def test_idioms_run_in_integers_for_any_number_of_images(what: str) -> None:
    torch.manual_seed(0)
    model, x = Idiom(*WORKS[what]).eval(), torch.randn(32, TOKENS, WIDTH)
    network = quantise(model, [x])
    with torch.no_grad():
        wanted, found = model(x), network(x)
        with network.using(Arithmetic.FLOAT):
            assert torch.allclose(network(x), wanted, atol=1e-5)
        assert (found - wanted).std() < 0.1 * wanted.std()
        for images in (0, 1, 5):
            assert torch.equal(network(x[:images]), found[:images])


@pytest.mark.parametrize("what", ["repeat", "expand"])
def test_a_stretched_token_is_trained(what: str) -> None:
    network = quantise(Idiom(*WORKS[what]).eval(), [torch.randn(8, TOKENS, WIDTH)])
    network(torch.randn(8, TOKENS, WIDTH)).square().sum().backward()
    token = dict(network.named_parameters())["graph_module.op_token.value"]
    assert token.shape == (1, 1, WIDTH) and token.grad is not None and token.grad.abs().sum() > 0


def test_products_whose_first_axes_differ_may_be_large() -> None:
    body: tuple[Callable[[Idiom, torch.Tensor], torch.Tensor], int] = (
        lambda m, x: (m.first(x).transpose(0, 1) * torch.sigmoid(x.mean(1)) * m.token[0, 0]).transpose(0, 1),
        WIDTH,
    )
    x = torch.randn(700, TOKENS, WIDTH)  # more than one part
    network = quantise(Idiom(*body).eval(), [x])
    with torch.no_grad():
        assert torch.equal(network(x)[300:304], network(x[300:304]))


CAUSAL = torch.ones(TOKENS, TOKENS).triu(1)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda m, x: torch.softmax(m.first(x) @ x.mT + CAUSAL * -1e9, -1) @ x, "too far apart for 8 bits"),
        (
            lambda m, x: m.attend(m.first(x).transpose(0, 1), x.transpose(0, 1), x.transpose(0, 1))[0],
            "mixes the images",
        ),
        (lambda m, x: m.gru(x, m.gru(x)[1])[0] @ m.square[:HIDDEN], "zero states to begin with"),
        (lambda m, x: F.scaled_dot_product_attention(m.first(x), x, x, CAUSAL.bool()), "nothing to attend to"),
        (lambda m, x: x.repeat(2, 1, 1), "repeats the images"),
    ],
)
def test_what_is_refused_says_why(body: Callable[[Idiom, torch.Tensor], torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantise(Idiom(body, WIDTH), [torch.randn(4, TOKENS, WIDTH)])


def test_every_value_of_a_small_tensor_is_calibrated_on() -> None:
    values = torch.cat([torch.linspace(0, 1, 99), torch.tensor([2.0])])
    for seed in range(20):  # whichever place the largest has
        quantizer = Quantizer()
        quantizer.observe(values[torch.randperm(100, generator=torch.Generator().manual_seed(seed))])
        quantizer.calibrate()
        assert quantizer(torch.tensor([2.0])).item() == pytest.approx(2.0, abs=0.05)


def test_long_sequences_are_sampled_in_bounded_memory() -> None:
    quantizer = Quantizer()
    for step in range(300):
        quantizer.observe(torch.full((1 << 14,), step / 299.0))
    assert sum(map(len, quantizer._samples)) <= KEPT
    shares = torch.cat(quantizer._samples)
    assert shares.mean().item() == pytest.approx(0.5, abs=0.01)  # early steps count as much as late ones
