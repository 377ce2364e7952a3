"""SkyWater SKY130 high-density cells.

Averages computed from the Liberty data of the SkyWater SKY130 open PDK (``sky130_fd_sc_hd``, corner tt 25 C 1.80 V),
Copyright 2020 The SkyWater PDK Authors, Apache License 2.0,
https://github.com/google/skywater-pdk-libs-sky130_fd_sc_hd. No text of that library is included.
"""

from types import MappingProxyType

from multipliers.cells import Cell, CellLibrary

SKY130 = CellLibrary(
    name="SKY130",
    node="SKY130 (130 nm), 1.8 V",
    supply_v=1.8,
    cells=MappingProxyType(
        {
            "INV": Cell(3.75, 2.77, 2.30),
            "NAND2": Cell(3.75, 3.69, 2.32),
            "NOR2": Cell(3.75, 4.16, 2.36),
            "AND2": Cell(6.26, 8.03, 1.62),
            "OR2": Cell(6.26, 9.21, 1.47),
            "XOR2": Cell(8.76, 7.96, 4.36),
            "XNOR2": Cell(8.76, 13.0, 4.54),
            "AOI21": Cell(5.00, 6.03, 2.33),
            "MUX2": Cell(11.3, 10.3, 2.28),
            "HA": Cell(12.5, 6.88, 2.93),
            "FA": Cell(20.0, 8.31, 5.76),
        }
    ),
    output_load_ff=2 * 2.30,
    attribution="SkyWater SKY130 sky130_fd_sc_hd tt 25 C 1.80 V, Apache-2.0, The SkyWater PDK Authors",
)
