"""Blocks that families are built of: adders, shifters, leading ones, logarithms, column compression."""
