"""Differentiable choice: a mixture of circuits in every layer, trained until one is left.

A layer's output y before the bias becomes what a circuit drawn at random would give, on average and in spread,

    y~ = y + Σ_m pi_m mu_m + eps sqrt(Σ_m pi_m sigma_m^2)      pi = softmax(alpha_l / T), eps ~ N(0, 1) per element

and Adam trains alpha, with the network as it is, on L = CE + strength * Σ_l Σ_m pi_m energy_m while T falls. Source:
papers/approximate_networks.md §8; with `draws` the circuits are drawn in every step (Gumbel-softmax, Jang et al., arXiv
1611.01144). A reference method: the knapsack is exact where degradation adds up, this one sees what layers do to each
other, at the price of a training per point of the front. A mixture that has settled leaves slowly: too low a learning
rate or start (`ChoiceSettings`) ends at the same circuits for every price.

mu and sigma are per channel, in units of the std of y, and so meet the network before batch normalisation
(`noise_models.agn.folding`).
"""

from noise_models.differentiable.choice import DifferentiableChoice as DifferentiableChoice
from noise_models.differentiable.choice import choose_differentiably as choose_differentiably
from noise_models.differentiable.settings import ChoiceSettings as ChoiceSettings
