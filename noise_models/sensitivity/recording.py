"""What every layer saw and how the loss depends on it, image by image: what true errors are judged against."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch

from approx import QuantisedNetwork
from approx.multiplying import Multiplying
from noise_models.progress import Progress
from noise_models.sensitivity.gradient_pass import Batches, gradient_pass


@dataclass(eq=False)
class LayerRecord:
    """One layer, or product of two activations, on N images, by call.

    There is one call a batch, or one a step of a recurrent layer.

    Attributes:
        codes: of the activation or the two that were read, uint8 [R, ..., C] each; R images, or equally many rows of
            each image.
        gradients: of each image's loss at the real response before the bias, float32 [R, O, ...] each.
        images: numbers int64 [R] each, of the images the rows belong to.
    """

    codes: list[tuple[torch.Tensor, ...]] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)
    images: list[torch.Tensor] = field(default_factory=list)

    def tap(self, response: torch.Tensor) -> None:
        """Keeps the gradient of this call when it comes; gradients come in another order than calls."""
        call = len(self.gradients)
        self.gradients.append(torch.empty(0))

        def keep(gradient: torch.Tensor) -> None:
            self.gradients[call] = gradient

        response.register_hook(keep)


def record(
    network: QuantisedNetwork,
    batches: Batches,
    temperature: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[dict[str, LayerRecord], int]:
    """One gradient pass. Keeps a byte for every activation a layer reads and four for every one it writes.

    Args:
        network: calibrated; left as it was.
        batches, temperature, seed, progress: as `gradient_pass`.

    Returns:
        Layer name -> record, and the number of images.

    Raises:
        ValueError: as `gradient_pass`.
    """
    records = {name: LayerRecord() for name in network.multiplying()}
    taps = {name: kept.tap for name, kept in records.items()}
    with _reading(network, records):
        return records, gradient_pass(network, taps, batches, temperature, seed, progress)


@contextmanager
def _reading(network: QuantisedNetwork, records: dict[str, LayerRecord]) -> Iterator[None]:
    """Keeps the codes every layer reads within the block, and which images they belong to."""
    before, now = 0, 0

    def next_batch(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal before, now
        before, now = before + now, len(inputs[0])

    def reader(layer: Multiplying, kept: LayerRecord) -> Callable[..., None]:
        def read(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            pairs = zip(layer.sources, inputs, strict=True)
            kept.codes.append(tuple(source.byte_codes(layer.channels_last(x)) for source, x in pairs))
            rows = len(inputs[0])
            kept.images.append(before + torch.arange(rows) // (rows // now))

        return read

    hooks = [network.register_forward_pre_hook(next_batch)]
    hooks += [layer.register_forward_pre_hook(reader(layer, records[n])) for n, layer in network.multiplying().items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
