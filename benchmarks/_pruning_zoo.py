"""The networks of `benchmarks.pruning_coverage`: every torchvision classifier and segmenter, with random weights.

Weights and the affine parameters of batch norms are random and seeded, layer scales that start at 1e-6 are not small,
and batch norms have the statistics of random images: a channel that is removed wrongly then shows in the output.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from picojoule.torchvision_ops import import_torchvision

torchvision = import_torchvision()
QUICK = ("squeezenet1_1", "shufflenet_v2_x0_5", "resnet18")
SMALLEST_SIDE = 64  # two pixels are left after the usual five halvings
SIDES = {
    "alexnet": 96,  # 64 leaves nothing for its last pooling
    "inception_v3": 128,  # five unpadded reductions
    "maxvit_t": 224,  # its windows of 7 must divide every stage
    **dict.fromkeys(("swin_t", "swin_s", "swin_b"), 224),  # smaller stages are padded to windows of 7, which cost most
    **dict.fromkeys(("swin_v2_t", "swin_v2_s", "swin_v2_b"), 256),  # the same, windows of 8
    **dict.fromkeys(("vit_b_32", "vit_l_32"), 128),  # 4 x 4 patches, as the other vision transformers have
    "vit_h_14": 56,
}
IMAGES = 8  # with the statistics of fewer, deep networks enlarge their own rounding
SCALE_NAMES = ("layer_scale", "gamma")


@dataclass(frozen=True)
class Network:
    """One network of the list.

    Attributes:
        name: in torchvision's registry.
        side: height and width of its input.
        options: for its builder.
    """

    name: str
    side: int
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Channels of its output."""
        return 21 if "weights_backbone" in self.options else 1000

    def build(self, seed: int = 0) -> tuple[nn.Module, Tensor]:
        """The network in evaluation mode and an input [1, 3, side, side]."""
        torch.manual_seed(seed)
        model = torchvision.models.get_model(self.name, weights=None, **self.options).eval()
        enliven(model, torch.randn(IMAGES, 3, self.side, self.side))
        return model, torch.randn(1, 3, self.side, self.side)


def enliven(model: nn.Module, images: Tensor) -> None:
    """Parameters that hide nothing, and batch norms with the statistics of these images; in place."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(SCALE_NAMES):
                parameter.uniform_(0.5, 1.5)
            elif parameter.ndim < 2 or not parameter.any():
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        if norms:
            model(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.eval()
            norm.momentum = momentum


def networks(names: Sequence[str] = ()) -> list[Network]:
    """The networks of these names, or of all; small ones first, so that an interrupted run has most of them.

    Raises:
        ValueError: torchvision has no classifier or segmenter of that name.
    """
    models = torchvision.models
    segmenters = set(models.list_models(module=models.segmentation))
    known = segmenters | set(models.list_models(module=models))
    unknown = sorted(set(names) - known)
    if unknown:
        raise ValueError(f"networks: torchvision has no classifiers or segmenters {unknown}; it has {sorted(known)}")

    def size(name: str) -> int:
        return max(weights.meta["num_params"] for weights in models.get_model_weights(name))

    found = []
    for name in sorted(names or known, key=lambda name: (size(name), name)):
        options: dict[str, Any] = {"weights_backbone": None} if name in segmenters else {}
        if name in ("googlenet", "inception_v3"):
            options = {"aux_logits": False, "init_weights": False}  # its own initialisation takes minutes
        side = SIDES.get(name, SMALLEST_SIDE)
        if name.startswith("vit_"):
            options = {"image_size": side}
        found.append(Network(name, side, options))
    return found
