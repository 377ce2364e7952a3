"""`Tolerance`: how much error each layer bears, and how that was learnt.

    {"version": 1, "method": "agn", "parameters": {"strength": 0.2, ...},
     "layers": {"conv1": {"relative": [0.04], "absolute": [0.013]}, ...}}

One number per layer, or one per output channel; null stands for "any error" (a channel nothing depends on).
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from approx.documents import read_document
from noise_models.prediction import FloatArray

VERSION = 1


@dataclass(frozen=True, eq=False)
class LayerTolerance:
    """Std of the error one layer bears.

    Attributes:
        relative: float64 [1] or [C], >= 0, divided by the std of the layer's output before the bias (all channels).
        absolute: the same in real output units.
    """

    relative: FloatArray
    absolute: FloatArray

    def __post_init__(self) -> None:
        for name in ("relative", "absolute"):
            values = getattr(self, name)
            if values.ndim != 1 or values.shape != self.absolute.shape or not (values >= 0).all():
                raise ValueError(f"{name} tolerance must be one number >= 0, or one per channel, got {values!r}")

    @classmethod
    def of_relative(cls, relative: FloatArray | float, output_std: float) -> "LayerTolerance":
        """From the relative std and the std of the layer's output."""
        values = np.atleast_1d(np.asarray(relative, dtype=np.float64))
        return cls(values, values * output_std)

    @classmethod
    def of_absolute(cls, absolute: FloatArray | float, output_std: float) -> "LayerTolerance":
        """From the std in real output units and the std of the layer's output."""
        values = np.atleast_1d(np.asarray(absolute, dtype=np.float64))
        return cls(values / max(output_std, np.finfo(float).tiny), values)

    @property
    def level(self) -> float:
        """Relative std that, the same in all channels, uses the tolerance up: (mean of 1 / relative^2)^(-1/2)."""
        with np.errstate(divide="ignore"):
            return float(np.sqrt(1.0 / np.mean(self.relative**-2.0)))

    def usage(self, std: FloatArray) -> float:
        """Share of what the layer bears that an error uses up: mean over channels of (std / tolerance)^2.

        With one number per layer this is (root mean square std / tolerance)^2. An error in a channel that bears none is
        infinitely much.

        Args:
            std: float64 [C], real output units.
        """
        return float(np.sum(self.usage_by_channel(std)))

    def usage_by_channel(self, std: FloatArray) -> FloatArray:
        """What each channel adds to `usage`, float64 [C]."""
        ratio = np.zeros(std.shape)
        with np.errstate(divide="ignore"):
            np.divide(std, self.absolute, out=ratio, where=std > 0)
        return ratio**2 / len(std)


@dataclass(frozen=True, eq=False)
class Tolerance:
    """What every layer bears.

    Attributes:
        method: how it was learnt, e.g. "agn" or "fisher".
        parameters: of the method.
        layers: by layer name, in execution order.
    """

    method: str
    parameters: Mapping[str, float | int | str]
    layers: Mapping[str, LayerTolerance]

    def __getitem__(self, layer: str) -> LayerTolerance:
        if layer not in self.layers:
            raise ValueError(f"the tolerance ({self.method}) has no layer {layer!r}; it has {list(self.layers)}")
        return self.layers[layer]

    def scaled(self, factor: float) -> "Tolerance":
        """Every layer's tolerance times a positive factor."""
        if not 0 < factor < math.inf:
            raise ValueError(f"a tolerance can be scaled by a positive factor, got {factor!r}")
        layers = {name: LayerTolerance(t.relative * factor, t.absolute * factor) for name, t in self.layers.items()}
        return Tolerance(self.method, {**self.parameters, "scale": factor}, layers)

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the file."""
        return {
            "version": VERSION,
            "method": self.method,
            "parameters": dict(self.parameters),
            "layers": {
                name: {"relative": _to_list(t.relative), "absolute": _to_list(t.absolute)}
                for name, t in self.layers.items()
            },
        }

    def save(self, path: Path | str) -> None:
        """Write the JSON file."""
        Path(path).write_text(json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")

    @classmethod
    def from_json(cls, document: Any, source: str = "tolerance") -> "Tolerance":
        """Build from the JSON object.

        Raises:
            ValueError: wrong version, missing or unknown key, impossible value; says where.
        """
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise ValueError(f'{source}: expected a tolerance file with "version": {VERSION}')
        if set(document) != {"version", "method", "parameters", "layers"}:
            raise ValueError(f"{source}: expected the keys version, method, parameters, layers, got {sorted(document)}")
        if not isinstance(document["layers"], dict) or not isinstance(document["parameters"], dict):
            raise ValueError(f"{source}: 'layers' and 'parameters' must be objects")
        layers = {name: _layer(entry, f"{source}, layer {name!r}") for name, entry in document["layers"].items()}
        return cls(str(document["method"]), document["parameters"], layers)

    @classmethod
    def load(cls, path: Path | str) -> "Tolerance":
        """Read the JSON file.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not JSON, or not a tolerance; says where.
        """
        return cls.from_json(read_document(path), str(path))


def _to_list(values: FloatArray) -> list[float | None]:
    return [float(v) if math.isfinite(v) else None for v in values]


def _layer(entry: Any, where: str) -> LayerTolerance:
    if not isinstance(entry, dict) or set(entry) != {"relative", "absolute"}:
        raise ValueError(f'{where}: expected {{"relative": [...], "absolute": [...]}}, got {entry!r}')
    parts = [_from_list(entry[key], f"{where}, {key}") for key in ("relative", "absolute")]
    try:
        return LayerTolerance(*parts)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _from_list(values: Any, where: str) -> FloatArray:
    ok = isinstance(values, list) and values and all(v is None or isinstance(v, int | float) for v in values)
    if not ok:
        raise ValueError(f"{where}: expected a list of numbers (null for any error), got {values!r}")
    return np.array([math.inf if v is None else v for v in values], dtype=np.float64)
