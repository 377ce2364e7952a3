"""What a run was computed with: versions and processor. Holds no paths, user or host names."""

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from picojoule.code_version import code_version
from picojoule.files import Json

_PACKAGES = (
    "numpy",
    "torch",
    "torchvision",
    "safetensors",
    "scikit-learn",
    "apache-tvm",
    "apache-tvm-ffi",
    "onnx",
    "onnxruntime",
    "ziglang",
    "unicorn",
)


def environment() -> dict[str, Json]:
    """Versions of Python, our code and the packages that compute; processor, cores and threads."""
    return {
        "python": platform.python_version(),
        "picojoule": _version("picojoule"),
        "code": code_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
