"""A netlist as a few integer arrays: how libraries store gates, compactly and without pickle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from multipliers.gates import GATE_KINDS
from multipliers.netlist import Gate, Netlist

KIND_NAMES: tuple[str, ...] = (
    *("BUF", "INV", "AND2", "OR2", "NAND2", "NOR2", "XOR2", "XNOR2"),
    *("NAND3", "NOR3", "AOI21", "OAI21", "MUX2", "HA", "FA"),
)
"""Gate kinds by stored code. Only ever appended to: files hold the codes."""

_CODES = {name: code for code, name in enumerate(KIND_NAMES)}


@dataclass(frozen=True, eq=False)
class NetlistArrays:
    """The gates of a circuit in canonical numbering: constants 0 and 1, operand a, operand b, then the gate outputs
    in order, so that only the inputs of gates need be stored.

    Attributes:
        kinds: codes into ``KIND_NAMES``, uint8 [gates].
        inputs: input nets of all gates one after the other, uint16 or uint32.
        outputs: nets of the product, least significant bit first, same type.
    """

    kinds: npt.NDArray[np.uint8]
    inputs: npt.NDArray[np.unsignedinteger]
    outputs: npt.NDArray[np.unsignedinteger]

    @classmethod
    def of(cls, netlist: Netlist) -> NetlistArrays:
        """The arrays of a netlist."""
        order = [0, 1, *netlist.input_a, *netlist.input_b, *(net for gate in netlist.gates for net in gate.outputs)]
        number = {net: index for index, net in enumerate(order)}
        width = np.uint16 if len(order) <= 1 << 16 else np.uint32
        return cls(
            np.array([_CODES[gate.kind] for gate in netlist.gates], dtype=np.uint8),
            np.array([number[net] for gate in netlist.gates for net in gate.inputs], dtype=width),
            np.array([number[net] for net in netlist.outputs], dtype=width),
        )

    def netlist(self, name: str, width_a: int, width_b: int, signed: bool) -> Netlist:
        """The netlist the arrays stand for.

        Raises:
            ValueError: on an unknown kind code, or arrays that contradict each other.
        """
        first_free = 2 + width_a + width_b
        if self.kinds.size and int(self.kinds.max()) >= len(KIND_NAMES):
            raise ValueError(
                f"netlist '{name}': unknown gate code {int(self.kinds.max())}; written by a newer version?"
            )
        kinds = [GATE_KINDS[KIND_NAMES[code]] for code in self.kinds.tolist()]
        if sum(len(kind.inputs) for kind in kinds) != self.inputs.size:
            raise ValueError(f"netlist '{name}': {len(kinds)} gates do not have {self.inputs.size} inputs together")
        inputs = self.inputs.tolist()
        gates, net, position = [], first_free, 0
        for kind in kinds:
            pins, drives = len(kind.inputs), len(kind.outputs)
            gates.append(Gate(kind.name, tuple(inputs[position : position + pins]), tuple(range(net, net + drives))))
            position, net = position + pins, net + drives
        return Netlist(
            name=name,
            input_a=tuple(range(2, 2 + width_a)),
            input_b=tuple(range(2 + width_a, first_free)),
            outputs=tuple(self.outputs.tolist()),
            gates=tuple(gates),
            signed=signed,
        )

    def to_bytes(self) -> bytes:
        """The arrays as bytes, the same on every machine, for hashing."""
        return b"".join(array.astype("<u4").tobytes() for array in (self.kinds, self.inputs, self.outputs))
