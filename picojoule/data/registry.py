"""Data sets by name, and where they lie."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from picojoule.config import DataConfig
from picojoule.data.digits import load_digits
from picojoule.data.distortion import distorted
from picojoule.data.splits import DataSplits
from picojoule.data.vision import load_cifar10, load_mnist
from picojoule.errors import did_you_mean
from picojoule.user_code import import_factory

DataFactory = Callable[[DataConfig, Path], DataSplits]
ROOT_VARIABLE = "PICOJOULE_DATA"
_FACTORIES: dict[str, DataFactory] = {"digits": load_digits, "cifar10": load_cifar10, "mnist": load_mnist}


def register_data(name: str) -> Callable[[DataFactory], DataFactory]:
    """Decorator: makes a function (config, root) -> DataSplits known by a name.

    Raises:
        ValueError: the name is taken.
    """

    def register(factory: DataFactory) -> DataFactory:
        if name in _FACTORIES:
            raise ValueError(f"data set {name!r} is already registered; choose another name")
        _FACTORIES[name] = factory
        return factory

    return register


def data_names() -> tuple[str, ...]:
    """Names of the registered data sets."""
    return tuple(sorted(_FACTORIES))


def data_root(config: DataConfig) -> Path:
    """Folder of downloaded data: the configuration's, otherwise $PICOJOULE_DATA, otherwise "data"."""
    return data_folders(config.root)[0]


def data_folders(root: str | None) -> tuple[Path, ...]:
    """Where published weights and circuit tables are looked for: the data root, then `../shared/data`."""
    return Path(root or os.environ.get(ROOT_VARIABLE) or "data").expanduser(), Path("../shared/data")


def load_data(config: DataConfig) -> DataSplits:
    """Loads a data set with its fixed split.

    Args:
        config: name (registered, or "package.module:factory" whose factory takes `options` and returns DataSplits),
            root, download permission and split.

    Raises:
        ValueError: unknown name; missing files that may not be downloaded; a split that is too large.
    """
    if ":" in config.name:
        splits = import_factory(config.name)(**config.options)
        if not isinstance(splits, DataSplits):
            raise ValueError(f"{config.name}: expected a DataSplits, got {type(splits).__name__}")
    elif config.name in _FACTORIES:
        splits = _FACTORIES[config.name](config, data_root(config))
    else:
        hint = did_you_mean(config.name, _FACTORIES)
        raise ValueError(f"unknown data set {config.name!r}{hint} (or package.module:factory)")
    validation = distorted(splits.validation, config.validation_magnitude, config.split_seed)
    return replace(splits, validation=validation, test=splits.test.take(slice(config.test_images)))
