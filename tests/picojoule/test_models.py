import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from approx import Assignment, Choice, quantise
from deploy.build import build
from deploy.interpreter import run
from deploy.workload import workloads_of_module
from multipliers import generate
from picojoule.config import DataConfig, load_config
from picojoule.data import Loader, load_data
from picojoule.models import (
    check_input,
    load_weights,
    make_model,
    model_entry,
    model_names,
    published,
    published_weights,
    register_model,
)

EXAMPLES = Path(__file__).parents[2] / "examples"
PARAMETERS = {8: 75290, 14: 172506, 20: 269722, 32: 464154, 44: 658586, 56: 853018}


@pytest.mark.parametrize("depth", PARAMETERS)
def test_cifar_resnets_have_the_published_size(depth):
    model = make_model(f"resnet{depth}")
    assert sum(p.numel() for p in model.parameters()) == PARAMETERS[depth]
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in model.modules()) == depth
    assert check_input(model, (3, 32, 32), name=f"resnet{depth}", classes=10) == 10


# Parameters, multiplications: VGG16 and MobileNetV2 as in the literature for CIFAR-10 (14.7 M and 313 M; 2.24 M and
# 88 M), ViT-Tiny by hand: 12 blocks of 12 w^2 + 13 w parameters; 65 tokens, 64 patches.
SIZES = {
    "vgg16_bn_cifar": (14_724_042, 313_201_664),
    "mobilenet_v2_cifar": (2_236_682, 87_976_448),
    "vit_tiny": (
        12 * (12 * 192**2 + 13 * 192) + (48 + 1) * 192 + (1 + 65) * 192 + 2 * 192 + (192 + 1) * 10,
        12 * (65 * 12 * 192**2 + 2 * 65**2 * 192) + 64 * 48 * 192 + 1920,
    ),
}


@pytest.mark.parametrize("name", SIZES)
def test_cifar_networks_have_the_published_size(name):
    model = make_model(name)
    parameters, macs = SIZES[name]
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert sum(work.macs for work in workloads_of_module(model, (3, 32, 32))) == macs
    assert check_input(model, (3, 32, 32), name=name, classes=10) == 10


def test_mobilenet_keeps_the_size_until_the_third_stage():
    model, sizes = make_model("mobilenet_v2_cifar"), []
    for block in model.blocks:
        block.register_forward_hook(lambda _, inputs, output: sizes.append(output.shape[2]))
    model(torch.zeros(1, 3, 32, 32))
    assert sizes == 3 * [32] + 3 * [16] + 7 * [8] + 4 * [4]
    assert sum(block.adds for block in model.blocks) == 10


# As training would leave them: moments of batch normalisation that fit, and linear layers that say something.
@pytest.mark.parametrize(
    ("name", "options"), [("vgg16_bn_cifar", {}), ("mobilenet_v2_cifar", {}), ("vit_tiny", {"depth": 2})]
)
def test_cifar_networks_quantise_and_take_circuits(name, options):
    torch.manual_seed(0)
    model, images = make_model(name, **options), torch.randn(8, 3, 32, 32)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
        wanted = model.eval()(images)
        network = quantise(model, [images])
        found = network(images)
        both = torch.stack([v - v.mean(0) for v in (found, wanted)]).flatten(1)
        assert torch.corrcoef(both)[0, 1] > 0.5  # of random weights in up to 53 layers
        assert torch.equal(network(images[3:4]), found[3:4])
        if name != "vit_tiny":  # programs have no products of two activations
            program, scale = build(network), list(network.operations())[-1].output.scale
            codes = run(program, program.quantise_input(images[:2].numpy()), kernels="fast")
            assert (codes == torch.round(found[:2] / scale).numpy()).all()
        assert list(network.multiplying()) == [work.name for work in workloads_of_module(model, (3, 32, 32))]
        circuit = generate("mul8u_drum4")
        network.assign(Assignment({"*": Choice(circuit.name)}), {circuit.name: circuit})
        assert not torch.equal(network(images), found)


def test_vit_takes_images_of_other_sizes():
    model = make_model("vit_tiny", size=8, patch=2, channels_in=1, width=24, depth=1, heads=2, num_classes=7)
    assert model(torch.zeros(3, 1, 8, 8)).shape == (3, 7)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_examples_are_valid_and_name_known_models(path):
    config = load_config(path)
    assert config.name == path.stem
    assert model_entry(config.model.name).input_shape == (3, 32, 32)
    make_model(config.model.name, **config.model.options)
    assert (config.model.weights == "published") != (config.train is not None)


