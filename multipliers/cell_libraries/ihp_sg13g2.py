"""IHP SG13G2 standard cells.

Averages computed from the Liberty data of the IHP open PDK (``sg13g2_stdcell``, corner typ 1.20 V 25 C, revision
0.0.2), Copyright 2023 IHP PDK Authors, Apache License 2.0, https://github.com/IHP-GmbH/IHP-Open-PDK. No text of that
library is included. It has no half or full adder cell.
"""

from types import MappingProxyType

from multipliers.cells import Cell, CellLibrary

IHP_SG13G2 = CellLibrary(
    name="IHP SG13G2",
    node="IHP SG13G2 (130 nm), 1.2 V",
    supply_v=1.2,
    cells=MappingProxyType(
        {
            "BUF": Cell(7.26, 5.65, 2.34, 61.3, 2.70),
            "INV": Cell(5.44, 1.59, 2.89, 25.5, 2.88),
            "AND2": Cell(9.07, 6.42, 2.56, 73.4, 2.79),
            "OR2": Cell(9.07, 6.34, 2.39, 81.0, 2.90),
            "NAND2": Cell(7.26, 2.45, 2.99, 34.0, 3.69),
            "NOR2": Cell(7.26, 2.55, 2.99, 36.2, 4.25),
            "XOR2": Cell(14.5, 7.49, 5.49, 70.1, 4.71),
            "XNOR2": Cell(14.5, 7.36, 5.32, 66.1, 4.37),
            "NAND3": Cell(9.07, 3.65, 2.89, 46.3, 4.56),
            "NOR3": Cell(9.07, 3.80, 3.02, 51.5, 5.65),
            "AOI21": Cell(9.07, 3.45, 2.87, 46.0, 4.75),
            "OAI21": Cell(9.07, 3.51, 3.26, 50.3, 5.14),
            "MUX2": Cell(18.1, 9.65, 3.11, 102.0, 3.12),
        }
    ),
    output_load_ff=2 * 2.89,
    attribution="IHP SG13G2 sg13g2_stdcell typ 1.20 V 25 C, Apache-2.0, IHP PDK Authors",
)
