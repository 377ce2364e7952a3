"""A layer table prepared for the row-table kernel: unsigned 16-bit entries and one offset per row."""

from dataclasses import dataclass

import torch

ENTRY_MAX = 2**16 - 1


@dataclass(frozen=True, eq=False)
class RowData:
    """The table as `table[j, x] = entries[j, x] + offset[j]`, with one more row of zeros for padding.

    Attributes:
        entries: uint16 [(n_w + 1) * 256]; the last row is zero.
        offset: int64 [n_w + 1], the smallest entry of each row.
        span: int64 [n_w + 1], the largest entry of each row after the offset is taken away.
    """

    entries: torch.Tensor
    offset: torch.Tensor
    span: torch.Tensor

    @property
    def padding_index(self) -> int:
        """Weight index whose products are all zero, n_w."""
        return len(self.offset) - 1

    def pairs_fit(self, index: torch.Tensor) -> bool:
        """Whether rows of weights 2k and 2k+1 can be added in 16 bits, for all `index` [..., K] (even K)."""
        if 2 * int(self.span.max()) <= ENTRY_MAX:
            return True
        spans = self.span[index.long()]
        return int((spans[..., 0::2] + spans[..., 1::2]).max()) <= ENTRY_MAX


def row_span(table: torch.Tensor) -> int:
    """Largest difference of two entries of one row; the row-table kernel needs at most 65535."""
    low, high = table.aminmax(dim=1)
    return int((high.long() - low.long()).max())


def prepare(table: torch.Tensor) -> RowData | None:
    """Prepares an int32 [n_w, 256] table, or returns None where a row spans more than 65535."""
    if row_span(table) > ENTRY_MAX:
        return None
    n_w = len(table)
    offset = torch.zeros(n_w + 1, dtype=torch.int64)
    offset[:n_w] = table.amin(dim=1)
    entries = torch.zeros(n_w + 1, 256, dtype=torch.int64)
    entries[:n_w] = table - offset[:n_w, None]
    return RowData(entries.to(torch.uint16).flatten(), offset, entries.amax(dim=1))
