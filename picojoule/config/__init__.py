"""Configuration of a run: typed sections read from TOML, every mistake reported with its line."""

from picojoule.config.dumping import to_toml
from picojoule.config.loading import load_config, parse_config
from picojoule.config.sections import (
    DataConfig,
    DeployConfig,
    EnergyConfig,
    ModelConfig,
    PruneConfig,
    QuantiseConfig,
    RetrainConfig,
    RunConfig,
    Section,
    SelectConfig,
    ToleranceConfig,
    TrainConfig,
)
from picojoule.errors import ConfigError

__all__ = [
    "ConfigError",
    "DataConfig",
    "DeployConfig",
    "EnergyConfig",
    "ModelConfig",
    "PruneConfig",
    "QuantiseConfig",
    "RetrainConfig",
    "RunConfig",
    "Section",
    "SelectConfig",
    "ToleranceConfig",
    "TrainConfig",
    "load_config",
    "parse_config",
    "to_toml",
]
