"""The command line's circuit room: `picojoule multipliers ...`, its tables and its pictures."""
