"""A program as a Relax module: one call per operation, kernels shared between operations of equal shape."""

from collections.abc import Sequence
from typing import Any

from approx.tvm_adapter import require_tvm, tvm_submodule
from deploy.program import (
    Add,
    AvgPool2d,
    Clamp,
    Concat,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    Operation,
    Pad,
    Program,
    Slice,
    TensorSpec,
)
from deploy.tvm_kernels.call import KernelCall
from deploy.tvm_kernels.convolution import convolution_call
from deploy.tvm_kernels.dot_product import dot_product_call, dot_product_weights
from deploy.tvm_kernels.elementwise import (
    add_call,
    clamp_call,
    concat_call,
    flatten_call,
    pad_call,
    slice_call,
)
from deploy.tvm_kernels.linear import linear_call
from deploy.tvm_kernels.lookup import lookup_call, lookup_table
from deploy.tvm_kernels.pooling import pool_call
from deploy.tvm_kernels.targets import TvmTarget


def kernel_call(
    operation: Operation,
    specs: Sequence[TensorSpec],
    out: TensorSpec,
    batch: int,
    machine: TvmTarget,
    tuned: bool,
) -> KernelCall:
    """Translates one operation.

    Raises:
        ValueError: the operation has no kernel.
    """
    tiling = machine.tiling if tuned else None
    match operation:
        case Conv2d():
            return _convolution(operation, specs[0], out, batch, machine, tuned)
        case Linear():
            return linear_call(operation, specs[0], out, batch, tiling)
        case AvgPool2d() | MaxPool2d():
            return pool_call(operation, specs, out, batch, tiling)
        case Add():
            return add_call(operation, specs, out, batch)
        case Clamp():
            return clamp_call(operation, specs, out, batch)
        case Pad():
            return pad_call(operation, specs, out, batch)
        case Slice():
            return slice_call(operation, specs, out, batch)
        case Concat():
            return concat_call(operation, specs, out, batch)
        case Flatten():
            return flatten_call(operation, specs, out, batch)
    raise ValueError(f"operation {operation.name!r} is a {type(operation).__name__}, which has no TVM kernel")


def _convolution(
    layer: Conv2d, source: TensorSpec, out: TensorSpec, batch: int, machine: TvmTarget, tuned: bool
) -> KernelCall:
    """The fastest kernel that suits the layer and the machine."""
    values = dot_product_weights(layer) if tuned and machine.vnni else None
    if values is not None:
        return dot_product_call(layer, values, source, out, batch)
    table = lookup_table(layer) if tuned and machine.avx512 else None
    if table is not None:
        return lookup_call(layer, table, source, out, batch)
    return convolution_call(layer, source, out, batch, machine.tiling if tuned else None)


def relax_module(program: Program, machine: TvmTarget, batch: int, tuned: bool) -> Any:
    """Builds the module; its `main` maps codes [batch, ...] to output codes [batch, ...]."""
    relax = tvm_submodule("relax")
    builder = relax.BlockBuilder()
    kernels: dict[Any, Any] = {}
    source = relax.Var("codes", _type(program.tensors[program.input], batch))
    values = {program.input: source}
    with builder.function("main", [source]):
        with builder.dataflow():
            for operation in program.operations:
                specs = [program.tensors[name] for name in operation.inputs]
                out = program.tensors[operation.output]
                call = kernel_call(operation, specs, out, batch, machine, tuned)
                if call.key not in kernels:
                    name = f"kernel_{len(kernels)}"
                    kernels[call.key] = builder.add_func(call.build().with_attr("global_symbol", name), name)
                constants = (relax.const(array, str(array.dtype)) for array in call.constants)
                arguments = [*(values[name] for name in operation.inputs), *constants]
                values[operation.output] = builder.emit(relax.call_tir(kernels[call.key], arguments, _type(out, batch)))
            result = builder.emit_output(values[program.output])
        builder.emit_func_output(result)
    return builder.finalize()


def compile_module(module: Any, machine: TvmTarget) -> Any:
    """Lowers and compiles a module of `relax_module`; returns TVM's executable."""
    tvm, transform = require_tvm(), tvm_submodule("relax").transform
    passes = [
        transform.ToNonDataflow(),
        transform.RemovePurityChecking(),
        transform.CallTIRRewrite(),
        transform.StaticPlanBlockMemory(),
        transform.LowerAllocTensor(),
        transform.KillAfterLastUse(),
        transform.LowerRuntimeBuiltin(),
        transform.ComputePrimValue(),
        transform.VMShapeLower(),
        transform.AttachGlobalSymbol(),
    ]
    with machine.target:
        lowered = tvm.transform.Sequential(passes)(module)
    return tvm.compile(lowered, target=machine.target, relax_pipeline=None)


def _type(spec: TensorSpec, batch: int) -> Any:
    return tvm_submodule("relax").TensorType([batch, *spec.shape], spec.dtype)
