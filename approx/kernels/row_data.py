"""A layer table prepared for the row-table kernel: unsigned 16-bit entries and one offset per row."""

from dataclasses import dataclass

import torch

ENTRY_MAX = 2**16 - 1


@dataclass(frozen=True, eq=False)
class RowData:
    """The table as `table[j, x] = entries[j, x] + offset[j]`, with one more row of zeros for padding.

    Attributes:
        entries: uint16 [(n_w + 1) * 256].
        offset: int32 [n_w + 1].
        span: int32 [n_w + 1], the largest of each row's entries.
        paired: whether any two rows (True) or no two rows (False) can be added in 16 bits; None: it depends.
        common: the offset of all rows, None where they differ.
    """

    entries: torch.Tensor
    offset: torch.Tensor
    span: torch.Tensor
    paired: bool | None
    common: int | None

    @property
    def padding_index(self) -> int:
        """Weight index whose products are all zero, n_w."""
        return len(self.offset) - 1

    def pairs_fit(self, index: torch.Tensor) -> bool:
        """Whether rows of weights 2k and 2k+1 can be added in 16 bits, for all `index` int16 [O, K] (even K)."""
        if self.paired is not None:
            return self.paired
        spans = self.span.index_select(0, index.flatten().int()).view(-1, 2)
        return int(spans.sum(dim=1).max()) <= ENTRY_MAX

    def offset_sums(self, index: torch.Tensor) -> torch.Tensor:
        """Sums of the offsets of `index` int16 [O, K] over K, int32 [O], modulo 2^32."""
        if self.common is not None:
            total = (self.common * index.shape[1] + 2**31) % 2**32 - 2**31
            return torch.full((len(index),), total, dtype=torch.int32)
        offsets = self.offset.index_select(0, index.flatten().int())
        return offsets.view(index.shape).sum(dim=1, dtype=torch.int32)


def row_span(table: torch.Tensor) -> int:
    """Largest difference of two entries of one row; the row-table kernel needs at most 65535."""
    low, high = table.aminmax(dim=1)
    return int((high.long() - low.long()).max())


def prepare(table: torch.Tensor) -> RowData | None:
    """Prepares an int32 [n_w, 256] table, or returns None where a row spans more than 65535.

    A row's offset is its smallest entry; where no rows can be paired anyway and all of them fit one offset, it is the
    smallest entry of the table.
    """
    if row_span(table) > ENTRY_MAX:
        return None
    low, high = (torch.nn.functional.pad(bound.long(), (0, 1)) for bound in table.aminmax(dim=1))
    narrowest, widest = (int(span) for span in (high - low)[:-1].aminmax())
    paired = True if 2 * widest <= ENTRY_MAX else False if 2 * narrowest > ENTRY_MAX else None
    if paired is False and int(high.max() - low.min()) <= ENTRY_MAX:
        low = low.min().expand_as(low)
    entries = torch.nn.functional.pad(table.long(), (0, 0, 0, 1)) - low[:, None]
    common = int(low[0]) if bool((low == low[0]).all()) else None
    span = entries.amax(dim=1).to(torch.int32)
    return RowData(entries.to(torch.uint16).flatten(), low.to(torch.int32), span, paired, common)
