"""Shape of a table convolution, checked once: what every kernel needs to know about where operands lie."""

from dataclasses import dataclass

import torch

INT32_MAX = 2**31 - 1
_PADDING_SIDES = "top, left, bottom, right"


def check_table(table: torch.Tensor) -> None:
    """Checks a layer table: int32 [n_w, 256], contiguous, on the CPU.

    Raises:
        ValueError: naming what was expected and what came.
    """
    if table.dtype != torch.int32 or table.ndim != 2 or table.shape[1] != 256 or table.shape[0] < 1:
        raise ValueError(
            f"table: expected int32 [n_w, 256] (row = weight index, column = activation code), "
            f"got {table.dtype} {list(table.shape)}"
        )
    _check_storage("table", table)


def check_codes(codes: torch.Tensor, axes: str) -> None:
    """Checks activation codes: uint8, contiguous, on the CPU, with one dimension per letter group of `axes`.

    Raises:
        ValueError: naming what was expected and what came.
    """
    if codes.dtype != torch.uint8 or codes.ndim != len(axes.split(", ")):
        raise ValueError(f"codes: expected uint8 [{axes}], got {codes.dtype} {list(codes.shape)}")
    _check_storage("codes", codes)


def check_weight_index(weight_index: torch.Tensor, axes: str, n_w: int) -> None:
    """Checks weight indices: int16 or int32, contiguous, on the CPU, every one a row of the table.

    Raises:
        ValueError: naming what was expected and what came.
    """
    if weight_index.dtype not in (torch.int16, torch.int32) or weight_index.ndim != len(axes.split(", ")):
        raise ValueError(
            f"weight_index: expected int16 or int32 [{axes}], got {weight_index.dtype} {list(weight_index.shape)}"
        )
    _check_storage("weight_index", weight_index)
    if weight_index.numel() == 0:
        return
    low, high = (int(value) for value in weight_index.aminmax())
    if low < 0 or high >= n_w:
        raise ValueError(
            f"weight_index: expected indices 0..{n_w - 1} (the table has {n_w} rows), got {low}..{high}; "
            "add the layer table's offset to the weights first"
        )


def check_code(name: str, code: int) -> None:
    """Checks one activation code, such as the one at padding positions.

    Raises:
        ValueError: not an integer 0..255.
    """
    if not isinstance(code, int) or not 0 <= code <= 255:
        raise ValueError(f"{name}: expected an integer code 0..255 (the input's zero point), got {code!r}")


def check_accumulator(weight_index: torch.Tensor, table: torch.Tensor) -> None:
    """Checks that no sum can leave int32.

    Args:
        weight_index: int16 or int32 [O, ...]; everything after O is summed over.
        table: int32 [n_w, 256].

    Raises:
        ValueError: some output channel could exceed 2^31 - 1; states the worst channel and its bound.
    """
    fan_in = weight_index[0].numel() if len(weight_index) else 0
    low, high = (int(value) for value in table.aminmax())
    if fan_in * max(abs(low), abs(high)) <= INT32_MAX or weight_index.numel() == 0:
        return
    row_peak = table.to(torch.int64).abs().amax(dim=1)
    bounds = row_peak[weight_index.flatten(1).long()].sum(dim=1)
    worst = int(bounds.argmax())
    if int(bounds[worst]) > INT32_MAX:
        raise ValueError(
            f"the sum of output channel {worst} over K = {fan_in} products may reach {int(bounds[worst])}, "
            f"expected at most {INT32_MAX} (int32 accumulator); split the layer along K and add the parts "
            "in 64 bits"
        )


def _check_storage(name: str, tensor: torch.Tensor) -> None:
    if tensor.device.type != "cpu":
        raise ValueError(f"{name}: expected a CPU tensor, got device {tensor.device}; call .cpu() first")
    if not tensor.is_contiguous():
        raise ValueError(
            f"{name}: expected a contiguous tensor, got shape {list(tensor.shape)} with strides "
            f"{list(tensor.stride())}; call .contiguous() first"
        )