def test_option_a_shortcut():
    shortcut = make_model("resnet8").layer2[0].shortcut
    x = torch.randn(2, 16, 8, 8)
    y = shortcut(x)
    assert y.shape == (2, 32, 4, 4)
    assert torch.equal(y[:, 8:24], x[:, :, ::2, ::2])
    assert not y[:, :8].any()
    assert not y[:, 24:].any()


@pytest.mark.parametrize("name", ["resnet8", "demo-cnn"])
def test_exportable(name):
    shape = model_entry(name).input_shape
    model = make_model(name)
    x = torch.randn(1, *shape)
    assert torch.equal(torch.export.export(model, (x,)).module()(x), model(x))


@pytest.mark.parametrize(("depth", "file"), [(20, "resnet20-12fca82f.th"), (56, "resnet56-4bfd9763.th")])
def test_published_weights(shared_data, tmp_path, depth, file):
    path = published_weights(f"resnet{depth}", [tmp_path, shared_data])
    assert path == shared_data / "weights" / file
    model = make_model(f"resnet{depth}")
    load_weights(model, path)
    assert float(model.conv1.weight.detach().abs().sum()) > 0


def test_published_accuracy(shared_data, unpacked):
    """455 of the first 500 test images; 9,173 of all 10,000 (test_published_accuracy_whole)."""
    model = make_model("resnet20")
    load_weights(model, published_weights("resnet20", [shared_data]))
    test = load_data(DataConfig(name="cifar10", root=str(unpacked))).test
    with torch.inference_mode():
        x, y = test[:500]
        assert abs(int((model(x).argmax(1) == y).sum()) - 455) <= 1


@pytest.mark.slow
def test_published_accuracy_whole(shared_data, unpacked):
    test = load_data(DataConfig(name="cifar10", root=str(unpacked))).test
    for name, expected in (("resnet20", 9173), ("resnet56", 9339)):
        model = make_model(name)
        load_weights(model, published_weights(name, [shared_data]))
        with torch.inference_mode():
            correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in Loader(test, 250))
        assert abs(correct - expected) <= 2


def test_published_weights_missing_damaged_or_none(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="has no published weights"):
        published_weights("demo-cnn", [tmp_path])
    with pytest.raises(ValueError, match=r"resnet20-12fca82f\.th: not in .*download=true.*github\.com"):
        published_weights("resnet20", [tmp_path])
    (tmp_path / "resnet20-12fca82f.th").write_bytes(b"x")
    with pytest.raises(ValueError, match="SHA-256 should begin with 12fca82f"):
        published_weights("resnet20", [tmp_path])


def test_download(tmp_path, monkeypatch):
    """Through a file: address, so that the real code runs without a network."""
    source = tmp_path / f"net-{hashlib.sha256(b'weights').hexdigest()[:8]}.th"
    source.write_bytes(b"weights")
    entry = model_entry("resnet20")
    changed = replace(entry, weights=replace(entry.weights, url=source.as_uri()))
    monkeypatch.setattr(published, "model_entry", lambda name: changed)
    path = published_weights("resnet20", [tmp_path / "root"], download=True)
    assert path == tmp_path / "root" / "weights" / source.name
    assert path.read_bytes() == b"weights"
    path.unlink()
    source.write_bytes(b"other")
    with pytest.raises(ValueError, match="damaged"):
        published_weights("resnet20", [tmp_path / "root"], download=True)
    source.unlink()
    with pytest.raises(ValueError, match="cannot be downloaded"):
        published_weights("resnet20", [tmp_path / "root"], download=True)
    assert list(path.parent.iterdir()) == []


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_demo_cnn_learns_the_digits_quickly(one_thread):
    torch.manual_seed(0)
    model = make_model("demo-cnn")
    assert sum(p.numel() for p in model.parameters()) == 21450
    assert sum(isinstance(m, nn.Conv2d) for m in model.modules()) == 5
    splits = load_data(DataConfig(name="digits"))
    loader = splits.train_loader(64)
    epochs = 12
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=epochs * len(loader))
    model.train()
    for _ in range(epochs):
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.inference_mode():
        correct = sum(int((model(x).argmax(1) == y).sum()) for x, y in Loader(splits.test, 90))
    assert correct / len(splits.test) > 0.975


def test_weight_files(tmp_path):
    model = make_model("demo-cnn")
    state = model.state_dict()
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "a.th")
    torch.save(state, tmp_path / "b.pt")
    save_file(state, tmp_path / "c.safetensors")
    for file in ("a.th", "b.pt", "c.safetensors"):
        other = make_model("demo-cnn")
        load_weights(other, tmp_path / file)
        assert all(torch.equal(a, b) for a, b in zip(state.values(), other.state_dict().values(), strict=True))


