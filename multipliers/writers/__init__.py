"""Writes circuits for other tools: structural Verilog, C headers, `$readmemh` files."""
