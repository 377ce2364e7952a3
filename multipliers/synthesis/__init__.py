"""What a synthesis tool does to a netlist: simplify, recover adders, map to the cells of a library."""
