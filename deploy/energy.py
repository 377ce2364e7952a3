"""Energy of a network with approximate multipliers, layer by layer, component by component.

Per layer (MACs = positions * channels * fan_in, padding positions included; all figures from the `Hardware`):

    multiplication      MACs * exact 8x8 multiplication * energy_relative of the circuit (exact = 1); of a layer whose
                        output channels have circuits of their own, each with the same number of MACs
    accumulation        MACs * (one addition + register accesses of the accumulator)
    operand_overhead    what the weight coding costs beyond an exact 8-bit layer:
                        sign-magnitude codings: sign logic per multiplication;
                        9-bit coding: memory of the ninth bit, also DRAM if it pushes weights off the chip;
                        affine: sum over the receptive field per output position and group (fan_in additions,
                        shared by the group's output channels), and weight zero point * that sum per output;
                        of products of two activations in the 8-bit codings sign-magnitude and signed:
                        requantisation of the second one, which has nine bits without its zero point
    requantisation      outputs * (32x32 bit multiplication + 64-bit addition)
    weight_memory       traffic of 8-bit weights (`deploy.traffic`)
    activation_memory   traffic of 8-bit inputs and outputs (`deploy.traffic`)

An approximate multiplier shrinks the first alone; the others are shown so that nobody mistakes one for the
whole. Form: r_m * mult + adds * per-bit figure * accumulator bits + traffic.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from approx.assignment import Assignment
from approx.choice import Choice
from approx.operands import Operands
from deploy.energy_report import COMPONENTS as COMPONENTS
from deploy.energy_report import EnergyReport as EnergyReport
from deploy.energy_report import LayerEnergy as LayerEnergy
from deploy.hardware import Hardware
from deploy.program import Conv2d, Linear, Program
from deploy.quantity import Quantity, total
from deploy.traffic import activation_bits_moved, traffic_energy, weight_bits_moved
from deploy.workload import ACTIVATION_BITS, WEIGHT_BITS, LayerWorkload
from multipliers import Multiplier

Circuit = tuple[Multiplier | tuple[Multiplier, ...] | None, str]
"""A multiplier (None = exact, several = one for each output channel) and the weight coding, a value of
`approx.operands.Operands`."""

EXACT = "exact"
REQUANTISATION_BITS = 32


@dataclass(frozen=True)
class _Use:
    """How a layer multiplies: circuits (none: exact; one, or one per channel), coding, stored bits of a weight."""

    circuits: tuple[Multiplier, ...]
    operands: Operands | None
    weight_bits: int


_BASELINE = _Use((), None, WEIGHT_BITS)


def account(workloads: Sequence[LayerWorkload], circuits: Mapping[str, Circuit], hardware: Hardware) -> EnergyReport:
    """Energy of one image before (all layers exact, 8 bit) and after an assignment.

    Args:
        workloads: of every layer, from `workloads_of_module` or `workloads_of_program`.
        circuits: layer name -> (multiplier, one for each output channel or None for exact, weight coding). A layer
            that is not named multiplies exactly and stores its weights in the bits its workload states.
        hardware: the device.

    Raises:
        ValueError: no workloads, a repeated layer name, an assignment that names a missing layer, a coding
            that is not known or does not fit the circuit, not one circuit for each output channel, or two circuits of
            one name.
    """
    _check_names(workloads, circuits)
    uses = [_use(work, circuits.get(work.name)) for work in workloads]
    named = _circuits_by_name(uses)
    capacity = hardware.dataflow.weight_bytes * 8
    resident_before = sum(work.weights * WEIGHT_BITS for work in workloads) <= capacity
    resident_after = sum(work.weights * use.weight_bits for work, use in zip(workloads, uses, strict=True)) <= capacity
    layers = tuple(
        LayerEnergy(
            workload=work,
            circuit="+".join(dict.fromkeys(circuit.name for circuit in use.circuits)) or EXACT,
            operands=use.operands.value if use.operands else EXACT,
            relative_power=fmean(circuit.energy_relative for circuit in use.circuits) if use.circuits else 1.0,
            before=_layer(work, _BASELINE, hardware, (resident_before, resident_before)),
            after=_layer(work, use, hardware, (resident_before, resident_after)),
        )
        for work, use in zip(workloads, uses, strict=True)
    )
    uncertainties = {key: source.uncertainty for key, source in hardware.sources.items()}
    uncertainties |= {_key(circuit): circuit.provenance.uncertainty for circuit in named.values()}
    return EnergyReport(hardware, layers, named, uncertainties)


def circuits_of_program(program: Program, library: Mapping[str, Multiplier]) -> dict[str, Circuit]:
    """The circuits a program's layers use, as `account` takes them.

    Args:
        program: its operations name their circuits.
        library: circuit name -> multiplier.

    Raises:
        ValueError: the library lacks a circuit.
    """
    found: dict[str, Circuit] = {}
    for operation in program.operations:
        if not isinstance(operation, Conv2d | Linear):
            continue
        weights = operation.weights
        if weights.circuit != EXACT and weights.circuit not in library:
            close = difflib.get_close_matches(weights.circuit, list(library), n=3)
            raise ValueError(
                f"layer {operation.name!r} uses circuit {weights.circuit!r}, which the library lacks; "
                f"close names: {close or list(library)[:3]}"
            )
        circuit = None if weights.circuit == EXACT else library[weights.circuit]
        found[operation.name] = (circuit, weights.operands)
    return found


def _check_names(workloads: Sequence[LayerWorkload], circuits: Mapping[str, Circuit]) -> None:
    names = [work.name for work in workloads]
    if not names:
        raise ValueError("there are no layers to account for")
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"layer names must be unique, these are not: {repeated}")
    for name in circuits:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[:3]
            raise ValueError(f"the assignment names layer {name!r}, which does not exist; did you mean {close}?")


def _use(work: LayerWorkload, choice: Circuit | None) -> _Use:
    if choice is None:
        return _Use((), None, work.weight_bits)
    chosen, name = choice
    if name not in list(Operands):
        raise ValueError(f"layer {work.name!r}: operands {name!r} is none of {[o.value for o in Operands]}")
    operands = Operands(name)
    circuits = chosen if isinstance(chosen, tuple) else (chosen,) if chosen else ()
    if isinstance(chosen, tuple) and len(chosen) != work.channels:
        raise ValueError(
            f"layer {work.name!r}: expected a circuit for each of {work.channels} output channels, got {len(chosen)}"
        )
    for circuit in circuits:
        _check_fit(work, circuit, operands)
    return _Use(circuits, operands, operands.stored_bits)


def _check_fit(work: LayerWorkload, circuit: Multiplier, operands: Operands) -> None:
    if circuit.signed != operands.signed_circuit:
        kinds = {True: "a signed", False: "an unsigned"}
        raise ValueError(
            f"layer {work.name!r}: operands {operands.value!r} need {kinds[operands.signed_circuit]} circuit, "
            f"{circuit.name!r} is {kinds[circuit.signed]} one"
        )
    if (circuit.width_a, circuit.width_b) != (8, 8):
        raise ValueError(
            f"layer {work.name!r}: expected an 8x8 circuit, {circuit.name!r} is {circuit.width_a}x{circuit.width_b}"
        )


def _circuits_by_name(uses: Sequence[_Use]) -> dict[str, Multiplier]:
    named: dict[str, Multiplier] = {}
    for circuit in (circuit for use in uses for circuit in use.circuits):
        other = named.setdefault(circuit.name, circuit)
        same = (other.content_hash, other.energy_relative) == (circuit.content_hash, circuit.energy_relative)
        if not same:
            raise ValueError(f"two different circuits are named {circuit.name!r}; rename one, names are identities")
    return named


def _key(circuit: Multiplier) -> str:
    return f"circuit {circuit.name}"


def _layer(work: LayerWorkload, use: _Use, hardware: Hardware, resident: tuple[bool, bool]) -> dict[str, Quantity]:
    """Component -> energy. `resident`: whether all weights stay on the chip, as 8-bit baseline and in use."""
    bits = hardware.arithmetic.accumulator_bits
    register_bits = work.macs * hardware.dataflow.accumulator_registers * bits
    weights_8bit = traffic_energy(weight_bits_moved(work, WEIGHT_BITS, hardware, resident=resident[0]), hardware)
    weights_used = traffic_energy(weight_bits_moved(work, use.weight_bits, hardware, resident=resident[1]), hardware)
    return {
        "multiplication": _multiplication(work, use, hardware),
        "accumulation": Quantity.of(work.macs * hardware.add_pj(bits), "add")
        + Quantity.of(register_bits * hardware.memory_pj_per_bit["register"], "register"),
        "operand_overhead": _operand_logic(work, use, hardware) + (weights_used - weights_8bit),
        "requantisation": _requantisation(work.outputs, hardware),
        "weight_memory": weights_8bit,
        "activation_memory": traffic_energy(activation_bits_moved(work, hardware), hardware),
    }


def _multiplication(work: LayerWorkload, use: _Use, hardware: Hardware) -> Quantity:
    if not use.circuits:
        return Quantity.of(work.macs * hardware.multiply_pj(ACTIVATION_BITS, use.weight_bits), "multiply")
    exact = work.macs / len(use.circuits) * hardware.multiply_pj(8, 8)
    return total(Quantity.of(exact * c.energy_relative, "multiply", _key(c)) for c in use.circuits)


def _requantisation(values: int, hardware: Hardware) -> Quantity:
    multiply = hardware.multiply_pj(REQUANTISATION_BITS, REQUANTISATION_BITS)
    add = hardware.add_pj(2 * REQUANTISATION_BITS)
    return Quantity.of(values * multiply, "multiply") + Quantity.of(values * add, "add")


def _operand_logic(work: LayerWorkload, use: _Use, hardware: Hardware) -> Quantity:
    """Logic beside the multipliers that the weight coding needs."""
    coding = Quantity()
    if work.kind == "matmul" and use.operands in (Operands.SIGN_MAGNITUDE, Operands.SIGNED):
        coding = _requantisation(work.second_operands, hardware)
    return coding + _product_logic(work, use, hardware)


def _product_logic(work: LayerWorkload, use: _Use, hardware: Hardware) -> Quantity:
    """For each product or output."""
    if use.operands is Operands.AFFINE:
        accumulator = hardware.arithmetic.accumulator_bits
        box_bits = ACTIVATION_BITS + math.ceil(math.log2(work.fan_in))
        box_additions = work.positions * work.groups * work.fan_in
        additions = (box_additions + work.outputs) * hardware.add_pj(accumulator)
        products = work.outputs * hardware.multiply_pj(WEIGHT_BITS, box_bits)
        return Quantity.of(additions, "add") + Quantity.of(products, "multiply")
    needs_sign = use.operands in (Operands.SIGN_MAGNITUDE, Operands.SIGN_MAGNITUDE_9)
    if use.circuits and needs_sign:
        return Quantity.of(work.macs * hardware.sign_logic_pj(), "multiply", "sign_logic")
    return Quantity()


def account_assignment(
    workloads: Sequence[LayerWorkload],
    assignment: Assignment,
    library: Mapping[str, Multiplier],
    hardware: Hardware,
) -> EnergyReport:
    """`account` for an assignment and the library that holds its circuits.

    Raises:
        ValueError: as `account`; or a circuit is not in the library.
    """
    chosen = assignment.circuits([work.name for work in workloads], library)
    circuits: dict[str, Circuit] = {
        name: (found[0] if isinstance(choice, Choice) else found, choice.operands.value)
        for name, (found, choice) in chosen.items()
    }
    return account(workloads, circuits, hardware)
