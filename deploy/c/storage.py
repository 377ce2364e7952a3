"""Which tensors share memory, and the arena that holds them."""

from dataclasses import dataclass

from deploy.c.arena import Buffer, plan_arena
from deploy.program import Add, AvgPool2d, Clamp, Conv2d, Flatten, Linear, Operation, Program

_WRITES_INT16 = (Conv2d, Linear, Add, AvgPool2d, Clamp)
_IN_PLACE = (Clamp, Add)


@dataclass(frozen=True)
class Storage:
    """Memory of a program in C.

    Attributes:
        pointers: C expression of every tensor by name.
        scratch: C expression of every layer's working memory, by the tensor it writes.
        skipped: tensors whose operation has nothing to do: they are another tensor.
        widened: the output tensor lies in the arena as uint8 and is copied to the output at the end.
        arena_bytes: size of the arena.
    """

    pointers: dict[str, str]
    scratch: dict[str, str]
    skipped: frozenset[str]
    widened: bool
    arena_bytes: int


def plan_storage(program: Program, scratch_bytes: dict[str, int]) -> Storage:
    """Plans the memory of a program.

    Args:
        program: checked.
        scratch_bytes: working memory of layers by the tensor they write.
    """
    end = len(program.operations)
    last_use = {op.output: index for index, op in enumerate(program.operations)}
    for index, op in enumerate(program.operations):
        last_use |= dict.fromkeys(op.inputs, index)
    last_use[program.output] = end
    last = {program.input: last_use.get(program.input, 0)}
    first = {program.input: 0}
    root = {program.input: program.input}
    skipped = set()
    direct = _written_directly(program)
    for index, op in enumerate(program.operations):
        shared = None if op.output == direct else _shared_with(program, op, root, last, index)
        if shared is None:
            root[op.output], first[op.output], last[op.output] = op.output, index, index
        else:
            root[op.output] = shared
            if isinstance(op, Flatten):
                skipped.add(op.output)
        owner = root[op.output]
        last[owner] = max(last[owner], last_use[op.output])
    buffers = [
        Buffer(name, program.tensors[name].size, first[name], last[name])
        for name in last
        if name not in (program.input, direct)
    ]
    steps = {op.output: index for index, op in enumerate(program.operations)}
    buffers += [Buffer(f"scratch {name}", size, steps[name], steps[name]) for name, size in scratch_bytes.items()]
    offsets, size = plan_arena(buffers)
    places = {name: f"arena + {offset}" for name, offset in offsets.items()} | {program.input: "input"}
    if direct is not None:
        places[direct] = "output"
    return Storage(
        {name: places[owner] for name, owner in root.items()},
        {name: places[f"scratch {name}"] for name in scratch_bytes},
        frozenset(skipped),
        direct is None,
        size,
    )


def _written_directly(program: Program) -> str | None:
    """The output tensor, if its operation can write int16 itself."""
    for op in program.operations:
        if op.output == program.output and program.tensors[op.output].dtype == "int16":
            return op.output if isinstance(op, _WRITES_INT16) else None
    return None


def _shared_with(program: Program, op: Operation, root: dict[str, str], last: dict[str, int], index: int) -> str | None:
    """The buffer an output may share: nothing changes, or it overwrites an input that nobody reads later."""
    shape = program.tensors[op.inputs[0]].shape
    if isinstance(op, Flatten) and (len(shape) == 1 or shape[0] * shape[1] == 1):
        return root[op.inputs[0]]
    if isinstance(op, _IN_PLACE):
        for name in op.inputs:
            owner = root[name]
            if owner != program.input and last[owner] == index:
                return owner
    return None
