"""Makes `import torchvision` work beside any torch, for instance a CPU-only one.

torchvision's Python code refuses to import where its compiled operators do not load (`operator torchvision::nms does
not exist`), as happens when a CUDA build of torchvision meets a CPU build of torch. Data sets, transforms and models
need none of those operators, so it is enough to declare the ones the import asks for. `nms` gets a real CPU kernel.
Operators without a kernel here (`ps_roi_pool`, image decoding) go on raising torchvision's own error.
"""

import importlib
import importlib.machinery
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_NMS_OPERATORS = ("nms", "qnms")


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression with the semantics of `torchvision.ops.nms`.

    Args:
        boxes: [N, 4] as (x1, y1, x2, y2), x1 <= x2, y1 <= y2.
        scores: [N].
        iou_threshold: a box is dropped when its intersection over union with a kept, better one is greater.

    Returns:
        int64 [K], indices of the kept boxes, best score first (ties: lower index first).

    Raises:
        ValueError: shapes do not agree.
    """
    if boxes.dim() != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise ValueError(f"nms: expected boxes [N, 4] and scores [N], got {list(boxes.shape)} and {list(scores.shape)}")
    order = torch.argsort(scores, descending=True, stable=True)
    sorted_boxes = boxes[order].double()
    areas = (sorted_boxes[:, 2:] - sorted_boxes[:, :2]).prod(dim=1)
    kept: list[Tensor] = []
    alive = torch.arange(len(order))
    while len(alive):
        best, rest = alive[0], alive[1:]
        kept.append(order[best])
        top_left = torch.maximum(sorted_boxes[best, :2], sorted_boxes[rest, :2])
        bottom_right = torch.minimum(sorted_boxes[best, 2:], sorted_boxes[rest, 2:])
        overlap = (bottom_right - top_left).clamp(min=0).prod(dim=1)
        iou = overlap / (areas[best] + areas[rest] - overlap)
        alive = rest[~(iou > iou_threshold)]  # a 0/0 of empty boxes is NaN and keeps the box, as torchvision does
    return torch.stack(kept) if kept else order


def compiled_operators_load() -> bool:
    """True where torchvision's compiled operators load beside this torch. Does not import torchvision.

    Raises:
        ImportError: torchvision is not installed.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ImportError("torchvision is not installed: run `pip install torchvision`")
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        library = Path(spec.origin).with_name("_C" + suffix)
        if library.is_file():
            try:
                torch.ops.load_library(library)
            except OSError:  # a library it wants (CUDA, another torch) is missing or has other symbols
                return False
            return True
    return False


def _declare(library: torch.library.Library) -> None:
    for name in _NMS_OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SCHEMA)
            library.impl(name, nms, "CPU")


@cache
def import_torchvision() -> ModuleType:
    """Imports torchvision, declaring the missing operators first where its compiled ones do not load.

    Returns:
        The module `torchvision`.

    Raises:
        ImportError: torchvision is not installed.
    """
    if compiled_operators_load():
        return importlib.import_module("torchvision")
    library = torch.library.Library("torchvision", "FRAGMENT")
    _declare(library)
    torchvision = importlib.import_module("torchvision")
    boxes = importlib.import_module("torchvision.ops.boxes")
    boxes._assert_has_ops = lambda: None  # type: ignore[attr-defined]  # its nms now has a kernel
    torchvision._picojoule_operators = library  # type: ignore[attr-defined]  # lives as long as the module
    return torchvision
