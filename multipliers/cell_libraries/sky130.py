"""SkyWater SKY130 high-density cells.

Averages computed from the Liberty data of the SkyWater SKY130 open PDK (``sky130_fd_sc_hd``, corner tt 25 C 1.80 V),
Copyright 2020 The SkyWater PDK Authors, Apache License 2.0,
https://github.com/google/skywater-pdk-libs-sky130_fd_sc_hd. No text of that library is included.

The tables of HA and FA split the energy of a transition between both outputs: the figure per toggle holds where both
toggle, and is probably low where one does.
"""

from types import MappingProxyType

from multipliers.cells import Cell, CellLibrary

SKY130 = CellLibrary(
    name="SKY130",
    node="SKY130 (130 nm), 1.8 V",
    supply_v=1.8,
    cells=MappingProxyType(
        {
            "BUF": Cell(3.75, 8.07, 2.10, 68.3, 6.19),
            "INV": Cell(3.75, 2.77, 2.30, 30.5, 4.57),
            "AND2": Cell(6.26, 9.82, 1.48, 113.0, 5.44),
            "OR2": Cell(6.26, 9.21, 1.47, 135.0, 5.76),
            "NAND2": Cell(3.75, 3.69, 2.32, 37.5, 5.67),
            "NOR2": Cell(3.75, 4.16, 2.36, 43.2, 7.80),
            "XOR2": Cell(8.76, 7.96, 4.36, 92.2, 9.00),
            "XNOR2": Cell(8.76, 13.0, 4.54, 82.3, 8.39),
            "NAND3": Cell(5.00, 5.93, 2.35, 50.5, 6.88),
            "NOR3": Cell(5.00, 6.32, 2.38, 67.3, 11.7),
            "AOI21": Cell(5.00, 6.03, 2.33, 60.3, 9.38),
            "OAI21": Cell(5.00, 5.60, 2.26, 56.3, 8.61),
            "MUX2": Cell(11.3, 10.3, 2.28, 198.0, 6.04),
            "HA": Cell(12.5, 6.88, 2.93, 183.0, 5.67),
            "FA": Cell(20.0, 8.31, 5.76, 317.0, 6.86),
        }
    ),
    output_load_ff=2 * 2.30,
    attribution="SkyWater SKY130 sky130_fd_sc_hd tt 25 C 1.80 V, Apache-2.0, The SkyWater PDK Authors",
)
