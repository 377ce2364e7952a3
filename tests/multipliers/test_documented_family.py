"""The family that docs/multipliers.md shows is one: it passes the conformance suite."""

import re
import sys
import types
from pathlib import Path

import pytest

from multipliers import Family
from multipliers.families import FAMILIES
from multipliers.testing import FamilyConformance

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "multipliers.md"


def documented() -> type[Family]:
    code = next(
        block for block in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "(Family)" in block
    )
    module = sys.modules["documented_family"] = types.ModuleType("documented_family")
    exec(compile(code, str(GUIDE), "exec"), module.__dict__)
    found: type[Family] = module.__dict__["TruncatedRows"]
    return found


class TestDocumentedFamily(FamilyConformance):
    @pytest.fixture(params=[0, 2, 5])
    def family(self, request: pytest.FixtureRequest) -> Family:
        return documented()(request.param)  # type: ignore[call-arg]

    def test_name_stands_for_the_circuit(self, family: Family) -> None:
        """Only modules of the package are in the registry; its name must be free there."""
        assert family.name(8) == f"mul8u_{family.suffix}" and family.family not in FAMILIES

    def test_refuses_impossible_widths(self, family: Family) -> None:
        with pytest.raises(ValueError, match="rows"):
            family.check(8, 0)
