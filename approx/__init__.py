"""Quantised and approximate networks: integer arithmetic, product tables, bit-exact kernels, assignment."""

from approx.assignment import Assignment as Assignment
from approx.capture import capture as capture
from approx.capture import quantise as quantise
from approx.choice import ChannelChoice as ChannelChoice
from approx.choice import Choice as Choice
from approx.choice import LayerChoice as LayerChoice
from approx.correction import correct as correct
from approx.correction import layer_moments as layer_moments
from approx.explain import LayerKernel as LayerKernel
from approx.explain import explain_kernels as explain_kernels
from approx.grid import Grid as Grid
from approx.network import QuantisedNetwork as QuantisedNetwork
from approx.operands import LayerTable as LayerTable
from approx.operands import Operands as Operands
from approx.operands import layer_table as layer_table
from approx.operation import Arithmetic as Arithmetic
from approx.trace import LayerTrace as LayerTrace
from approx.trace import load_traces as load_traces
from approx.trace import save_traces as save_traces
from approx.tracing import trace as trace
from approx.training import Divergence as Divergence
from approx.training import Recipe as Recipe
from approx.training import Trainer as Trainer
from approx.training import accuracy as accuracy
from approx.weight_tuning import Reference as Reference
from approx.weight_tuning import tune as tune
