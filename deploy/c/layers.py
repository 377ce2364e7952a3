"""C of convolutions and linear layers: which kernel, how weights are packed, how much scratch is needed."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deploy.c.packing import ExactWeights, PackedTable, accumulator_reach, is_exact, pack_exact, pack_table
from deploy.c.structs import codes, window
from deploy.c.writer import Writer, c_type, initialiser
from deploy.program import Conv2d, IntegerWeights, Linear, Program, TensorSpec

_INT32_LIMIT = 2**31


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """How one layer is computed in C.

    Attributes:
        kernel: C function that forms the sums.
        block, spread, step: pixels computed together, bytes between their fields and between codes of one.
        scratch: bytes of working memory.
        depthwise: `kernel` walks the whole picture by itself.
        exact: packed weights of a layer without table.
        table: packed table otherwise.
    """

    kernel: str
    block: int
    spread: int
    step: int
    scratch: int
    depthwise: bool
    exact: ExactWeights | None
    table: PackedTable | None


def plan_layers(program: Program) -> dict[str, LayerPlan]:
    """Plans by name of the tensor written; layers with equal tables share one packed table.

    Raises:
        ValueError: a layer whose accumulator may pass 32 bits.
    """
    layers = [op for op in program.operations if isinstance(op, Conv2d | Linear)]
    tables = _shared_tables(layers)
    return {op.output: _plan(op, None if is_exact(op.weights) else tables[_table_key(op.weights)]) for op in layers}


def _table_key(weights: IntegerWeights) -> str:
    assert weights.table is not None
    return f"{hashlib.sha256(weights.table.tobytes()).hexdigest()}+{weights.offset}"


def _shared_tables(layers: Iterable[Conv2d | Linear]) -> dict[str, PackedTable]:
    users: dict[str, list[IntegerWeights]] = {}
    for op in layers:
        if not is_exact(op.weights):
            users.setdefault(_table_key(op.weights), []).append(op.weights)
    packed = {}
    for key, group in users.items():
        table = group[0].table
        assert table is not None
        packed[key] = pack_table(table, group[0].offset, [weights.values for weights in group])
    return packed


def _plan(op: Conv2d | Linear, table: PackedTable | None) -> LayerPlan:
    """`table` is None for a layer whose products are all exact."""
    weights = op.weights
    exact = pack_exact(weights) if table is None else None
    reach = accumulator_reach(weights, exact)
    if reach >= _INT32_LIMIT:
        raise ValueError(
            f"layer {op.name!r}: its accumulator may reach {reach}, the C kernels have 32 bits (2147483647); "
            "split the layer or give it a circuit with smaller products"
        )
    fan_in = weights.values[0].size
    depthwise = isinstance(op, Conv2d) and op.groups > 1 and weights.values.shape[3] == 1
    depthwise = isinstance(op, Conv2d) and op.groups > 1 and weights.values.shape[3] == 1
    if depthwise:
        kernel = f"pj_depthwise_{_variant(exact, table)}"
        return LayerPlan(kernel, 1, 0, 0, weights.values.shape[0], True, exact, table)
    kernel, fan_in = f"pj_{_variant(exact, table)}", weights.values[0].size
    if exact is None:
        return LayerPlan(kernel, 4, 1, 4, 4 * fan_in, False, None, table)
    if exact.values.dtype == np.int16:
        return LayerPlan(kernel, 2, fan_in, 1, 2 * fan_in, False, exact, None)
    padded = -(-fan_in // 4) * 4
    return LayerPlan(kernel, 2, padded, 1, 6 * padded, False, exact, None)


def _variant(exact: ExactWeights | None, table: PackedTable | None) -> str:
    if exact is not None:
        return "exact_i8" if exact.values.dtype == np.int8 else "exact_i16"
    assert table is not None
    return f"{'folded' if table.folded else 'rows'}_{table.weight_type}_{table.element_type}"


def _write_kernels(writer: Writer, plan: LayerPlan) -> None:
    writer.kernel("layer")
    if not plan.depthwise:
        writer.kernel("field")
    tokens = {"KERNEL": plan.kernel, "KERNEL_SUM1": f"{plan.kernel}_sum1", "KERNEL_SUM4": f"{plan.kernel}_sum4"}
    if plan.exact is not None:
        tokens |= {"WEIGHT_T": c_type(plan.exact.values.dtype), "PRODUCT_OF": "pj_product"}
        if plan.depthwise:
            writer.kernel("exact_product")
    else:
        assert plan.table is not None
        row = _row_tokens(plan.table)
        writer.kernel("row", row)
        if plan.depthwise:
            writer.kernel("row_product", row)
        tokens |= row
    if plan.depthwise:
        writer.kernel("depthwise", tokens)
    elif plan.exact is not None:
        writer.kernel(plan.kernel.removeprefix("pj_"))
    else:
        writer.kernel("table", tokens)


def _row_tokens(table: PackedTable) -> dict[str, str]:
    variant = _variant(None, table)
    bits = 8 * np.dtype(table.weight_type).itemsize
    note = "hold their sign in the top bit and the row of |weight| below" if table.folded else "are row numbers"
    return {
        "ROW_NOTE": note,
        "WEIGHT_T": c_type(table.weight_type),
        "TABLE_T": c_type(table.element_type),
        "ROW_OF": f"pj_row_{variant}",
        "SIGN_OF": f"pj_sign_{variant}",
        "PRODUCT_OF": f"pj_product_{variant}",
        "ROW_MASK": hex((1 << (bits - table.folded)) - 1) + "u",
        "SIGN_MASK": hex(1 << (bits - 1)) + "u" if table.folded else "0u",
    }


def write_layer(
    writer: Writer,
    plan: LayerPlan,
    op: Conv2d | Linear,
    name: str,
    specs: tuple[TensorSpec, TensorSpec],
    pointers: tuple[str, str, str],
) -> str:
    """Adds kernels and constants of a layer; returns the call.

    Args:
        writer: receives them.
        plan: of this layer.
        op: the layer.
        name: its C identifier.
        specs: of its input and output.
        pointers: C expressions of input, output and scratch.
    """
    weights = op.weights
    _write_kernels(writer, plan)
    zero = plan.exact.weight_zero if plan.exact is not None else weights.weight_zero
    if plan.exact is not None:
        values = writer.constant(f"{name}_weights", plan.exact.values, slack=3)
        table = "0"
    else:
        assert plan.table is not None
        values = writer.constant(f"{name}_weights", plan.table.encode(weights.values))
        table = writer.constant(f"{name}_table", plan.table.rows, note=weights.circuit)
    outputs = weights.values.shape[0]
    groups = op.groups if isinstance(op, Conv2d) else 1
    source, target = specs
    definition = initialiser(
        "pj_layer",
        name,
        window=window(op, source, target),
        groups=groups,
        group_inputs=source.shape[-1] // groups,
        group_outputs=outputs // groups,
        fan_in=weights.values[0].size,
        weights=values,
        table=table,
        bias=writer.constant(f"{name}_bias", weights.bias),
        weight_zero=writer.constant(f"{name}_weight_zero", zero) if zero.any() else "0",
        multiplier=writer.constant(f"{name}_multiplier", weights.multiplier),
        shift=writer.constant(f"{name}_shift", weights.shift.astype(np.uint8)),
        codes=codes(target, op.low, op.high),
    )
    writer.constants.append(definition)
    x, y, scratch = pointers
    if plan.depthwise:
        return f"{plan.kernel}(&{name}, {x}, {y}, {scratch});"
    return f"pj_conv2d(&{name}, {x}, {y}, {scratch}, {plan.kernel}, {plan.block}, {plan.spread}, {plan.step});"
