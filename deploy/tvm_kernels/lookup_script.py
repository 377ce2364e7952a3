"""The register look-up kernel as TVMScript; what it computes and how data are prepared is in `lookup.py`."""

# The annotations of the kernel are TVMScript, not Python types.
# mypy: disable-error-code="name-defined,no-untyped-def"

from dataclasses import dataclass
from typing import Any

from approx.tvm_adapter import tvm_submodule
from deploy.tvm_kernels.geometry import ConvShape, largest_divisor
from deploy.tvm_kernels.requantise import requantised

LANES = 32
REGISTER_PAIR = 64  # entries one permutation chooses from
_HALF = LANES // 2
_PAIRS = 2  # pairs of input channels between a load and a store of the sums

# Interleaving works inside 128-bit lanes: word 8 q + r (+ 4) belongs to output channel 4 q + r (+ 16).
LOW_WORDS = [8 * q + r for q in range(4) for r in range(4)]
HIGH_WORDS = [word + 4 for word in LOW_WORDS]


@dataclass(frozen=True)
class LookupKind:
    """Which look-up kernel: entries of a table row (128 or 256), and whether weight zero points are subtracted."""

    entries: int
    weight_zero: bool


class _Expressions:
    """The kernel's arithmetic as TVM expressions; buffers and loop variables are passed in.

    `words` is one int16 buffer: table [256, entries], index [taps, depth, wide], sign [taps, depth / 2, wide, 2].
    """

    def __init__(self, shape: ConvShape, kind: LookupKind) -> None:
        self.T = tvm_submodule("script.tirx")
        self.shape = shape
        self.kind = kind
        self.depth = shape.source[2] + shape.source[2] % 2
        self.wide = -(-shape.result[2] // LANES) * LANES
        self.taps = shape.kernel[0] * shape.kernel[1]
        self.pairs = largest_divisor(self.depth // 2, _PAIRS)
        self.groups = self.depth // (2 * self.pairs)
        top, left, bottom, right = shape.padding
        self.height, self.width = shape.source[0] + top + bottom, shape.source[1] + left + right
        self.sample = self.height * self.width * self.depth
        self.index_start = 256 * kind.entries
        self.sign_start = self.index_start + self.taps * self.depth * self.wide
        self.word_count = self.sign_start + self.taps * self.depth * self.wide

    def padded(self, codes: Any, numbers: Any, n: Any, i: Any, j: Any, c: Any) -> Any:
        """uint8 code at a position of the padded source; 0 in the spare channel."""
        T, (top, left, _, _), (height, width, channels) = self.T, self.shape.padding, self.shape.source
        rows, columns = T.And(i >= top, i < top + height), T.And(j >= left, j < left + width)
        inside = T.And(T.And(rows, columns), c < channels)
        border = T.if_then_else(c < channels, T.cast(numbers[0], "uint8"), T.uint8(0))
        return T.if_then_else(inside, codes[n, i - top, j - left, c], border)

    def place(self, n: Any, i: Any, j: Any, step: Any) -> Any:
        """Where the codes of a step lie in the padded source; a step is one tap and `2 * pairs` channels."""
        tap = step // self.groups
        row = i * self.shape.stride[0] + tap // self.shape.kernel[1] * self.shape.dilation[0]
        column = j * self.shape.stride[1] + tap % self.shape.kernel[1] * self.shape.dilation[1]
        pixel = n * self.sample + (row * self.width + column) * self.depth
        return pixel + step % self.groups * 2 * self.pairs

    def code_total(self, codes: Any, at: Any) -> Any:
        """int32 sum of a step's codes."""
        return _total([self.T.cast(codes[at + k], "int32") for k in range(2 * self.pairs)])

    def more(self, words: Any, codes: Any, at: Any, step: Any, block: Any, upper: int) -> Any:
        """int32x16: what a step adds to 16 sums, the lower or upper half of an output block."""
        terms = []
        for pair in range(self.pairs):
            k = step * 2 * self.pairs + 2 * pair
            found = [self._looked_up(words, codes[at + 2 * pair + d], k + d, block) for d in range(2)]
            order = (LOW_WORDS, HIGH_WORDS)[upper]
            woven = self.T.Shuffle(found, [lane for word in order for lane in (word, LANES + word)])
            sign = self.sign_start + k * self.wide + block * 2 * LANES + upper * LANES
            signs = words[self.T.Ramp(sign, 1, LANES)]
            terms.append(self.T.call_llvm_pure_intrin("int32x16", "llvm.x86.avx512.pmaddw.d.512", woven, signs))
        return _total(terms)

    def _looked_up(self, words: Any, code: Any, k: Any, block: Any) -> Any:
        """int16x32: entries of the row of `code` for the k-th weights of an output block."""
        T, row = self.T, self.T.cast(code, "int32") * self.kind.entries
        index = words[T.Ramp(self.index_start + k * self.wide + block * LANES, 1, LANES)]
        found = []
        for start in range(0, self.kind.entries, REGISTER_PAIR):
            low, high = (words[T.Ramp(row + start + half, 1, LANES)] for half in (0, LANES))
            found.append(T.call_llvm_pure_intrin("int16x32", "llvm.x86.avx512.vpermi2var.hi.512", low, index, high))
        bit = REGISTER_PAIR
        while len(found) > 1:
            chosen = (index & T.Broadcast(T.int16(bit), LANES)) != T.Broadcast(T.int16(0), LANES)
            found = [T.Select(chosen, odd, even) for even, odd in zip(found[::2], found[1::2], strict=True)]
            bit *= 2
        return found[0]

    def finished(self, total: Any, code_total: Any, scaling: Any, numbers: Any, o: Any, dtype: str) -> Any:
        """Output code of channel `o` from its sum."""
        multiplier, shift, zero = (self.T.cast(scaling[row, o], "int32") for row in (0, 2, 3))
        if self.kind.weight_zero:
            total = total - zero * code_total
        return requantised(total, multiplier, scaling[1, o], shift, (numbers[1], numbers[2], numbers[3]), dtype)


def _total(terms: list[Any]) -> Any:
    while len(terms) > 1:
        terms = [a + b for a, b in zip(terms[::2], terms[1::2], strict=False)] + terms[len(terms) // 2 * 2 :]
    return terms[0]


def lookup_kernel(shape: ConvShape, kind: LookupKind, dtype: str) -> Any:
    """PrimFunc (codes, numbers, words, scaling, result)."""
    T, e = tvm_submodule("script.tirx"), _Expressions(shape, kind)
    rows, columns, outputs = shape.result

    @T.prim_func
    def lookup(codes: T.handle, numbers: T.handle, words: T.handle, scaling: T.handle, result: T.handle):
        T.func_attr({"tirx.noalias": True})
        Codes = T.match_buffer(codes, (shape.batch, *shape.source), "uint8")
        Numbers = T.match_buffer(numbers, (4,), "int32")
        Words = T.match_buffer(words, (e.word_count,), "int16")
        Scaling = T.match_buffer(scaling, (4, e.wide), "int64")
        Result = T.match_buffer(result, (shape.batch, rows, columns, outputs), dtype)
        Padded = T.alloc_buffer((shape.batch * e.sample,), "uint8")
        Sums = T.alloc_buffer((e.wide,), "int32", scope="local")
        Scaled = T.alloc_buffer((e.wide,), dtype, scope="local")
        CodeTotal = T.alloc_buffer((1,), "int32", scope="local")
        for n, i, j, c in T.grid(shape.batch, e.height, e.width, e.depth):
            Padded[n * e.sample + (i * e.width + j) * e.depth + c] = e.padded(Codes, Numbers, n, i, j, c)
        for n, i, j in T.grid(shape.batch, rows, columns):
            CodeTotal[0] = 0
            for half in T.unroll(e.wide // _HALF):
                Sums[T.Ramp(half * _HALF, 1, _HALF)] = T.Broadcast(0, _HALF)
            for step in T.serial(e.taps * e.groups):
                CodeTotal[0] = CodeTotal[0] + e.code_total(Padded, e.place(n, i, j, step))
                for block in T.unroll(e.wide // LANES):
                    Sums[T.Ramp(block * LANES, 1, _HALF)] = Sums[T.Ramp(block * LANES, 1, _HALF)] + e.more(
                        Words, Padded, e.place(n, i, j, step), step, block, 0
                    )
                    Sums[T.Ramp(block * LANES + _HALF, 1, _HALF)] = Sums[
                        T.Ramp(block * LANES + _HALF, 1, _HALF)
                    ] + e.more(Words, Padded, e.place(n, i, j, step), step, block, 1)
            for half in T.serial(e.wide // _HALF):
                for lane in T.vectorized(_HALF):
                    Scaled[half * _HALF + lane] = e.finished(
                        Sums[half * _HALF + lane], CodeTotal[0], Scaling, Numbers, half * _HALF + lane, dtype
                    )
            for o in T.serial(outputs):
                Result[n, i, j, o] = Scaled[o]

    return lookup
