"""Batch-norm statistics of the pruned network instead of the original's.

After a cut the running mean and variance are still those of sums over all channels. Forward passes over training
data, without any training, give the right ones and win back much of the accuracy (Li, Wu, Su, Wang, "EagleEye: Fast
Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020, arXiv 2007.02491).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from pruning.criteria.base import Batches


def reestimate_batch_norm(model: nn.Module, batches: Batches) -> int:
    """Replace running statistics by the averages over some batches, each batch counting the same; in place.

    Only batch norms run in training mode meanwhile, so that dropout is off; every mode and momentum is restored, and
    so are the old statistics if anything fails.

    Args:
        model: the network.
        batches: (inputs, targets) pairs, inputs a tensor [N, ...] or a tuple of them; targets are not looked at.

    Returns:
        How many batch norms have new statistics; layers that keep none are left alone.

    Raises:
        ValueError: there are no batches.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    if not norms:
        return 0
    modes = [(module, module.training) for module in model.modules()]
    momenta = [norm.momentum for norm in norms]
    before = [copy.deepcopy(dict(norm.named_buffers())) for norm in norms]
    device = next(iter(norms[0].buffers())).device
    try:
        model.eval()
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # the average over all batches
        _pass_over(model, batches, device)
    except BaseException:
        for norm, buffers in zip(norms, before, strict=True):
            norm.load_state_dict({**norm.state_dict(), **buffers})
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        for module, training in modes:
            module.training = training
    return len(norms)


def _pass_over(model: nn.Module, batches: Batches, device: torch.device) -> None:
    empty = True
    with torch.no_grad():
        for inputs, _ in batches:
            tensors = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
            model(*(tensor.to(device) for tensor in tensors))
            empty = False
    if empty:
        raise ValueError("reestimate_batch_norm needs at least one batch of (inputs, targets); there is none")