@dataclass(frozen=True)
class ConvGeometry:
    """Sizes of one 2-D convolution on channels-last codes; all lengths in elements.

    Attributes:
        batch, height, width, channels: of the input codes [N, H, W, C].
        outputs: output channels O.
        kernel: (kh, kw).
        stride, dilation: (vertical, horizontal).
        padding: (top, left, bottom, right).
        groups: C and O are split into this many equal, independent parts.
    """

    batch: int
    height: int
    width: int
    channels: int
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int

    def __post_init__(self) -> None:
        """Refuses impossible sizes.

        Raises:
            ValueError: naming the argument, what was expected and what came.
        """
        for name in ("stride", "dilation", "kernel"):
            pair = getattr(self, name)
            if not isinstance(pair, tuple) or len(pair) != 2 or min(pair) < 1:
                raise ValueError(f"{name}: expected a tuple of two positive integers, got {pair!r}")
        if not isinstance(self.padding, tuple) or len(self.padding) != 4 or min(self.padding) < 0:
            raise ValueError(
                f"padding: expected a tuple of four integers >= 0 ({_PADDING_SIDES}), got {self.padding!r}"
            )
        if self.groups < 1 or self.channels % self.groups or self.outputs % self.groups:
            raise ValueError(
                f"groups: expected a divisor of input channels {self.channels} and output channels "
                f"{self.outputs}, got {self.groups}"
            )
        if self.out_height < 1 or self.out_width < 1:
            raise ValueError(
                f"kernel {self.kernel} with dilation {self.dilation} is larger than the padded input "
                f"{self.padded_height}x{self.padded_width}; add padding or use a smaller kernel"
            )

    @property
    def padded_height(self) -> int:
        """Input height with padding."""
        return self.height + self.padding[0] + self.padding[2]

    @property
    def padded_width(self) -> int:
        """Input width with padding."""
        return self.width + self.padding[1] + self.padding[3]

    @property
    def out_height(self) -> int:
        """Output height Ho."""
        return (self.padded_height - self.dilation[0] * (self.kernel[0] - 1) - 1) // self.stride[0] + 1

    @property
    def out_width(self) -> int:
        """Output width Wo."""
        return (self.padded_width - self.dilation[1] * (self.kernel[1] - 1) - 1) // self.stride[1] + 1

    @property
    def group_channels(self) -> int:
        """Input channels one output channel sees, C / groups."""
        return self.channels // self.groups

    @property
    def group_outputs(self) -> int:
        """Output channels of one group, O / groups."""
        return self.outputs // self.groups

    @property
    def fan_in(self) -> int:
        """Products per output, K."""
        return self.kernel[0] * self.kernel[1] * self.group_channels


def conv_geometry(
    codes: torch.Tensor,
    weight_index: torch.Tensor,
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int],
    groups: int,
) -> ConvGeometry:
    """Geometry of `table_conv2d(codes u8 [N, H, W, C], weight_index [O, kh, kw, C/groups])`.

    Raises:
        ValueError: sizes that do not fit each other.
    """
    outputs, kernel_height, kernel_width, group_channels = weight_index.shape
    if groups >= 1 and group_channels * groups != codes.shape[3]:
        raise ValueError(
            f"weight_index: expected {codes.shape[3]} channels / {groups} groups in the last dimension "
            f"of [O, kh, kw, C/groups], got {list(weight_index.shape)} for codes {list(codes.shape)}"
        )
    if outputs < 1:
        raise ValueError(f"weight_index: expected at least one output channel, got {list(weight_index.shape)}")
    return ConvGeometry(
        batch=codes.shape[0],
        height=codes.shape[1],
        width=codes.shape[2],
        channels=codes.shape[3],
        outputs=outputs,
        kernel=(kernel_height, kernel_width),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def pad_codes(codes: torch.Tensor, padding: tuple[int, int, int, int], pad_code: int) -> torch.Tensor:
    """Codes u8 [N, H, W, C] with `pad_code` around them (top, left, bottom, right)."""
    top, left, bottom, right = padding
    if not any(padding):
        return codes
    batch, height, width, channels = codes.shape
    padded = codes.new_full((batch, height + top + bottom, width + left + right, channels), pad_code)
    padded[:, top : top + height, left : left + width] = codes
    return padded
