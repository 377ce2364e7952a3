"""Coordinate descent over the integer weights of one layer, with the products of its circuit.

    minimise over w   Σ_s (Y_sc - step_c Σ_k T[w_ck, x_sk] - bias_c)^2        for every output channel c

Y are responses wanted at S outputs, x the codes under them. One weight at a time takes the value that is best for the
others as they are: with the residuals of channel c summed by code, h_x = Σ_{s: x_sk = x} r_sc, all values are judged
by one product of the table with h. The bias is free (it is fitted afterwards), so everything is centred.

ALWANN's weight map (Mrazek et al., ICCAD 2019) is the special case of one map for all weights of a layer, each judged
for itself; judging a weight together with the error the others leave is what OBQ and GPTQ do for exact products
(Frantar et al., arXiv 2208.11580, 2210.17323).

Codes that hardly vary make the sums cancel almost wholly; they are done in float64.

A change must lower the squared error by more than 2 / (1 - K / S)^2 times its mean, about what one more free parameter
gains by chance: Akaike's criterion where samples abound, generalised cross-validation (Craven and Wahba, 1979) where
the fan-in K comes near their number S; none is made beyond. With rough circuits, stricter thresholds lose more small
true gains than they avoid false ones; more samples help always.
"""

from dataclasses import dataclass

import torch


@dataclass(frozen=True, eq=False)
class Descent:
    """One layer. S samples, G groups, K fan-in, C channels (C / G of each group), R rows of products.

    Attributes:
        codes: uint8 [G, S, K].
        products: float64 [R, 256].
        step: float32 [C], real size of one integer unit.
        allowed: bool [C, R], rows a channel may use.
        frozen: bool [C, K], weights that stay.
        residual: float32 [S, C], contiguous, centred; kept up to date.
        rows: int64 [C, K], row of each weight; kept up to date.
    """

    codes: torch.Tensor
    products: torch.Tensor
    step: torch.Tensor
    allowed: torch.Tensor
    frozen: torch.Tensor
    residual: torch.Tensor
    rows: torch.Tensor

    def run(self, passes: int, seed: int = 0) -> None:
        """Visits every position of the fan-in `passes` times, in random order."""
        random = torch.Generator().manual_seed(seed)
        squares, error = self.products.square(), self.residual.double().square().mean(0)
        for _ in range(passes):
            for position in torch.randperm(self.rows.shape[1], generator=random).tolist():
                error += self._improve(position, squares, error)

    def _improve(self, position: int, squares: torch.Tensor, error: torch.Tensor) -> torch.Tensor:
        """Gives each channel's weight at one position its best value.

        Args:
            position: 0..K-1.
            squares: of the products.
            error: float64 [C], mean squared residual.

        Returns:
            What that adds to the error, not positive.
        """
        groups, samples, fan_in = self.codes.shape
        channels = self.residual.shape[1]
        per_group = channels // groups
        places = (self.codes[:, :, position].long() + 256 * torch.arange(groups)[:, None]).T.flatten()  # [S * G]
        counts = torch.bincount(places, minlength=256 * groups).view(groups, 256).T.double()  # [256, G]
        sums = torch.zeros(groups * 256, per_group).index_add_(0, places, self.residual.view(-1, per_group))
        sums = sums.view(groups, 256, per_group).transpose(0, 1).reshape(256, channels).double()
        by_channel = counts.repeat_interleave(per_group, 1)
        sums -= by_channel * sums.sum(0) / samples  # what float32 leaves of the centring

        row = self.rows[:, position]
        now = self.products[row].T  # [256, C]
        sums += self.step * by_channel * (now - (by_channel * now).sum(0) / samples)
        energy = squares @ counts - (self.products @ counts).square() / samples  # [R, G]
        score = self.step**2 * energy.repeat_interleave(per_group, 1) - 2 * self.step * (self.products @ sums)
        score.masked_fill_(~self.allowed.T, torch.inf)
        lowest, best = score.min(0)
        gain = (score.gather(0, row[None])[0] - lowest) / samples
        moved = (gain > chance_gain(samples, fan_in) / samples * error) & ~self.frozen[:, position]
        if moved.any():
            change = torch.where(moved, self.products[best].T - now, 0.0)  # [256, C]
            change = self.step * (change - (by_channel * change).sum(0) / samples)
            change = change.view(256, groups, per_group).transpose(0, 1).reshape(-1, per_group).float()
            self.residual.view(-1, per_group).sub_(change.index_select(0, places))
            self.rows[:, position] = torch.where(moved, best, row)
        return torch.where(moved, -gain, 0.0)


def chance_gain(samples: int, fan_in: int) -> float:
    """What a free parameter lowers the squared error by without any merit, in units of its mean; see the module."""
    return 2.0 / (1.0 - fan_in / samples) ** 2 if fan_in < samples else float("inf")
