"""Real data sets, unpacked once per session; a little trained network; commands run in this process."""

import itertools
import json
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from approx import Recipe, Trainer
from picojoule.cli import app
from picojoule.config import DataConfig
from picojoule.data import load_data
from picojoule.models import make_model


@pytest.fixture(scope="session")
def unpacked(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data root with CIFAR-10 and MNIST."""
    root = tmp_path_factory.mktemp("data")
    for name in ("cifar10", "mnist"):
        subprocess.run([sys.executable, shared_data / "unpack.py", name, root], check=True, capture_output=True)
    return root


@pytest.fixture(scope="session")
def demo_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """demo-cnn, trained on the digits for two epochs."""
    torch.manual_seed(0)
    model = make_model("demo-cnn")
    recipe = Recipe(epochs=2, learning_rate=0.1, distillation=0.0)
    for _ in Trainer(model, recipe).run(load_data(DataConfig(name="digits")).train_loader(64)):
        pass
    path = tmp_path_factory.mktemp("weights") / "demo.safetensors"
    save_file(model.state_dict(), path)
    return path


@pytest.fixture
def command() -> Callable[..., dict[str, Any]]:
    """Runs a command in this process; gives its JSON."""

    def run(*arguments: object) -> dict[str, Any]:
        result = CliRunner().invoke(app, [*map(str, arguments), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.strip().splitlines()[-1])

    return run


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a command and presses Ctrl-C when a function of ours is called for the so-many-th time."""

    def run(where: str, call: int, *arguments: object) -> None:
        real, calls = pkgutil.resolve_name(where), itertools.count(1)

        def stop(*args: Any, **keywords: Any) -> Any:
            if next(calls) == call:
                raise KeyboardInterrupt
            return real(*args, **keywords)

        with monkeypatch.context() as patch:
            patch.setattr(where, stop)
            assert CliRunner().invoke(app, [*map(str, arguments)]).exit_code == 130

    return run
