"""Emission of portable C: packed tables and weights, the memory plan, and the C text of every kernel."""
