"""Readers of netlists: structural Verilog and Yosys JSON."""

from multipliers.readers.errors import NetlistError as NetlistError
from multipliers.readers.verilog import parse_verilog as parse_verilog
from multipliers.readers.verilog import read_verilog as read_verilog
from multipliers.readers.yosys import parse_yosys_json as parse_yosys_json
from multipliers.readers.yosys import read_yosys_json as read_yosys_json
