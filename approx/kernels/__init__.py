"""Bit-exact table arithmetic on the CPU: a readable reference and kernels that equal it, entry for entry."""

from .dispatch import table_conv2d as table_conv2d
from .dispatch import table_matmul as table_matmul
