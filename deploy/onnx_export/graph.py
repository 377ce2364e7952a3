"""An ONNX graph under construction: nodes, shared constants, unique readable names."""

from typing import Any

import numpy as np
import numpy.typing as npt


class Graph:
    """Collects nodes and constants of one ONNX graph.

    Attributes:
        scope: prefix of the names of what is added next; the name of the operation being exported.
        nodes: `onnx.NodeProto` in execution order.
        initializers: `onnx.TensorProto`; equal constants are stored once.
    """

    def __init__(self) -> None:
        self.scope = ""
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node with one output of a fresh name and returns that name."""
        from onnx import helper

        name = f"{self.scope}/{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Adds a constant of any shape, or finds an equal one, and returns its name."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(np.asarray(values, dtype=dtype).reshape(np.shape(values)))
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"constant_{len(self._constants)}"
            self.initializers.append(numpy_helper.from_array(array, name))
            self._constants[key] = name
        return self._constants[key]

    def cast(self, value: str, dtype: str) -> str:
        """Converts to a numpy-named type, e.g. "int64"."""
        from onnx import TensorProto

        return self.node("Cast", value, to=int(getattr(TensorProto, dtype.upper())))

    def reshape(self, value: str, shape: tuple[int, ...]) -> str:
        """Reshapes; 0 keeps the axis of the same position, -1 is inferred."""
        return self.node("Reshape", value, self.constant(shape, np.int64))

    def rename(self, value: str, name: str) -> None:
        """Makes `value` known as `name`: the program's own tensor names appear in the file."""
        self.nodes.append(_identity(value, name))


def _identity(value: str, name: str) -> Any:
    from onnx import helper

    return helper.make_node("Identity", [value], [name], name=f"{name}/Identity")
