"""`LayerWorkload`: how much a convolution, linear layer or product of two activations has to do."""

from dataclasses import dataclass

ACTIVATION_BITS = 8
WEIGHT_BITS = 8


@dataclass(frozen=True)
class LayerWorkload:
    """Work of one layer for one image. Padding positions count as multiplications, as in published counts.

    Attributes:
        name: the user's module name, e.g. "layer1.0.conv1".
        kind: "conv1d", "conv2d", "conv3d", "linear" or "matmul", a product of two activations.
        fan_in: products per output value, I / groups * kh * kw.
        channels: output channels O; of B products [P, K] x [K, O]: B * O.
        groups: convolution groups (channels = groups: depthwise); 1 for linear layers; B of products.
        positions: output values per channel, Ho * Wo (linear on [N, T, F]: T; products: P).
        inputs: input elements, without padding, of both operands where both are activations.
        weight_bits: bits that store one weight.
    """

    name: str
    kind: str
    fan_in: int
    channels: int
    groups: int
    positions: int
    inputs: int
    weight_bits: int = WEIGHT_BITS

    def __post_init__(self) -> None:
        for key in ("fan_in", "channels", "groups", "positions", "inputs", "weight_bits"):
            if getattr(self, key) < 1:
                raise ValueError(f"layer {self.name!r}: {key} must be at least 1, got {getattr(self, key)}")
        if self.channels % self.groups:
            raise ValueError(
                f"layer {self.name!r}: {self.channels} output channels do not split into {self.groups} groups"
            )

    @property
    def macs(self) -> int:
        """Multiplications, and as many additions."""
        return self.outputs * self.fan_in

    @property
    def outputs(self) -> int:
        """Output elements."""
        return self.positions * self.channels

    @property
    def second_operands(self) -> int:
        """What inputs are multiplied by: weights, or elements of a second activation."""
        return self.channels * self.fan_in

    @property
    def weights(self) -> int:
        """Weights that are stored, without bias."""
        return 0 if self.kind == "matmul" else self.second_operands
