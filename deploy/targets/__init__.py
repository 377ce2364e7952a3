"""Devices and how to build for them: a registry of targets by name."""

from deploy.targets.aarch64 import Aarch64
from deploy.targets.base import Artifact as Artifact
from deploy.targets.base import Check as Check
from deploy.targets.base import Sizes as Sizes
from deploy.targets.base import Target as Target
from deploy.targets.cortex_m4 import CortexM4
from deploy.targets.x86_64 import X8664

TARGETS: dict[str, type[Target]] = {kind.name: kind for kind in (CortexM4, X8664, Aarch64)}


def target(name: str) -> Target:
    """A target by name, with its usual settings.

    Raises:
        ValueError: there is no such target.
    """
    if name not in TARGETS:
        raise ValueError(f"unknown target {name!r}, expected one of {', '.join(TARGETS)}")
    return TARGETS[name]()
