"""LSTM and GRU: integers against the recurrence written out, captured networks, training."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import Arithmetic, Assignment, Choice, LayerTable, Operands, QuantisedNetwork, capture, quantise, trace
from approx.linear import QuantLinear
from approx.lookup import QuantLookup
from approx.operation import Operation
from approx.product_sum import QuantProductSum
from approx.quantizer import Quantizer
from approx.recurrent import STATE_BITS, QuantGRU, QuantLSTM, QuantRecurrent
from approx.regrid import QuantRegrid
from approx.requantise import fixed_point
from multipliers import generate


class Classifier(nn.Module):
    """What a keyword spotter is: a recurrent layer and a classifier of its last state."""

    def __init__(self, kind: str, read: str = "last step", **how: object) -> None:
        super().__init__()
        self.read, self.first = read, bool(how.get("batch_first", True))
        self.rnn = getattr(nn, kind)(5, 6, **{"batch_first": True, **how})
        self.head = nn.Linear(6 * (1 + self.rnn.bidirectional), 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x if self.first else x.transpose(0, 1)
        steps, last = self.rnn(x)
        last = last[0] if isinstance(last, tuple) else last
        match self.read:
            case "last step":
                return self.head(steps[:, -1] if self.first else steps[-1])
            case "mean":
                return self.head(steps.mean(1))
            case "both ends":
                return self.head(torch.cat([last[-2], last[-1]], 1))
        return self.head(last[-1])


def captured(*what: object, **how: object) -> tuple[QuantisedNetwork, Classifier, torch.Tensor]:
    model, sequences = Classifier(*what, **how).eval(), torch.randn(12, 7, 5)
    return quantise(model, [sequences]), model, sequences


def shifted(value: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    return (value * multiplier + (1 << (shift - 1))) >> shift


class SpeltOut:
    """The operations of a cell on codes, in numpy integers, from scales, zero points, weights and tables alone."""

    @staticmethod
    def clamped(values: np.ndarray, output: Quantizer) -> np.ndarray:
        return (values + int(output.zero_point)).clip(*output.bounds)

    @staticmethod
    def factors(step: Operation, *sizes: torch.Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            tuple(v.astype(np.int64) for v in fixed_point(np.array(float(size / step.output.scale)))) for size in sizes
        ]

    @staticmethod
    def centred(codes: np.ndarray, source: Quantizer) -> np.ndarray:
        return codes.astype(np.int64) - int(source.zero_point)

    def linear(self, layer: QuantLinear, codes: np.ndarray) -> np.ndarray:
        numbers, table = layer.integers(), layer.layer_circuit.products.numpy()
        values = numbers.values.numpy().astype(np.int64)
        total = table[values[None] + layer.layer_circuit.table.offset, codes[:, None, :]].astype(np.int64).sum(2)
        total -= int(layer.sources[0].zero_point) * values.sum(1)
        total += numbers.bias.numpy()
        return self.clamped(shifted(total, numbers.multiplier.numpy(), numbers.shift.numpy()), layer.output)

    def add(self, step: Operation, *codes: np.ndarray) -> np.ndarray:
        multipliers, shift = step.fixed_point()
        terms = zip(codes, step.sources, multipliers, strict=True)
        total = sum(self.centred(c, s) * m for c, s, m in terms) + (1 << (shift - 1))
        return self.clamped(total >> shift, step.output)

    def lookup(self, step: QuantLookup, codes: np.ndarray) -> np.ndarray:
        reals = float(step.sources[0].scale) * self.centred(codes, step.sources[0])
        exact = step.function(torch.from_numpy(reals)).numpy() / float(step.output.scale)
        return self.clamped(np.rint(exact).astype(np.int64), step.output)

    def product(self, step: Operation, *codes: np.ndarray) -> np.ndarray:
        a, b = (self.centred(c, s) for c, s in zip(codes, step.sources, strict=True))
        ((multiplier, shift),) = self.factors(step, step.sources[0].scale * step.sources[1].scale)
        return self.clamped(shifted(a * b, multiplier, shift), step.output)

    def product_sum(self, step: QuantProductSum, *codes: np.ndarray) -> np.ndarray:
        a, b, c, d = (self.centred(code, s) for code, s in zip(codes, step.sources, strict=True))
        p, q, r, s = (source.scale for source in step.sources)
        (first, second) = self.factors(step, p * q, r * s)
        return self.clamped(shifted(a * b, *first) + shifted(c * d, *second), step.output)

    def regrid(self, step: QuantRegrid, codes: np.ndarray) -> np.ndarray:
        (factor,) = self.factors(step, step.sources[0].scale)
        return self.clamped(shifted(self.centred(codes, step.sources[0]), *factor), step.output)

    def lstm(self, cell: QuantLSTM, x: np.ndarray, hidden: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, ...]:
        gates = self.add(cell.sum, x, self.linear(cell.from_hidden, hidden))
        i, f, g, o = np.split(gates, 4, 1)
        i, f, o = (self.lookup(cell.gate, gate) for gate in (i, f, o))
        state = self.product_sum(cell.cell, f, state, i, self.lookup(cell.candidate, g))
        return self.product(cell.hidden, o, self.lookup(cell.squash, self.regrid(cell.narrow, state))), state

    def gru(self, cell: QuantGRU, x: np.ndarray, hidden: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, ...]:
        y, both = self.linear(cell.from_hidden, hidden), 2 * hidden.shape[1]
        r, z = np.split(self.add(cell.sum, x[:, :both], y[:, :both]), 2, 1)
        kept = self.product(cell.reset, self.lookup(cell.gate, r), y[:, both:])
        n = self.lookup(cell.candidate, self.add(cell.total, x[:, both:], kept))
        state = self.product_sum(cell.blend, self.lookup(cell.gate, z), state, self.lookup(cell.renew, z), n)
        return self.regrid(cell.hidden, state), state


def noisy_table() -> LayerTable:
    noise = np.random.default_rng(1).integers(1, 900, (255, 256))
    return LayerTable((np.arange(-127, 128)[:, None] * np.arange(256) + noise).astype(np.int32), 127)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_every_code_of_every_step_is_the_recurrence_s(kind: str, backwards: bool) -> None:
    network, _, sequences = captured(kind, bidirectional=backwards)
    for layer in network.layers().values():
        layer.use_circuit("test", Operands.SIGN_MAGNITUDE, noisy_table())
    cell = [op for op in network.operations() if isinstance(op, QuantRecurrent)][-1]
    assert cell.backwards is backwards
    spelt, source = SpeltOut(), cell.sources[0]
    codes = source.codes(sequences).numpy().astype(np.int64)
    with torch.no_grad():
        found = cell.output.codes(cell(source.reals(source.codes(sequences)))).numpy()
    step = spelt.lstm if kind == "LSTM" else spelt.gru
    hidden, state = np.full((12, 6), int(cell.output.zero_point)), np.zeros((12, 6), np.int64)
    order = range(7)[::-1] if backwards else range(7)
    for t in order:
        hidden, state = step(cell, spelt.linear(cell.from_input, codes[:, t]), hidden, state)
        assert (found[:, t] == hidden).all()


WAYS = [
    (("LSTM",), {}),
    (("GRU",), {}),
    (("LSTM", "last state"), {"num_layers": 2}),
    (("GRU", "both ends"), {"num_layers": 2, "bidirectional": True, "dropout": 0.3}),
    (("LSTM", "last step"), {"bidirectional": True, "batch_first": False}),
    (("GRU", "mean"), {"bias": False}),
]


@pytest.mark.parametrize(("what", "how"), WAYS, ids=str)
def test_networks_are_captured_whole(what: tuple[str, ...], how: dict[str, object]) -> None:
    network, model, sequences = captured(*what, **how)
    assert list(network.layers()) == [n for n in dict(model.named_parameters()) if "rnn.weight" in n] + ["head"]
    with torch.no_grad():
        wanted = model(sequences)
        with network.using(Arithmetic.FLOAT):
            assert torch.allclose(network(sequences[:5]), wanted[:5], atol=1e-5)
        found, spread = network(sequences), (wanted - wanted.mean(0)).std()
        assert (found - wanted).std() < 0.25 * spread
        assert torch.equal(network(sequences[3:4]), found[3:4])
        with network.using(Arithmetic.FAKE):
            assert (network(sequences) - found).std() < 0.1 * spread


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gradients_are_those_of_fake_arithmetic(kind: str) -> None:
    network, _, sequences = captured(kind)
    found = []
    for arithmetic in (Arithmetic.FAKE, Arithmetic.INTEGER):
        network.use(arithmetic).zero_grad()
        network(sequences).square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in network.parameters())
        found.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert torch.cosine_similarity(*found, dim=0) > 0.98


def test_training_through_a_circuit_lowers_the_loss() -> None:
    network, _, sequences = captured("LSTM")
    circuit = generate("mul8u_drum4")
    network.assign(Assignment({"rnn.*": Choice(circuit.name)}), {circuit.name: circuit})
    assert [layer.circuit for layer in network.layers().values()] == [circuit.name, circuit.name, "exact"]
    optimiser, labels, losses = torch.optim.Adam(network.parameters(), 1e-2), torch.arange(12) % 3, []
    for _ in range(30):
        optimiser.zero_grad()
        loss = F.cross_entropy(network(sequences), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_traces_see_all_steps() -> None:
    network, _, sequences = captured("GRU")
    found = trace(network, sequences.split(4), patches=100)
    assert {name: t.macs for name, t in found.items()} == {
        "rnn.weight_ih_l0": 7 * 5 * 18,
        "rnn.weight_hh_l0": 7 * 6 * 18,
        "head": 18,
    }
    patches, zero = found["rnn.weight_hh_l0"].patches, found["rnn.weight_hh_l0"].input_zero
    assert patches.shape == (1, 100, 6)
    begins = (patches[0] == zero).all(1).mean()
    assert 0.05 < begins < 0.3  # one step of seven begins with the zero state


def test_states_have_sixteen_bits_and_a_reload_keeps_everything() -> None:
    network, model, sequences = captured("LSTM")
    bits = {name: q.bits for name, q in network.quantizers.items()}
    assert bits["q_rnn/l0/cell"] == STATE_BITS and bits["q_rnn/l0/hidden"] == 8
    again = capture(model, sequences)
    again.load_state_dict(network.state_dict())
    with torch.no_grad():
        assert torch.equal(again.use(Arithmetic.INTEGER)(sequences), network(sequences))


def test_a_layer_applied_twice_has_two_names() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.rnn, self.head = nn.GRU(6, 6, batch_first=True), nn.Linear(6, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.rnn(self.rnn(x)[0])[0][:, -1])

    names = list(capture(Twice(), torch.randn(2, 3, 6)).layers())
    assert names == ["rnn.weight_ih_l0", "rnn.weight_hh_l0", "rnn.weight_ih_l0_2", "rnn.weight_hh_l0_2", "head"]


class Refused(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.head = what, nn.Linear(6, 2)
        self.rnn = nn.LSTM(5, 8 if what == "projection" else 6, batch_first=True, proj_size=6 * (what == "projection"))
        self.start = nn.Parameter(torch.ones(1, 1, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        match self.what:
            case "cell":
                return self.head(self.rnn(x)[1][1][-1])
            case "start":
                start = self.start.expand(-1, x.shape[0], -1)
                return self.head(self.rnn(x, (start, start))[0][:, -1])
            case "output":
                return self.rnn(x)[0]
        return self.head(self.rnn(x)[0][:, -1])


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("projection", r"aten\.lstm\.input .*projections are not supported"),
        ("cell", r"takes result 2 of aten\.lstm\.input"),
        ("start", r"aten\.lstm\.input .*zero states to begin with"),
        ("output", "output is also read inside it, by .*weight_hh_l0"),
    ],
)
def test_what_is_refused_says_why(what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantise(Refused(what), [torch.randn(4, 3, 5)])