def test_bad_weight_files(tmp_path):
    model = make_model("demo-cnn")
    state = {n: t for n, t in model.state_dict().items() if n != "linear.weight"}
    torch.save(state | {"stem.0.weight": torch.zeros(3, 3)}, tmp_path / "shape.pt")
    with pytest.raises(ValueError) as caught:
        load_weights(model, tmp_path / "shape.pt")
    assert r"stem.0.weight: expected [16, 1, 3, 3], got [3, 3]" in str(caught.value)
    assert "missing linear.weight [10, 32]" in str(caught.value)
    torch.save(model, tmp_path / "pickled.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    (tmp_path / "empty.pt").write_bytes(b"")
    torch.save(model.state_dict(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:-500])
    (tmp_path / "x.h5").write_bytes(b"")
    save_file(model.state_dict(), tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-1])
    for file, message in {
        "pickled.pt": "no file of tensors only",
        "list.pt": "expected a state_dict",
        "junk.pt": "truncated, or no file of tensors only",
        "empty.pt": "truncated, or no file of tensors only",
        "cut.pt": "truncated, or no file of tensors only",
        "x.h5": r"kind \.safetensors, \.th",
        "cut.safetensors": "truncated or no safetensors",
    }.items():
        with pytest.raises(ValueError, match=message) as caught:
            load_weights(model, tmp_path / file)
        assert file in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError):
        load_weights(model, tmp_path / "none.pt")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("legacy", [False, True])
def test_damaged_torch_files_never_surprise(tmp_path, legacy):
    """Cut or changed anywhere, a file loads or is refused by its name; it never raises anything else."""
    model, path = nn.Linear(2, 2), tmp_path / "w.pt"
    torch.save(model.state_dict(), path, _use_new_zipfile_serialization=not legacy)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        damaged[random.integers(len(damaged))] = random.integers(256)
        path.write_bytes(damaged)
        try:
            load_weights(model, path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 200


def test_names():
    assert {"resnet20", "demo-cnn"} <= set(model_names())
    assert make_model("mobilenet_v3_small", num_classes=7)(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    for name, message in (
        ("resnet21", "did you mean 'resnet"),
        ("zzzzzz", "registered: demo-cnn"),
        ("raft_large", "unknown model"),
    ):
        with pytest.raises(ValueError, match=message):
            make_model(name)
    with pytest.raises(ValueError, match=r"options \['classes'\] do not fit"):
        make_model("resnet20", classes=3)
    with pytest.raises(ValueError, match="already registered"):
        register_model("resnet20", input_shape=(1, 1, 1))(nn.Identity)


def test_the_users_own_model(tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text(
        "from torch import nn\ndef make(n=2):\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, n))\n"
        "def wrong():\n    return 1\ndef broken(n=1):\n    import no_such_package\n"
    )
    monkeypatch.chdir(tmp_path)
    model = make_model("my_model:make", n=5)
    assert check_input(model, (3, 2, 2), name="my_model:make") == 5
    with pytest.raises(ValueError, match=r"my_model:make: images of 3x3x3 .* do not fit: mat1"):
        check_input(model, (3, 3, 3), name="my_model:make")
    with pytest.raises(ValueError, match="5 class scores, the data has 10"):
        check_input(model, (3, 2, 2), classes=10)
    with pytest.raises(ValueError, match=r"expected class scores \[1, classes\] for one image, got \[1, 3, 2, 2\]"):
        check_input(nn.Identity(), (3, 2, 2))
    with pytest.raises(ValueError, match=r"torch\.nn\.Module, got int"):
        make_model("my_model:wrong")
    with pytest.raises(ValueError, match="factory failed with ModuleNotFoundError: No module named 'no_such_package'"):
        make_model("my_model:broken")


def test_what_fails_in_the_users_own_factory_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "own_broken.py").write_text("def make():\n    raise RuntimeError('no such file\\nat all')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"failed with RuntimeError: no such file \(.*own_broken.py, line 2\)$"):
        make_model("own_broken:make")


def test_half_precision_is_named():
    with pytest.raises(ValueError, match=r"expected parameters of torch.float32, got torch.float16; .*model.float\(\)"):
        check_input(make_model("demo-cnn").half(), (1, 8, 8))


def test_wrong_image_size():
    model = make_model("resnet20").train()
    with pytest.raises(ValueError, match=r"resnet20: images of 3x28x28 .* do not fit; it takes 3x32x32"):
        check_input(model, (3, 28, 28), name="resnet20")
    check_input(model, (3, 32, 32))
    assert model.training
    assert int(model.bn1.num_batches_tracked) == 0
