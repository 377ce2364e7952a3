"""A plan rebuilds the small network: JSON, validation, surgery that keeps what belongs to the user."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from pruning import Plan, find_groups, prune, trace

NAMES = ["resnet", "concat", "grouped", "nhwc", "matmul"]


def half(grouping):
    return {group.name: tuple(range(0, group.size, 2)) for group in grouping.groups}


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_network_plan_and_state_dict_give_identical_outputs(build, image, tmp_path, name):
    result = prune(build(name), image, criterion="magnitude", macs=0.6)
    result.plan.save(tmp_path / "plan.json")
    torch.save(result.model.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(99)
    fresh = Plan.load(tmp_path / "plan.json").apply(type(build(name))())
    fresh.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    with torch.no_grad():
        assert torch.equal(fresh.eval()(image), result.model.eval()(image))


NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.loop, self.back = nn.Linear(8 * 36, 10), nn.Linear(10, 10)
        self.again, self.head = nn.Linear(10, 10), nn.Linear(10, 4)
        self.again.weight = self.back.weight

    def forward(self, x):
        x = torch.relu(self.depth(torch.relu(self.norm(self.stem(x)))))
        x = self.again(torch.relu(self.back(torch.relu(self.loop(x.flatten(1))))))
        return self.head(x)

x = torch.linspace(-1, 1, 384).view(2, 3, 8, 8)
"""
CUT = """
import pruning, torch
from network import Net, x
from safetensors.torch import save_file, save_model
torch.manual_seed(5)
result = pruning.prune(Net(), x, criterion="magnitude")
result.plan.save("plan.json")
save_model(result.model, "weights.safetensors")
save_file({"y": result.model.eval()(x).detach()}, "outputs.safetensors")
"""
RELOAD = """
import pruning, sys, torch
from network import Net, x
from safetensors.torch import load_file, load_model
model = pruning.Plan.load("plan.json").apply(Net()).eval()
load_model(model, "weights.safetensors")
assert torch.equal(model(x), load_file("outputs.safetensors")["y"])
assert model.again.weight is model.back.weight
print(model)
"""


def test_reload_in_a_fresh_process(tmp_path):
    """The user's factory, the plan and safetensors, in a process that never saw the pruning: bit for bit."""
    (tmp_path / "network.py").write_text(NETWORK)
    for code in (CUT, RELOAD):
        path = str(Path(__file__).resolve().parents[2])
        done = subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path[:0] = [{path!r}, {str(tmp_path)!r}]\n{code}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
    width = json.loads((tmp_path / "plan.json").read_text())["groups"]["depth"]
    assert width < 8 and f"Conv2d({width}, {width}," in done.stdout and f"in_features={36 * width}" in done.stdout


def test_json_round_trip(traced):
    grouping = find_groups(traced("grouped"))
    plan = Plan.from_kept(grouping, half(grouping))
    assert Plan.from_json(plan.to_json()) == plan
    assert plan.groups == (("depthwise", 4), ("many", 4))
    assert Plan.from_json(Plan().to_json()) == Plan()


def test_layer_attributes_follow(build, traced):
    grouping = find_groups(traced("grouped"))
    model = Plan.from_kept(grouping, half(grouping)).apply(build("grouped"))
    shown = [(m.in_channels, m.out_channels, m.groups) for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert shown == [(3, 4, 1), (4, 8, 4), (8, 12, 4), (12, 8, 1), (8, 6, 2)]
    assert (model.norm.num_features, model.head.in_features, model.head.out_features) == (8, 6, 5)


def test_what_belongs_to_the_user_survives(build, image):
    model = build("resnet").train()
    model.blocks[1].eval()
    model.conv1.weight.requires_grad_(False)
    calls = []
    model.blocks[0].register_forward_hook(lambda *args: calls.append(args[2].shape[1]))
    parameters = {name: id(p) for name, p in model.named_parameters()}
    modes = {name: m.training for name, m in model.named_modules()}
    model(image).sum().backward()
    gradient = model.blocks[2].conv1.weight.grad.clone()
    state = torch.get_rng_state()
    calls.clear()
    grouping = find_groups(trace(model, image))
    plan = Plan.from_kept(grouping, half(grouping))
    assert plan.apply(model) is model
    assert torch.equal(torch.get_rng_state(), state)
    assert {name: id(p) for name, p in model.named_parameters()} == parameters
    assert {name: m.training for name, m in model.named_modules()} == modes
    assert not model.conv1.weight.requires_grad and model.linear.weight.requires_grad
    kept = next(a.kept for a in plan.axes if (a.tensor, a.axis) == ("blocks.2.conv1.weight", 0))
    came = next(a.kept for a in plan.axes if (a.tensor, a.axis) == ("blocks.2.conv1.weight", 1))
    assert torch.equal(model.blocks[2].conv1.weight.grad, gradient[list(kept)][:, list(came)])
    calls.clear()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1, momentum=0.9)
    optimiser.zero_grad()
    F.cross_entropy(model(image), torch.tensor([0, 1])).backward()
    optimiser.step()
    assert calls == [4]


