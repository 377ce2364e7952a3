import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from picojoule.torchvision_ops import compiled_operators_load, import_torchvision, nms

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")  # torchvision's own


def reference_nms(boxes, scores, threshold):
    """Readable definition: walk boxes from the best score, keep those that overlap no kept one too much."""

    def iou(a, b):
        width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
        height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
        union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
        return width * height / union if union else float("nan")

    kept = []
    for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
        if not any(iou(boxes[i], boxes[j]) > threshold for j in kept):
            kept.append(i)
    return kept


corner = st.integers(0, 12)
box = st.tuples(corner, corner, corner, corner).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@settings(max_examples=150)
@given(st.lists(st.tuples(box, st.integers(0, 5)), max_size=12), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
def test_nms_equals_its_definition(items, threshold):
    boxes = [b for b, _ in items]
    scores = [s / 5 for _, s in items]
    got = nms(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), torch.tensor(scores), threshold)
    assert got.dtype == torch.int64
    assert got.tolist() == reference_nms(boxes, scores, threshold)


def test_nms_refuses_bad_shapes():
    with pytest.raises(ValueError, match=r"boxes \[N, 4\].*\[3, 5\]"):
        nms(torch.zeros(3, 5), torch.zeros(3), 0.5)


def test_torchvision_parts_work():
    torchvision = import_torchvision()
    assert import_torchvision() is torchvision
    from torchvision import datasets, models
    from torchvision.ops import batched_nms
    from torchvision.ops import nms as torchvision_nms
    from torchvision.transforms import v2

    boxes = torch.tensor([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30.0]])
    scores = torch.tensor([0.8, 0.9, 0.1])
    assert torchvision_nms(boxes, scores, 0.5).tolist() == [1, 2]
    assert batched_nms(boxes, scores, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 0, 2]
    assert v2.Compose([v2.RandomCrop(8, padding=2), v2.ToDtype(torch.float32, scale=True)])(
        torch.zeros(3, 8, 8, dtype=torch.uint8)
    ).shape == (3, 8, 8)
    assert len(datasets.FakeData(size=3)) == 3
    model = models.get_model("mobilenet_v3_small", weights=None, num_classes=7).eval()
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)


def test_roi_align_has_torchvisions_own_fallback():
    import_torchvision()
    from torchvision.ops import roi_align

    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert roi_align(image, [torch.tensor([[0, 0, 4, 4.0]])], 2, aligned=True).shape == (1, 1, 2, 2)


@pytest.mark.skipif(compiled_operators_load(), reason="torchvision's own operators load here")
def test_operators_without_a_kernel_still_say_so():
    import_torchvision()
    from torchvision.ops import ps_roi_pool

    with pytest.raises(RuntimeError, match="Couldn't load custom C\\+\\+ ops"):
        ps_roi_pool(torch.zeros(1, 4, 4, 4), torch.zeros(1, 5), 2)


def test_nothing_is_declared_where_the_operators_load(monkeypatch):
    import picojoule.torchvision_ops as module

    def fail(library):
        raise AssertionError("declared operators although the compiled ones load")

    monkeypatch.setattr(module, "compiled_operators_load", lambda: True)
    monkeypatch.setattr(module, "_declare", fail)
    import_torchvision()
    assert module.import_torchvision.__wrapped__().__name__ == "torchvision"


def test_missing_torchvision_is_one_clear_line():
    script = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n, p=None: None if n == 'torchvision' else find(n, p)\n"
        "from picojoule.torchvision_ops import import_torchvision\nimport_torchvision()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("ImportError: torchvision is not installed: run")
