import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from picojoule.history import History, content_hash, load_checkpoint, load_state, save_checkpoint


def fresh():
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def prune(model, parameters):
    keep = parameters["keep"]
    return nn.Sequential(nn.Linear(4, len(keep)), nn.ReLU(), nn.Linear(len(keep), 2))


def widen(model, parameters):
    return nn.Sequential(*model, nn.Linear(2, parameters["to"]))


def pruned():
    torch.manual_seed(3)
    model = prune(fresh(), {"keep": [0, 2, 5]})
    history = History().add("prune", {"keep": [0, 2, 5]}, model)
    model = widen(model, {"to": 7})
    return model, history.add("widen", {"to": 7}, model)


def test_replay_and_load(tmp_path):
    model, history = pruned()
    path = tmp_path / "a" / "model.safetensors"
    save_checkpoint(model, history, path)
    again, read = load_checkpoint(fresh(), path, {"prune": prune, "widen": widen})
    assert read == history
    assert [step.name for step in read.steps] == ["prune", "widen"]
    assert read.steps[-1].content == content_hash(again.state_dict())
    x = torch.randn(5, 4)
    assert torch.equal(model(x), again(x))
    assert [p.name for p in path.parent.iterdir()] == ["model.safetensors"]


def test_parameters_are_a_copy():
    parameters = {"keep": [1]}
    history = History().add("prune", parameters, fresh())
    parameters["keep"].append(2)
    assert history.steps[0].parameters == {"keep": [1]}
    with pytest.raises(ValueError, match="JSON"):
        history.add("x", {"a": object()}, fresh())


def test_unknown_transformation(tmp_path):
    _, history = pruned()
    with pytest.raises(ValueError, match="step 1: unknown transformation 'prune'; did you mean 'prune_'"):
        history.replay(fresh(), {"prune_": prune})


@pytest.mark.parametrize("keep", [0, 3, 8, 100, -1])
def test_truncated_file(tmp_path, keep):
    model, history = pruned()
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, history, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.safetensors: truncated or no safetensors file"):
        load_state(path)


def test_other_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"b\.safetensors"):
        load_state(tmp_path / "b.safetensors")
    save_file({"weight": torch.ones(2)}, tmp_path / "foreign.safetensors")
    state, history = load_state(tmp_path / "foreign.safetensors")
    assert history == History()
    assert list(state) == ["weight"]
    with pytest.raises(ValueError, match="format 1, got 2"):
        History.from_json({"format": 2})
    with pytest.raises(ValueError, match="format 1, got list"):
        History.from_json([])


def test_every_difference_is_listed(tmp_path):
    model, _ = pruned()
    path = tmp_path / "model.safetensors"
    save_checkpoint(model, History(), path)
    with pytest.raises(ValueError) as caught:
        load_checkpoint(fresh(), path)
    message = str(caught.value)
    assert "0.weight: expected [6, 4], got [3, 4]" in message
    assert "2.weight: expected [2, 6], got [2, 3]" in message
    assert "unexpected 3.weight [7, 2]" in message


def test_content_hash_sees_every_part():
    base = {"a": torch.arange(4.0), "b": torch.ones(2, dtype=torch.int16)}
    variants = [
        base,
        {"a": torch.arange(4.0).reshape(2, 2), "b": base["b"]},
        {"a": torch.arange(4.0) + 1, "b": base["b"]},
        {"a": base["a"].int(), "b": base["b"]},
        {"c": base["a"], "b": base["b"]},
    ]
    assert len({content_hash(v) for v in variants}) == len(variants)
    assert content_hash({"b": base["b"], "a": base["a"]}) == content_hash(base)
    assert content_hash({"s": torch.tensor(3), "e": torch.zeros(0)})
    transposed = torch.arange(6.0).reshape(2, 3).T
    assert content_hash({"x": transposed}) == content_hash({"x": transposed.contiguous()})
