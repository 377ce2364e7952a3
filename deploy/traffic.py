"""How many bits of weights and activations a layer moves at each memory level.

The model is simple on purpose, and every count is exact for it (output-stationary array, no spatial tiling):

    register   every multiplication reads its two operands there, as often as the description says
    buffer     an activation is read once per tile of `activation_reuse` output channels, a weight once per
               tile of `weight_reuse` output positions; partial tiles count whole
    global     every tensor once per layer: weights and inputs read, outputs written
    dram       every tensor once per inference if it does not fit on the chip, else never

It is Eyeriss' a, ab, abc, abcd reuse chain (ISCA 2016) with a = 1 or 0 and one pass through the on-chip
memory, and charges each tensor once per layer like QKeras. Re-reading because of tiling is not modelled, so
the far levels are lower bounds for layers larger than the chip.

A second activation in the place of weights is read like them from register and buffer; further out it is an input.
"""

from collections.abc import Mapping

from deploy.hardware import Hardware
from deploy.quantity import Quantity, total
from deploy.workload import ACTIVATION_BITS, LayerWorkload

Bits = Mapping[str, float]


def weight_bits_moved(layer: LayerWorkload, bits: int, hardware: Hardware, *, resident: bool) -> Bits:
    """Memory level -> bits of weights, or what stands in their place, moved there for one image.

    Args:
        layer: the work.
        bits: stored bits per weight (packed).
        hardware: reuse assumptions.
        resident: whether the weights of the whole network stay on the chip.
    """
    flow = hardware.dataflow
    return {
        "register": layer.macs * flow.weight_registers * bits,
        "buffer": layer.second_operands * -(-layer.positions // flow.weight_reuse) * bits,
        "global": layer.weights * bits,
        "dram": 0 if resident else layer.weights * bits,
    }


def activation_bits_moved(layer: LayerWorkload, hardware: Hardware) -> Bits:
    """Memory level -> bits of activations moved there for one image."""
    flow = hardware.dataflow
    tiles = -(-(layer.channels // layer.groups) // flow.activation_reuse)
    tensors = (layer.inputs + layer.outputs) * ACTIVATION_BITS
    return {
        "register": layer.macs * flow.activation_registers * ACTIVATION_BITS,
        "buffer": layer.positions * layer.fan_in * layer.groups * tiles * ACTIVATION_BITS,
        "global": tensors,
        "dram": 0 if tensors <= flow.activation_bytes * 8 else tensors,
    }


def traffic_energy(bits: Bits, hardware: Hardware) -> Quantity:
    """Energy of moving bits, pJ; levels the device does not have cost nothing."""
    figures = hardware.memory_pj_per_bit
    return total(Quantity.of(bits[level] * figures[level], level) for level in figures)
