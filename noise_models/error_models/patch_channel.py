"""Patch x channel model: each patch has its own activation histogram, each output channel its own weight histogram.

Source: papers/approximate_networks.md §2 (the fix of the published model, M = P E Q^T), with another variance within
a patch. An output sums e(w_k, x_k) over the K positions of a patch; both histograms are known, unknown is only which
code meets which weight. So the pairing is a uniformly random permutation, and the variance of the sum is Hoeffding's
(1951, "A combinatorial central limit theorem", Theorem 2):

    n^2 / (n - 1) * mean over w and x of (e - E_x e - E_w e + E e)^2

The part of the error that is a multiple of the output is scaled by the output's true variance on the patches: that
variance is known, and the histograms, which forget positions, misjudge it.

Where a position all but decides its code (a handful of inputs, taps of a depthwise layer on images without texture) the
pairing is not random and far too much error is predicted; `sampled` is right there too.

Measured on ResNet-20 (CIFAR-10), 49 published circuits in every coding and order, against the true error on the same
512 patches; median and 90th percentile of |predicted / true std - 1|, on 599 random pairs of every second layer:

    x and w independent            0.085  0.42
    Var_x for the weights fixed    0.070  0.19
    random pairing                 0.032  0.19

and with the output's variance on all pairs whose circuit errs, without and with free correction (the model was made on
ResNet-20; "other" is the true error on 2,048 patches of images it did not see, "whole" on all positions of 32 such
images, 120 pairs; means of 3 seeds on ResNet-20, one seed on ResNet-56):

    ResNet-20, 4,380 pairs      same     0.019  0.060     0.019  0.069
                                other    0.021  0.067     0.023  0.074
                                whole    0.022  0.060     0.021  0.069
    ResNet-56, 12,264 pairs     same     0.021  0.075     0.021  0.081
                                other    0.024  0.081     0.025  0.087
                                whole    0.021  0.065     0.025  0.081
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from approx import LayerTrace, Operands
from approx.operands import LayerTable
from noise_models.error_models.base import ErrorModel, check_table
from noise_models.error_models.operand_statistics import GroupStatistics, operand_statistics, product
from noise_models.error_models.output_moments import OutputMoments
from noise_models.prediction import ErrorPrediction, FloatArray


class PatchChannel(ErrorModel):
    """See the module. Final."""

    name: ClassVar[str] = "patch-channel"

    def predict(self, trace: LayerTrace, operands: Operands, table: LayerTable) -> ErrorPrediction:
        check_table(trace, operands, table)
        statistics = operand_statistics(trace, operands, table.weight_bits)
        error = table.error()
        parts = [_moments(group, group.error(error), trace.fan_in) for group in statistics.groups]
        mean, variance, covariance, modelled = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("mean", "variance", "covariance", "output_variance")
        )
        output = statistics.output_variance
        slope = covariance / np.where(modelled > 0, modelled, np.inf)
        variance = np.maximum(variance - slope**2 * modelled, 0.0) + slope**2 * output
        moments = OutputMoments(mean, variance, statistics.output_mean, output, slope * output)
        return moments.prediction(trace, statistics.scale)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Modelled moments in integer units, each float64 [C]: of the error, of the output, and of both together."""

    mean: FloatArray
    variance: FloatArray
    covariance: FloatArray
    output_variance: FloatArray


def _moments(group: GroupStatistics, error: FloatArray, fan_in: int) -> _Moments:
    """Moments of one group; error [W, X].

    `between` moments are those of n * M[patch, c], `within` those of the random pairing, averaged over patches.
    """
    p, second, covariance = group.code_mean, group.code_second, group.code_covariance
    share = group.weight_share
    pairing = fan_in**2 / (fan_in - 1) if fan_in > 1 else 0.0

    by_code = product(share, error)  # E_w e, [C, X]
    row_square = np.einsum("wx,wx->w", product(error, second), error)  # mean over patches of (E_x e)^2, [W]
    within = (
        share @ (error**2 @ p - row_square) - by_code**2 @ p + np.einsum("cx,cx->c", product(by_code, second), by_code)
    )
    between = np.einsum("cx,cx->c", product(by_code, covariance), by_code)

    codes = group.codes - p @ group.codes
    weighted = share * group.weights  # [C, W]
    weight_mean = weighted.sum(1)
    tilt = p * codes - second @ codes  # mean over patches of p_x (x - patch mean)
    within_both = weighted @ (error @ tilt) - weight_mean * (by_code @ tilt)
    between_both = weight_mean * (by_code @ (covariance @ codes))

    code_within = p @ codes**2 - codes @ second @ codes
    weight_spread = (weighted * group.weights).sum(1) - weight_mean**2
    output = pairing * code_within * weight_spread + (fan_in * weight_mean) ** 2 * (codes @ covariance @ codes)
    return _Moments(
        mean=fan_in * (by_code @ p),
        variance=np.maximum(pairing * within + fan_in**2 * between, 0.0),
        covariance=pairing * within_both + fan_in**2 * between_both,
        output_variance=np.maximum(output, 0.0),
    )
