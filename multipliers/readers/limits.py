"""How large a netlist may be. A file beyond a limit is refused at once instead of filling memory or hanging."""

MAX_BYTES = 16 << 20
"""Size of a file."""

MAX_TOKENS = 1_000_000
"""Words and symbols of a Verilog file (an 8x8 multiplier has about 10,000)."""

MAX_WIDTH = 4096
"""Bits of one vector, number or expression."""

MAX_DEPTH = 100
"""Nesting of one expression; keeps recursion far below Python's own limit."""

MAX_HIERARCHY = 64
"""Modules within modules; also what ends a module that instantiates itself."""

MAX_WORK = 1_000_000
"""Nets, gates, instances and expression bits after flattening, together."""
