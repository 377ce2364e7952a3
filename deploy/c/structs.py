"""Members of the C structs that describe windows and output codes."""

from deploy.program import AvgPool2d, Conv2d, Linear, MaxPool2d, TensorSpec


def codes(spec: TensorSpec, low: int, high: int) -> dict[str, object]:
    """Members of a `pj_codes`: how an operation writes `spec`, clamped to low..high."""
    return {"zero": spec.zero_point, "low": low, "high": high, "wide": int(spec.dtype == "int16")}


def window(op: Conv2d | Linear | MaxPool2d | AvgPool2d, source: TensorSpec, target: TensorSpec) -> dict[str, object]:
    """Members of a `pj_window`; a linear layer is a 1 x 1 convolution of a 1 x 1 picture."""
    height, width, channels = (1, 1, *source.shape) if isinstance(op, Linear) else source.shape
    out_height, out_width = (1, 1) if isinstance(op, Linear) else target.shape[:2]
    kernel, stride, padding, dilation = (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)
    if isinstance(op, Conv2d):
        kernel = (op.weights.values.shape[1], op.weights.values.shape[2])
        dilation = op.dilation
    elif isinstance(op, MaxPool2d | AvgPool2d):
        kernel = op.kernel
    if not isinstance(op, Linear):
        stride, padding = op.stride, op.padding
    return {
        "height": height,
        "width": width,
        "channels": channels,
        "out_height": out_height,
        "out_width": out_width,
        "kernel_height": kernel[0],
        "kernel_width": kernel[1],
        "stride_y": stride[0],
        "stride_x": stride[1],
        "pad_top": padding[0],
        "pad_left": padding[1],
        "dilation_y": dilation[0],
        "dilation_x": dilation[1],
        "pad_code": source.zero_point,
    }
