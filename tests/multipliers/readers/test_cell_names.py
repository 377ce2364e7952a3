"""Library cells by name against truth tables written from the libraries' documentation."""

from itertools import product

import pytest

from multipliers.gates import GATE_KINDS
from multipliers.readers import NetlistError, parse_verilog
from multipliers.readers.cell_names import library_cell

SKY, IHP = "sky130_fd_sc_hd__", "sg13g2_"
CELLS = {
    f"{SKY}inv_8": ("A", {"Y": "not A"}),
    f"{SKY}clkinv_1": ("A", {"Y": "not A"}),
    f"{SKY}buf_16": ("A", {"X": "A"}),
    f"{SKY}and2_0": ("A B", {"X": "A and B"}),
    f"{SKY}and2b_1": ("A_N B", {"X": "not A_N and B"}),
    f"{SKY}and4bb_1": ("A_N B_N C D", {"X": "not A_N and not B_N and C and D"}),
    f"{SKY}nand4_1": ("A B C D", {"Y": "not (A and B and C and D)"}),
    f"{SKY}nand3b_2": ("A_N B C", {"Y": "not (not A_N and B and C)"}),
    f"{SKY}or3_1": ("A B C", {"X": "A or B or C"}),
    f"{SKY}or2b_1": ("A B_N", {"X": "A or not B_N"}),
    f"{SKY}or4bb_1": ("A B C_N D_N", {"X": "A or B or not C_N or not D_N"}),
    f"{SKY}nor3b_1": ("A B C_N", {"Y": "not (A or B or not C_N)"}),
    f"{SKY}xnor2_4": ("A B", {"Y": "A == B"}),
    f"{SKY}mux2_1": ("A0 A1 S", {"X": "A1 if S else A0"}),
    f"{SKY}mux2i_1": ("A0 A1 S", {"Y": "not (A1 if S else A0)"}),
    f"{SKY}maj3_1": ("A B C", {"X": "A + B + C > 1"}),
    f"{SKY}ha_1": ("A B", {"SUM": "A != B", "COUT": "A and B"}),
    f"{SKY}fa_1": ("A B CIN", {"SUM": "(A + B + CIN) % 2", "COUT": "A + B + CIN > 1"}),
    f"{SKY}a21o_1": ("A1 A2 B1", {"X": "A1 and A2 or B1"}),
    f"{SKY}a22oi_1": ("A1 A2 B1 B2", {"Y": "not (A1 and A2 or B1 and B2)"}),
    f"{SKY}a211oi_4": ("A1 A2 B1 C1", {"Y": "not (A1 and A2 or B1 or C1)"}),
    f"{SKY}a31o_2": ("A1 A2 A3 B1", {"X": "A1 and A2 and A3 or B1"}),
    f"{SKY}a2111oi_0": ("A1 A2 B1 C1 D1", {"Y": "not (A1 and A2 or B1 or C1 or D1)"}),
    f"{SKY}o21a_1": ("A1 A2 B1", {"X": "(A1 or A2) and B1"}),
    f"{SKY}o221ai_1": ("A1 A2 B1 B2 C1", {"Y": "not ((A1 or A2) and (B1 or B2) and C1)"}),
    f"{SKY}o31ai_1": ("A1 A2 A3 B1", {"Y": "not ((A1 or A2 or A3) and B1)"}),
    f"{SKY}conb_1": ("", {"HI": "True", "LO": "False"}),
    f"{IHP}nand2b_1": ("A_N B", {"Y": "not (not A_N and B)"}),
    f"{IHP}nor2b_2": ("A B_N", {"Y": "not (A or not B_N)"}),
    f"{IHP}o21ai_1": ("A1 A2 B1", {"Y": "not ((A1 or A2) and B1)"}),
    f"{IHP}a21oi_2": ("A1 A2 B1", {"Y": "not (A1 and A2 or B1)"}),
    f"{IHP}a221oi_1": ("A1 A2 B1 B2 C1", {"Y": "not (A1 and A2 or B1 and B2 or C1)"}),
    f"{IHP}or4_1": ("A B C D", {"X": "A or B or C or D"}),
    f"{IHP}tiehi": ("", {"L_HI": "True"}),
    f"{IHP}tielo": ("", {"L_LO": "False"}),
    "PDKGENOAI21X1": ("A B C", {"Y": "not ((A or B) and C)"}),
    "AOI21X1": ("A B C", {"Y": "not (A and B or C)"}),
    "MUX2X1": ("A B S", {"Y": "B if S else A"}),
    "PDKGENFAX1": ("A B C", {"YS": "(A + B + C) % 2", "YC": "A + B + C > 1"}),
    "$_ANDNOT_": ("A B", {"Y": "A and not B"}),
    "$_ORNOT_": ("A B", {"Y": "A or not B"}),
    "$_MUX_": ("A B S", {"Y": "B if S else A"}),
    "$_NMUX_": ("A B S", {"Y": "not (B if S else A)"}),
    "$_AOI3_": ("A B C", {"Y": "not (A and B or C)"}),
    "$_OAI4_": ("A B C D", {"Y": "not ((A or B) and (C or D))"}),
}


@pytest.mark.parametrize("name", CELLS)
def test_cell_has_its_documented_pins_and_function(name: str) -> None:
    pins, outputs = CELLS[name]
    inputs = pins.split()
    width = max(1, len(inputs))
    connections = [f".{pin}(A[{k}])" for k, pin in enumerate(inputs)]
    connections += [f".{pin}(O[{k}])" for k, pin in enumerate(outputs)]
    text = (
        f"module m(input [{width - 1}:0] A, input [7:0] B, output [{len(outputs) - 1}:0] O); "
        f"\\{name} u({', '.join(connections)}); endmodule"
    )
    table = parse_verilog(text).product_table()[:, 0]
    for bits in product((False, True), repeat=len(inputs)):
        environment = dict(zip(inputs, bits, strict=True))
        expected = [bool(eval(formula, {}, environment)) for formula in outputs.values()]
        row = sum(bit << k for k, bit in enumerate(bits))
        assert [bool(table[row] >> k & 1) for k in range(len(outputs))] == expected, (name, environment)


@pytest.mark.parametrize("kind", GATE_KINDS)
@pytest.mark.parametrize("pattern", ["{}", "{}X1", "PDKGEN{}X1", "{}X16"])
def test_every_gate_kind_is_known_with_its_own_pins(kind: str, pattern: str) -> None:
    cell = library_cell(pattern.format(kind))
    assert cell is not None
    assert (cell.inputs, cell.outputs) == (GATE_KINDS[kind].inputs, GATE_KINDS[kind].outputs)


@pytest.mark.parametrize(
    "name",
    [
        "AND9X1", "and2", "X1", "PDKGEN", "PDKGENX1", "XNPDKGENOR2X1", "DFFPOSX1", "$_DFF_P_", "$_MUX16_", "$paramod",
        "sky130_fd_sc_hd__", "sky130_fd_sc_hd__dfxtp_1", "sky130_fd_sc_hd__a21ai_1", "sky130_fd_sc_hd__o21oi_1",
        "sky130_fd_sc_hd__and5_1", "sky130_fd_sc_hd__a21bo_1", "sky130_fd_sc_hd__a2bb2o_1", "sg13g2_dfrbp_1",
    ],
)  # fmt: skip
def test_other_names_are_not_guessed(name: str) -> None:
    assert library_cell(name) is None
    with pytest.raises(NetlistError, match="is neither defined in the file nor a known library cell"):
        parse_verilog(f"module m(input A, B, output O); \\{name} u(.A(A), .Y(O)); endmodule")
