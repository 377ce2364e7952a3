"""Taylor importance of batch norms: the first-order change of the loss when a unit's scale and offset are zeroed.

Molchanov et al., CVPR 2019, arXiv 1906.10771, the batch-norm variant of eq. 8: (gamma dL/dgamma + beta dL/dbeta)^2,
which is the squared gradient of a gate z = 1 on the output of the batch norm.
"""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor

from pruning.criteria.base import Batches, Criterion, Loss, checked_batches
from pruning.criteria.magnitude import per_unit
from pruning.criteria.norms import norms_of
from pruning.criteria.taylor_weight import parameter_gradients
from pruning.groups import Grouping
from pruning.trace import preserved_rng, tensors_of


@final
class TaylorNorm(Criterion):
    """(sum over the unit's batch norms of gamma dgamma + beta dbeta)^2, averaged over minibatches.

    Unlike `TaylorGate`, a residual stream is not gated once per reader but once per block that adds into it:
    together these gates are its removal, so nothing is divided by their number.
    """

    name: ClassVar[str] = "taylor-norm"
    needs_data: ClassVar[bool] = True
    comparable: ClassVar[bool] = True

    def score(self, grouping: Grouping, batches: Batches | None, loss: Loss) -> dict[str, Tensor]:
        """See `Criterion.score`; gradients are those of the minibatch's mean loss.

        Raises:
            ValueError: groups have no batch norm (they are named), or the data does not fit.
        """
        trace, norms = grouping.trace, norms_of(grouping, self.name)
        tensors = tensors_of(trace.model)
        names = sorted({name for found in norms.values() for scale, offset in found for name in (scale.tensor, offset)})
        scores = {g.name: torch.zeros(g.size, dtype=torch.float64) for g in grouping.groups}
        count = 0
        with preserved_rng():
            for inputs, targets in checked_batches(trace, batches, self.name):
                count += 1
                gradients = parameter_gradients(trace, inputs, targets, loss, names)
                moved = {name: (tensors[name].detach() * gradients[name]).double() for name in names}
                for group, found in norms.items():
                    change = sum(per_unit(scale, moved[scale.tensor] + moved[offset]) for scale, offset in found)
                    assert isinstance(change, Tensor)
                    scores[group] += change.square().cpu()
        return {name: total / count for name, total in scores.items()}
