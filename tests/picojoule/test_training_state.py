import pytest
import torch
from torch import nn

from picojoule.training_state import TrainingState


def setup(kind):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2))
    optimizers = {
        "sgd": lambda: torch.optim.SGD(model.parameters(), 0.001, momentum=0.9, nesterov=True),
        "adamw": lambda: torch.optim.AdamW(
            [{"params": model[0].parameters(), "lr": 0.2}, {"params": model[3].parameters()}], 0.1
        ),
    }
    return model, optimizers[kind](), torch.Generator().manual_seed(5)


def epoch(model, optimizer, generator):
    x = torch.randn(16, 3, generator=generator)
    loss = model(x).square().sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_resumed_is_bit_identical(tmp_path, kind):
    model, optimizer, generator = setup(kind)
    for _ in range(6):
        epoch(model, optimizer, generator)
    expected = {name: t.clone() for name, t in model.state_dict().items()}

    model, optimizer, generator = setup(kind)
    state = TrainingState(tmp_path, model, optimizer, {"noise": generator})
    assert state.load() == 0
    for done in range(1, 4):
        epoch(model, optimizer, generator)
        state.save(done, best=0.25, names=["a"])

    model, optimizer, generator = setup(kind)
    torch.rand(99)
    state = TrainingState(tmp_path, model, optimizer, {"noise": generator})
    assert state.load() == 3
    assert state.extra == {"best": 0.25, "names": ["a"]}
    for _ in range(3):
        epoch(model, optimizer, generator)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
        assert torch.isfinite(tensor).all()
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_damaged_or_foreign_state(tmp_path):
    model, optimizer, _ = setup("sgd")
    state = TrainingState(tmp_path, model, optimizer)
    state.save(1)
    with pytest.raises(ValueError, match="cannot be resumed"):
        TrainingState(tmp_path, nn.Linear(2, 2)).load()
    file = tmp_path / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"state\.safetensors: cannot be resumed .* delete it"):
        state.load()


def test_tied_weights_and_no_optimizer(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    TrainingState(tmp_path, model).save(2)
    before = model[0].weight.detach().clone()
    with torch.no_grad():
        model[0].weight.zero_()
    assert TrainingState(tmp_path, model).load() == 2
    assert torch.equal(model[1].weight, before)


def test_odd_optimizer_state_is_refused(tmp_path):
    model, optimizer, _ = setup("sgd")
    optimizer.param_groups[0]["odd"] = object()
    with pytest.raises(ValueError, match="optimiser state .*odd.*object"):
        TrainingState(tmp_path, model, optimizer).save(1)
    assert list(tmp_path.iterdir()) == []
