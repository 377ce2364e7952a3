"""How much the loss rises with error in a layer. One algorithm per file: Fisher from one gradient pass, for any number
of predicted errors; and two that take a circuit's true error, for the few candidates worth it."""

from noise_models.sensitivity.exact_error import ExactError as ExactError
from noise_models.sensitivity.fisher import LayerSensitivity as LayerSensitivity
from noise_models.sensitivity.fisher import Sensitivity as Sensitivity
from noise_models.sensitivity.fisher import measure_sensitivity as measure_sensitivity
from noise_models.sensitivity.hessian import HessianVector as HessianVector
from noise_models.sensitivity.refinement import Refinement as Refinement
