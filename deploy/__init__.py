"""From a quantised network to devices: integer program, back ends, targets, golden vectors, energy."""