def test_tied_weights_stay_tied(build, image):
    result = prune(build("tied"), image, criterion="magnitude", macs=0.5)
    assert result.model.two.weight is result.model.one.weight
    assert result.model.one.weight.shape == result.model.two.weight.shape


def test_applying_twice_or_to_another_network_changes_nothing(build, traced):
    grouping = find_groups(traced("conv"))
    plan = Plan.from_kept(grouping, half(grouping))
    model = plan.apply(build("conv"))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"'features.0.weight'.*axis 0 of size 8.*\[4, 3, 3, 3\]"):
        plan.apply(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match=r"no parameter or buffer 'features.0.weight'"):
        plan.apply(build("nhwc"))
    with pytest.raises(ValueError, match="no convolution or group norm 'head'"):
        Plan((), (("head", 2),)).apply(build("nhwc"))


GOOD = {
    "format": "picojoule.pruning.plan",
    "version": 1,
    "axes": [{"tensor": "a", "axis": 0, "size": 4, "kept": [0, 2]}],
    "groups": {},
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "format"),
        ({"version": 2}, "version 1, got 2"),
        ({"extra": 1}, "keys"),
        ({"axes": {}}, "list"),
        ({"groups": {"a": "2"}}, "integer"),
        ({"groups": {"a": True}}, "integer"),
        ({"axes": [{"tensor": "a", "axis": 0, "size": 4}]}, r"axes\[0\]"),
        ({"axes": [{"tensor": 3, "axis": 0, "size": 4, "kept": [0]}]}, r"axes\[0\]"),
        ({"axes": [{"tensor": "a", "axis": 0, "size": 4, "kept": []}]}, "not empty"),
        ({"axes": [{"tensor": "a", "axis": 0, "size": 4, "kept": [2, 0]}]}, "ascending"),
        ({"axes": [{"tensor": "a", "axis": 0, "size": 4, "kept": [0, 0]}]}, "unique"),
        ({"axes": [{"tensor": "a", "axis": 0, "size": 4, "kept": [4]}]}, r"outside 0\.\.3"),
        ({"axes": [{"tensor": "a", "axis": 0, "size": 4, "kept": [-1]}]}, "outside"),
        ({"axes": [{"tensor": "a", "axis": 0, "size": 4, "kept": [0.5]}]}, "integer"),
        ({"axes": [{"tensor": "a", "axis": -1, "size": 4, "kept": [0]}]}, "axis >= 0"),
        ({"axes": GOOD["axes"] * 2}, "listed twice"),
    ],
)
def test_plans_are_validated_on_load(tmp_path, change, message):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**GOOD, **change}))
    with pytest.raises(ValueError, match=message) as error:
        Plan.load(path)
    assert str(path) in str(error.value)


def test_files_that_are_no_plan(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name in ("text", "binary", "absent"):
        with pytest.raises(ValueError, match=name):
            Plan.load(tmp_path / name)


@pytest.mark.parametrize("kept", [{"nope": (0,)}, {"conv": ()}, {"conv": (6,)}])
def test_bad_choices(kept, traced):
    with pytest.raises(ValueError, match="kept"):
        Plan.from_kept(find_groups(traced("nhwc")), kept)
