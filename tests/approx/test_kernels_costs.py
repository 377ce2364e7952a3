"""Factors of the cost model that were measured here: kept, used, and ignored when damaged."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from approx import tvm_adapter
from approx.kernels import cost_factors, dispatch
from approx.kernels.geometry import ConvGeometry

SHAPE = ConvGeometry(16, 16, 16, 32, 32, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1)
pytestmark = pytest.mark.skipif(not tvm_adapter.tvm_available(), reason="TVM is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("PICOJOULE_CACHE", str(tmp_path))
    cost_factors.cost_factors.cache_clear()
    yield tmp_path / "kernels"
    cost_factors.cost_factors.cache_clear()


def chosen() -> dispatch.Path:
    return dispatch.cheapest(torch.randint(0, 60_000, (255, 256), dtype=torch.int32), SHAPE)[0]


def test_factors_change_the_choice_and_the_prediction(folder: Path) -> None:
    before = chosen()
    assert before.name == "row_table" and not cost_factors.cost_factors()
    cost_factors.save_cost_factors({"row_table": 1e6, "gather": 0.5})
    assert chosen().name != "row_table"
    assert list(folder.glob("costs-*")) == [cost_factors.factors_file()]
    gather = dispatch.PATHS[0]
    assert dispatch.predicted_ns(gather, SHAPE, None) == 0.5 * gather.nanoseconds(SHAPE, None)
    cost_factors.cost_factors.cache_clear()  # as a later process
    assert cost_factors.cost_factors() == {"row_table": 1e6, "gather": 0.5}


@pytest.mark.parametrize(
    "text", ["", "[]", '{"row_table": 0.0}', '{"row_table": "fast"}', '{"row_table": NaN}', "{}"[:1], "\0"]
)
def test_damaged_factors_are_ignored_and_said(folder: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    folder.mkdir(parents=True)
    cost_factors.factors_file().write_text(text)
    assert not cost_factors.cost_factors()
    assert "kernels calibrate` again" in caplog.text
    assert chosen().name == "row_table"


def test_predictions_are_finite_and_rise_with_the_size() -> None:
    table = torch.randint(0, 60_000, (255, 256), dtype=torch.int32)
    wider = ConvGeometry(16, 16, 16, 64, 64, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1)
    for path in dispatch.PATHS:
        prepared = path.prepare(table)
        if prepared is not None:
            small, large = (dispatch.predicted_ns(path, shape, prepared) for shape in (SHAPE, wider))
            assert 0 < small < large < math.inf
