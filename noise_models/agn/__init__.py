"""AGN: learns how much error each layer bears, by training with additive Gaussian noise.

Source: Trommer et al., "Combining gradients and probabilities for heterogeneous approximation of neural networks",
ICCAD 2022; equations and hyper-parameters from papers/approximate_networks.md §1.
"""

from noise_models.agn.folding import LayerFolding as LayerFolding
from noise_models.agn.folding import foldings as foldings
from noise_models.agn.injection import InjectedNetwork as InjectedNetwork
from noise_models.agn.learn import AgnResult as AgnResult
from noise_models.agn.learn import learn_tolerance as learn_tolerance
from noise_models.agn.published import PUBLISHED as PUBLISHED
from noise_models.agn.published import PublishedRun as PublishedRun
from noise_models.agn.published import Schedule as Schedule
from noise_models.agn.reward import CappedReward as CappedReward
from noise_models.agn.reward import EnergyReward as EnergyReward
from noise_models.agn.reward import Reward as Reward
from noise_models.agn.search import AgnSearch as AgnSearch
from noise_models.agn.settings import AgnSettings as AgnSettings
