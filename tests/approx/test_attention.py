"""Transformers as users write them: captured, calibrated, run in integers, trained."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from approx import (
    Arithmetic,
    Assignment,
    Choice,
    Operands,
    QuantisedNetwork,
    capture,
    correct,
    quantise,
    trace,
)
from multipliers import generate

WIDTH, HEADS, TOKENS = 16, 4, 10


class Attention(nn.Module):
    """One way to write multi-head self-attention of [N, T, E]."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        if how.startswith("module"):
            self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first="second" not in how)
        else:
            self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.how.startswith("module"):
            x = x.transpose(0, 1) if "second" in self.how else x
            x = self.attend(x, x, x, need_weights="weights" in self.how)[0]
            return x.transpose(0, 1) if "second" in self.how else x
        images, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(images, tokens, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        match self.how:
            case "sdpa":
                y = F.scaled_dot_product_attention(q, k, v)
            case "causal":
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            case "masked":
                mask = torch.ones(tokens, tokens).triu(-3).bool()
                y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.3)
            case _:
                y = torch.softmax(q @ k.transpose(-2, -1) * (width // HEADS) ** -0.5, -1) @ v
        return self.proj(y.transpose(1, 2).reshape(images, tokens, width))


class Transformer(nn.Module):
    """A vision transformer of one block for [N, 3, 12, 12]."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.position = nn.Parameter(torch.randn(1, TOKENS, WIDTH) * 0.3)
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = Attention(how)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, WIDTH))
        self.head = nn.Linear(WIDTH, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        x = x + self.attention(self.before(x))
        x = x + self.mlp(self.after(x))
        return self.head(x.mean(1))


WAYS = ["module", "module, weights", "module, images second", "sdpa", "causal", "masked", "by hand"]


def network(how: str) -> tuple[QuantisedNetwork, Transformer, torch.Tensor]:
    model, images = Transformer(how).eval(), torch.randn(16, 3, 12, 12)
    return quantise(model, [images]), model, images


@pytest.mark.parametrize("how", WAYS)
def test_every_way_to_write_attention(how: str) -> None:
    quantised, model, images = network(how)
    prefix = "attention.attend." if how.startswith("module") else "attention."
    qkv, proj = ("in_proj", "out_proj") if how.startswith("module") else ("qkv", "proj")
    names = ["patch", *(prefix + n for n in (qkv, "qk", "av", proj)), "mlp.0", "mlp.3", "head"]
    assert list(quantised.multiplying()) == names
    with torch.no_grad():
        wanted = model(images)
        with quantised.using(Arithmetic.FLOAT):
            assert torch.allclose(quantised(images[:5]), wanted[:5], atol=1e-5)
        spread = (wanted - wanted.mean(0)).std()
        found = quantised(images)
        assert (found - wanted).std() < 0.15 * spread
        assert torch.equal(quantised(images[3:4]), found[3:4])
        with quantised.using(Arithmetic.FAKE):
            assert (quantised(images) - found).std() < 0.05 * spread


@pytest.mark.parametrize("how", WAYS)
def test_every_layer_sees_one_image_an_index(how: str) -> None:
    quantised, _, images = network(how)
    seen: dict[str, torch.Tensor] = {}
    for name, layer in quantised.layers().items():
        layer.register_forward_pre_hook(lambda _, inputs, name=name: seen.update({name: inputs[0]}))
    with torch.no_grad():
        quantised(images)
        together = dict(seen)
        quantised(images[5:6])
    for name, one in seen.items():
        assert torch.equal(together[name][5:6], one), name


@pytest.mark.parametrize("operands", list(Operands))
def test_a_circuit_everywhere(operands: Operands) -> None:
    quantised, model, images = network("sdpa")
    circuit = generate("mul8s_exact" if operands.signed_circuit else "mul8u_drum6")
    quantised.assign(Assignment({"*": Choice(circuit.name, operands)}), {circuit.name: circuit})
    with torch.no_grad():
        wanted = model(images)
        assert (quantised(images) - wanted).std() < 0.8 * (wanted - wanted.mean(0)).std()


@pytest.mark.parametrize("how", ["module", "causal"])
def test_training_reaches_every_parameter(how: str) -> None:
    quantised, _, images = network(how)
    labels, optimiser = torch.arange(16) % 5, torch.optim.Adam(quantised.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = F.cross_entropy(quantised(images), labels)
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in quantised.parameters())
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_traces_count_the_multiplications_of_one_image() -> None:
    quantised, _, images = network("module")
    found = trace(quantised, images.split(8))
    macs = {name: t.macs for name, t in found.items()}
    assert macs == {
        "patch": 9 * 48 * WIDTH,
        "attention.attend.in_proj": TOKENS * WIDTH * 3 * WIDTH,
        "attention.attend.qk": TOKENS * WIDTH * TOKENS,
        "attention.attend.av": TOKENS * TOKENS * WIDTH,
        "attention.attend.out_proj": TOKENS * WIDTH * WIDTH,
        "mlp.0": TOKENS * WIDTH * 32,
        "mlp.3": TOKENS * WIDTH * 32,
        "head": WIDTH * 5,
    }


def test_correction_restores_what_a_biased_circuit_takes() -> None:
    quantised, model, _ = network("module, images second")
    images = torch.randn(100, 3, 12, 12)  # several chunks, whose axes hold other things than images
    circuit = generate("mul8u_drum4")
    quantised.assign(Assignment({"*": Choice(circuit.name)}), {circuit.name: circuit})
    with torch.no_grad():
        before = (quantised(images) - model(images)).square().mean()
        after = (correct(quantised, images)(images) - model(images)).square().mean()
    assert after < before


def test_a_reload_gives_the_same_integers() -> None:
    quantised, model, images = network("by hand")
    again = capture(model, images)
    again.load_state_dict(quantised.state_dict())
    with torch.no_grad():
        assert torch.equal(again.use(Arithmetic.INTEGER)(images), quantised(images))


def test_sequences_may_lie_anyhow_in_memory() -> None:
    sequences = torch.randn(40, 32, 64).transpose(0, 1)  # large enough to be worked on in parts
    quantised = quantise(nn.Sequential(nn.Linear(64, 8), nn.LayerNorm(8), nn.Linear(8, 2)), [sequences])
    with torch.no_grad():
        assert torch.equal(quantised(sequences), quantised(sequences.contiguous()))


def test_torch_s_own_encoder() -> None:
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(WIDTH, HEADS, 32, batch_first=True, norm_first=True, activation="gelu"),
        2,
        enable_nested_tensor=False,
    ).eval()
    tokens = torch.randn(8, TOKENS, WIDTH)
    quantised = quantise(nn.Sequential(encoder, nn.Linear(WIDTH, 3)), [tokens])
    assert [name for name in quantised.multiplying() if name.endswith(("qk", "av"))] == [
        f"0.layers.{i}.self_attn.{part}" for i in range(2) for part in ("qk", "av")
    ]


class Refused(nn.Module):
    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.layer = what, nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer(x)
        match self.what:
            case "mask":
                return F.scaled_dot_product_attention(x, x, x, attn_mask=torch.full((5, 5), 0.5))
            case "broadcast":
                return x[:, None] @ x.unsqueeze(1).expand(-1, 3, -1, -1).transpose(-2, -1)
        raise AssertionError(self.what)


@pytest.mark.parametrize(
    ("what", "message"),
    [("mask", "mask holds other values"), ("broadcast", r"multiplies \[N, 1, 5, 8\] by \[N, 3, 8, 5\]")],
)
def test_what_is_refused_says_why(what: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quantise(Refused(what), [torch.randn(2, 5, 8)])


def test_exported_programs_take_any_number_of_images() -> None:
    quantised, _, images = network("module")
    with torch.no_grad():
        program = torch.export.export(
            quantised, (images,), dynamic_shapes={"x": {0: torch.export.Dim("batch")}}, strict=False
        )
        for batch in (images, images[:3]):
            assert torch.equal(program.module()(batch), quantised(batch))
