"""One forward and one backward pass over calibration data, the gradient at every layer's response tapped.

The second order of the loss is the Fisher information J^T (diag p - p p^T) J of the prediction p, with J the derivative
of the scores. Its mean over drawn labels is right too, but an image whose label came out improbable then outweighs
hundreds of others. So the matrix is split, diag p - p p^T = S S^T with S = diag(sqrt p) - p sqrt(p)^T, and what is
propagated back is S r with random signs r (Hutchinson's probe, 1990): g = J^T S r has E[g g^T] the same, each image
counts by its own curvature, and one pass does.

A temperature above 1 flattens the prediction, which keeps a confident network from reporting next to no sensitivity.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import contextmanager

import torch
import torch.nn.functional as F

from approx import Arithmetic, QuantisedNetwork
from approx.training import check_labels
from noise_models.progress import Progress
from noise_models.sensitivity.temperature import fitting_temperature

Batches = Iterable[torch.Tensor | tuple[torch.Tensor, torch.Tensor]]
"""Images [N, C, H, W], or pairs (images, labels int64 [N])."""

Tap = Callable[[torch.Tensor], None]
"""Called with a layer's or matrix product's real response [N, ...] before the bias; it may register hooks there."""


def gradient_pass(
    network: QuantisedNetwork,
    taps: Mapping[str, Tap],
    batches: Batches,
    temperature: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> int:
    """The pass, in FAKE arithmetic; the network is left as it was.

    Args:
        network: calibrated.
        taps: by layer name; a recurrent layer calls its tap once a step.
        batches: where labels are given, the gradient is that of their cross entropy.
        temperature: divides the outputs before the loss; None: `fitting_temperature` of the first batch.
        seed: of the random signs.
        progress: called with (batches done, batches or 0 when unknown, text).

    Returns:
        How many images came.

    Raises:
        ValueError: no image came, images hold NaN or infinity, a label is out of range, or the temperature is not
            positive.
    """
    if temperature is not None and not 0 < temperature < float("inf"):
        raise ValueError(f"the temperature must be positive, got {temperature!r}")
    random, samples = torch.Generator().manual_seed(seed), 0
    steps = len(batches) if isinstance(batches, Sized) else 0
    with network.using(Arithmetic.FAKE), frozen(network), tapped(network, taps), torch.enable_grad():
        for step, batch in enumerate(batches):
            images, labels = batch if isinstance(batch, tuple | list) else (batch, None)
            check_images(images, step)
            scores = network(images)
            if not torch.isfinite(scores).all():
                raise ValueError(f"the outputs of batch {step + 1} hold NaN or infinity; check the network's weights")
            if temperature is None:
                temperature = fitting_temperature(scores.detach())
            scores = scores / temperature
            scores.backward(_probe(scores.detach(), random) if labels is None else _slope(scores.detach(), labels))
            samples += len(images)
            if progress is not None:
                progress(step + 1, steps, "sensitivity")
    if not samples:
        raise ValueError("measuring sensitivity needs at least one batch; the loader yielded nothing")
    return samples


def check_images(images: torch.Tensor, step: int) -> None:
    """Raises ValueError when batch number `step` (from 0) is empty or holds NaN or infinity.

    The network would clamp an infinity to the end of its range, and the loss stay finite.
    """
    if not len(images):
        raise ValueError(f"batch {step + 1} holds no images; drop it from the loader")
    bad = int((~torch.isfinite(images)).flatten(1).any(1).sum())
    if bad:
        raise ValueError(f"{bad} of {len(images)} images of batch {step + 1} hold NaN or infinity; check the data")


@contextmanager
def frozen(network: QuantisedNetwork) -> Iterator[None]:
    """Parameters need no gradient within the block."""
    wanted = [p for p in network.parameters() if p.requires_grad]
    for parameter in wanted:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in wanted:
            parameter.requires_grad_(True)


@contextmanager
def tapped(network: QuantisedNetwork, taps: Mapping[str, Tap]) -> Iterator[None]:
    """Layers call their taps within the block, in place of whatever perturbed them."""
    layers = network.multiplying()
    before = {name: layer.perturb for name, layer in layers.items()}
    for name, layer in layers.items():
        layer.perturb = _perturbation(taps[name]) if name in taps else None
    try:
        yield
    finally:
        for name, layer in layers.items():
            layer.perturb = before[name]


def _perturbation(tap: Tap) -> Callable[[torch.Tensor], torch.Tensor]:
    def perturb(response: torch.Tensor) -> torch.Tensor:
        if not response.requires_grad:
            response.requires_grad_()
        tap(response)
        return response

    return perturb


def _probe(scores: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """S r for each row of scores [N, F], see the module."""
    root = scores.softmax(1).sqrt()
    signs = root * (2.0 * torch.randint(2, root.shape, generator=random).to(root.device) - 1)
    return signs - root.square() * signs.sum(1, keepdim=True)


def _slope(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Derivative of the cross entropy of each row of scores [N, F]."""
    check_labels(labels, scores)
    return scores.softmax(1) - F.one_hot(labels.long(), scores.shape[1])
