"""Layers with operands of fewer bits: what the coarser numbers lose together with what the circuit errs.

An error model speaks of a circuit's products against exact products of the same operands. A circuit of b bits for the
activation and v for the weight also needs coarser operands, so here the reference is the layer as the exact 8-bit
network has it, and the error that of the whole exchange: the sampled patches are brought to the b-bit grid that
calibration found for this layer's input, the weights to v bits, and summed through the circuit's table. Exact on the
samples but for the rounding to 8 bits before the one to b.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from approx import Choice, Grid, LayerTable, LayerTrace, Operands, QuantisedNetwork, layer_table
from approx.kernels import table_conv2d
from approx.operands import exact_table
from approx.quantizer import quantise_weight
from multipliers import Multiplier
from noise_models.candidates import Candidate
from noise_models.degradation import Degradation
from noise_models.prediction import ErrorPrediction, FloatArray, residual_variance


def input_grids(network: QuantisedNetwork) -> dict[str, Grid]:
    """Layer name -> grid of the activations it reads.

    Args:
        network: calibrated, at the width wanted; scales do not depend on the width of other activations.

    Raises:
        ValueError: the network is not calibrated.
    """
    sources = {name: layer.sources[0] for name, layer in network.layers().items()}
    if not all(source.calibrated for source in sources.values()):
        raise ValueError("the network is not calibrated; quantise it with calibration data")
    return {name: Grid(float(s.scale), int(s.zero_point), s.bits) for name, s in sources.items()}


class PicojouleEnergy:
    """Cost of circuits of any width: the layer's share of all multiplications times energy / that of an exact 8x8 one.

    The sum over layers is the network's multiplication energy relative to exact 8-bit circuits. All circuits must come
    from one flow, or their picojoules do not compare.
    """

    def __init__(self, traces: Mapping[str, LayerTrace], exact: Multiplier) -> None:
        self.macs, self.exact = sum(trace.macs for trace in traces.values()), exact.energy_pj

    def __call__(self, trace: LayerTrace, choice: Choice, multiplier: Multiplier) -> float:
        return trace.macs / self.macs * multiplier.energy_pj / self.exact


def narrow_candidates(
    trace: LayerTrace,
    grid: Grid,
    circuits: Iterable[Multiplier],
    operands: Iterable[Operands],
    degradation: Degradation,
    cost: PicojouleEnergy,
) -> list[Candidate]:
    """A layer that reads activations on a grid, with every circuit and coding that fits; swapped ones included.

    Args:
        trace: of the layer in the exact 8-bit network.
        grid: of its input, of 2..8 bits.
        circuits: of any widths and signedness; those too narrow for the grid are left out.
        operands: weight codings allowed.
        degradation: judges the error against the exact 8-bit layer.
        cost: energy.

    Returns:
        Candidates with `bits` of the grid, cheapest first.
    """
    found = []
    for choice, multiplier in _fitting(circuits, tuple(operands), grid.bits):
        table = layer_table(multiplier, choice.operands, choice.swap)
        prediction = predict_narrow(trace, grid, choice.operands, table)
        judged, energy = degradation.of(trace.name, prediction), cost(trace, choice, multiplier)
        found.append(Candidate(choice, energy, judged, prediction, multiplier.area_um2, grid.bits))
    return sorted(found, key=lambda c: (c.energy, c.degradation))


def predict_narrow(trace: LayerTrace, grid: Grid, operands: Operands, table: LayerTable) -> ErrorPrediction:
    """Error of the layer on a grid with a circuit against the exact layer of the trace, see the module.

    Raises:
        ValueError: the circuit is too narrow for the grid, or the layer multiplies two activations.
    """
    if trace.weight_grid is not None:
        raise ValueError(
            f"{trace.name!r} multiplies two activations; only those a layer with weights reads are narrowed"
        )
    if grid.bits > table.code_bits:
        raise ValueError(
            f"layer {trace.name!r}: the grid has {grid.bits} bits, the circuit takes {table.code_bits}; take a coarser "
            "grid or a wider circuit"
        )
    wanted = _exact(trace)
    error = _outputs(trace, grid, operands, table) - wanted
    mean, output = error.mean(0), wanted - wanted.mean(0)
    error -= mean
    variance, covariance = np.mean(error**2, 0), np.mean(error * output, 0)
    residual = residual_variance(np.mean(output**2, 0), variance, covariance)
    return ErrorPrediction(mean, np.sqrt(variance), np.sqrt(residual))


def _fitting(
    circuits: Iterable[Multiplier], operands: tuple[Operands, ...], bits: int
) -> Iterable[tuple[Choice, Multiplier]]:
    for circuit in circuits:
        symmetric = circuit.width_a == circuit.width_b and np.array_equal(circuit.table, circuit.table.T)
        orders = (False,) if symmetric else (False, True)
        for coding in (o for o in operands if o.signed_circuit == circuit.signed):
            for swap in orders:
                if (circuit.width_b if swap else circuit.width_a) >= bits:
                    yield Choice(circuit.name, coding, swap), circuit


@lru_cache(maxsize=1)
def _exact(trace: LayerTrace) -> FloatArray:
    grid = Grid(trace.input_scale, trace.input_zero, 8)
    return _outputs(trace, grid, Operands.SIGN_MAGNITUDE, exact_table(Operands.SIGN_MAGNITUDE))


def _outputs(trace: LayerTrace, grid: Grid, operands: Operands, table: LayerTable) -> FloatArray:
    """Real outputs before the bias of every sampled patch, float64 [S, C]."""
    codes = _codes(trace, grid)
    groups, patches, fan_in = codes.shape
    weights = quantise_weight(torch.from_numpy(trace.weight), operands, bits=table.weight_bits)
    values, scale, zero = (w.numpy() for w in weights)
    image = np.ascontiguousarray(codes.transpose(1, 0, 2)).reshape(patches, 1, 1, groups * fan_in)
    index = torch.from_numpy(values + np.int16(table.offset)).reshape(len(values), 1, 1, fan_in)
    sums = table_conv2d(torch.from_numpy(image), index, table.tensor(), groups=groups, pad_code=0).flatten(1).numpy()
    boxes = codes.sum(2, dtype=np.int64).T.repeat(len(values) // groups, 1)  # [S, C]
    totals = values.sum(1, dtype=np.int64)
    centred = sums - zero * boxes - grid.zero * totals + fan_in * grid.zero * zero
    outputs: FloatArray = grid.scale * scale * centred
    return outputs


def _codes(trace: LayerTrace, grid: Grid) -> npt.NDArray[np.uint8]:
    """The patches on another grid, uint8 [G, S, K]."""
    reals = trace.input_scale * (trace.patches.astype(np.float64) - trace.input_zero)
    codes: FloatArray = np.clip(np.rint(reals / grid.scale) + grid.zero, 0, (1 << grid.bits) - 1)
    return codes.astype(np.uint8)
