"""One training loop for every training in the house, in small parts: recipe, loss, average, best weights, loop."""

from approx.training.labels import check_labels as check_labels
from approx.training.recipe import RETRAINING_RATES as RETRAINING_RATES
from approx.training.recipe import Recipe as Recipe
from approx.training.scores import Divergence as Divergence
from approx.training.scores import accuracy as accuracy
from approx.training.trainer import Trainer as Trainer
