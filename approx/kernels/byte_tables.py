"""A layer table as bytes, for the look-up instructions of `byte_lookup_script`."""

from dataclasses import dataclass
from math import ceil

import torch

from .. import tvm_adapter

FEATURE = "avx512vbmi"
"""What a machine needs: look-ups of 64 bytes in a table of 128 (AVX-512 VBMI)."""


@dataclass(frozen=True, eq=False)
class ByteRows:
    """Rows of products: `row[r, i] = offset[r] + Σ_q 256^q entries[r, q, i]`.

    Attributes:
        offset: int32 [rows], the smallest entry of each row.
        entries: uint8 [rows, planes, 256]; as few planes as the widest row needs, 1 to 4.
    """

    offset: torch.Tensor
    entries: torch.Tensor

    @property
    def planes(self) -> int:
        """Bytes of an entry."""
        return self.entries.shape[1]


@dataclass(frozen=True, eq=False)
class ByteTables:
    """A layer table by its rows, and by its columns.

    Attributes:
        by_weight: row w holds the products of weight w with every code.
        by_code: row x holds the products of code x with every weight; None where a weight index needs more than a byte.
    """

    by_weight: ByteRows
    by_code: ByteRows | None


def prepare(table: torch.Tensor) -> ByteTables | None:
    """Cuts an int32 [n_w, 256] table into bytes; None on a machine that cannot look bytes up."""
    if FEATURE not in tvm_adapter.host_features():
        return None
    return ByteTables(_byte_rows(table), _byte_rows(table.T) if len(table) <= 256 else None)


def _byte_rows(rows: torch.Tensor) -> ByteRows:
    offset = rows.amin(dim=1)
    entries = torch.zeros(len(rows), 256, dtype=torch.int64)
    entries[:, : rows.shape[1]] = rows.long() - offset.long()[:, None]
    planes = max(1, ceil(int(entries.max()).bit_length() / 8))
    return ByteRows(offset, torch.stack([(entries >> 8 * q).to(torch.uint8) for q in range(planes)], dim=1))
