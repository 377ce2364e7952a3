"""Linear programmes over 0/1 variables, solved to proven optimality by HiGHS: one thread, fixed seed, no gap left.

HiGHS (Huangfu and Hall, Mathematical Programming Computation 10, 2018) works to 1e-9, absolute: scale costs and rows
so that this is nothing, and check what comes back.
"""

import highspy
import numpy as np
import numpy.typing as npt

from noise_models.prediction import FloatArray

_OPTIONS: dict[str, bool | int | float] = {
    "output_flag": False,
    "threads": 1,
    "random_seed": 0,
    "mip_rel_gap": 0.0,
    "mip_abs_gap": 1e-9,
    "mip_feasibility_tolerance": 1e-9,
    "primal_feasibility_tolerance": 1e-9,
    "dual_feasibility_tolerance": 1e-9,
}
IntArray = npt.NDArray[np.int64]


class BinaryProgramme:
    """Minimise cost @ x over x in {0, 1}^N within the rows added to it.

    Args:
        cost: float64 [N].
    """

    def __init__(self, cost: FloatArray) -> None:
        count = len(cost)
        self._solver = highspy.Highs()
        for option, value in _OPTIONS.items():
            self._solver.setOptionValue(option, value)
        self._solver.addVars(count, np.zeros(count), np.ones(count))
        self._solver.changeColsCost(count, np.arange(count), np.asarray(cost, dtype=np.float64))
        self._solver.changeColsIntegrality(count, np.arange(count), np.full(count, highspy.HighsVarType.kInteger))

    def at_most(self, bound: float, indices: IntArray, values: FloatArray) -> None:
        """Adds the row values @ x[indices] <= bound."""
        self._solver.addRow(-highspy.kHighsInf, bound, len(indices), indices, values)

    def exactly_one(self, indices: IntArray) -> None:
        """Adds the row sum(x[indices]) = 1."""
        self._solver.addRow(1.0, 1.0, len(indices), indices, np.ones(len(indices)))

    def solve(self) -> FloatArray | None:
        """An optimal x, float64 [N], whole up to HiGHS's tolerance; None when nothing is within the rows.

        Raises:
            ValueError: HiGHS gives up; says with which status.
        """
        status = self._run()
        if status != highspy.HighsModelStatus.kOptimal:
            # HiGHS 1.15's presolve calls a rare programme infeasible that is not, or fails at it
            status = self._run(presolve="off")
        if status == highspy.HighsModelStatus.kOptimal:
            return np.array(self._solver.getSolution().col_value)
        # a programme over binary variables is never unbounded
        if status in (highspy.HighsModelStatus.kInfeasible, highspy.HighsModelStatus.kUnboundedOrInfeasible):
            return None
        raise ValueError(f"HiGHS found no answer: {self._solver.modelStatusToString(status)}")

    def _run(self, presolve: str = "choose") -> highspy.HighsModelStatus:
        self._solver.setOptionValue("presolve", presolve)
        self._solver.clearSolver()
        self._solver.run()
        return self._solver.getModelStatus()
