"""A program as portable C: integers only, `stdint.h` only, no heap, one static arena.

The generated file calls one kernel per operation; kernels are the `.c` files of `deploy.c`, included where
used.
"""

import re

from deploy.c.layers import LayerPlan, plan_layers, write_layer
from deploy.c.steps import STEPS
from deploy.c.storage import Storage, plan_storage
from deploy.c.writer import Writer, comment_text, identifier
from deploy.check import check_program
from deploy.program import Conv2d, Linear, Operation, Program


def emit_c(program: Program, *, prefix: str = "picojoule") -> dict[str, str]:
    """Generates `net.h` and `net.c`.

    Args:
        program: what to compile; checked first.
        prefix: of the function and the macros, so that several networks can be linked together.

    Returns:
        Text by file name. `net.h` declares `void <prefix>_run(const uint8_t *input, int16_t *output)` and
        gives the sizes; input is [H, W, C] codes.

    Raises:
        ValueError: an invalid program or prefix; a layer whose accumulator may pass 32 bits.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", prefix):
        raise ValueError(f"prefix must be a C identifier, got {prefix!r}; use letters, digits and underscores")
    check_program(program)
    plans = plan_layers(program)
    storage = plan_storage(program, {name: plan.scratch for name, plan in plans.items()})
    writer = Writer()
    writer.kernel("common")
    body = [
        line for index, op in enumerate(program.operations) for line in _call(writer, program, plans, storage, index)
    ]
    if storage.widened:
        writer.kernel("widen")
        size = program.tensors[program.output].size
        body.append(f"    pj_widen({storage.pointers[program.output]}, output, {size});")
    taps = [op.weights.values[0].size for op in _layers(program) if plans[op.output].depthwise]
    if taps:
        writer.definitions.append(f"#define PJ_MOST_TAPS {max(taps)}\n")
    return {"net.h": _header(program, storage, prefix), "net.c": _source(writer, storage, body, prefix)}


def _call(writer: Writer, program: Program, plans: dict[str, LayerPlan], storage: Storage, index: int) -> list[str]:
    op = program.operations[index]
    name = f"l{index}_{identifier(op.name)}"
    specs = [program.tensors[source] for source in op.inputs]
    target = program.tensors[op.output]
    x, y = [storage.pointers[source] for source in op.inputs], storage.pointers[op.output]
    if op.output in storage.skipped:
        calls = []
    elif isinstance(op, Conv2d | Linear):
        pointers = (x[0], y, storage.scratch[op.output])
        calls = [write_layer(writer, plans[op.output], op, name, (specs[0], target), pointers)]
    else:
        calls = STEPS[type(op)](writer, op, name, specs, target, x, y)
    return [f"    /* {comment_text(_describe(program, op))} */", *(f"    {call}" for call in calls)]


def _describe(program: Program, op: Operation) -> str:
    shapes = " and ".join(str(list(program.tensors[name].shape)) for name in op.inputs)
    target = program.tensors[op.output].shape
    text = f"{op.name}: {type(op).__name__} {shapes} -> {list(target)}"
    if isinstance(op, Conv2d | Linear):
        pixels = target[0] * target[1] if len(target) == 3 else 1
        weights = op.weights
        text += f", weights {list(weights.values.shape)}, {weights.values.size * pixels} MACs"
        text += f", circuit {weights.circuit} ({weights.operands})"
    return text


def _layers(program: Program) -> list[Conv2d | Linear]:
    return [op for op in program.operations if isinstance(op, Conv2d | Linear)]


def _header(program: Program, storage: Storage, prefix: str) -> str:
    upper = prefix.upper()
    source, target = program.tensors[program.input], program.tensors[program.output]
    about = comment_text(", ".join(f"{key}: {value}" for key, value in program.metadata.items()))
    counts = f"{len(program.operations)} operations, {len(_layers(program))} layers"
    return f"""/* {about or "integer network"}; {counts}.
   input:  {list(source.shape)} codes, real = {source.scale!r} * (code - {source.zero_point})
   output: {list(target.shape)} codes, real = {target.scale!r} * (code - {target.zero_point}) */
#ifndef {upper}_NET_H
#define {upper}_NET_H

#include <stdint.h>

#define {upper}_INPUT_SIZE {source.size}
#define {upper}_OUTPUT_SIZE {target.size}
#define {upper}_ARENA_BYTES {storage.arena_bytes}

#ifdef __cplusplus
extern "C" {{
#endif

/* Runs the network once. Uses one static arena: not to be entered twice at the same time. */
void {prefix}_run(const uint8_t *input, int16_t *output);

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(writer: Writer, storage: Storage, body: list[str], prefix: str) -> str:
    arena = [f"static uint32_t arena_words[{-(-storage.arena_bytes // 4)}];\n"] if storage.arena_bytes else []
    pointer = ["    uint8_t *arena = (uint8_t *)arena_words;"] if storage.arena_bytes else []
    parts = [
        '#include "net.h"\n',
        *writer.definitions,
        *writer.kernels.values(),
        *writer.constants,
        *arena,
        "\n".join(
            [
                f"void {prefix}_run(const uint8_t *input, int16_t *output) {{",
                *pointer,
                *body,
                "}",
            ]
        )
        + "\n",
    ]
    return "\n".join(parts)
