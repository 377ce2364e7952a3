"""`EnergyReport`: energy per layer and component, before and after, with uncertainty and provenance."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.hardware import Hardware
from deploy.quantity import Quantity, saved, total
from deploy.workload import LayerWorkload
from multipliers import Multiplier

COMPONENTS = (
    "multiplication",
    "accumulation",
    "operand_overhead",
    "requantisation",
    "weight_memory",
    "activation_memory",
)
"""Parts of a layer's energy; `deploy.energy` says what each holds."""

COMBINATION = (
    "1 sigma, first order: within one source one common relative error, which cancels in ratios; "
    "different sources independent. A circuit's ratio to the exact circuit carries the uncertainty its "
    "provenance states for the absolute figure, an upper bound"
)

NOT_COUNTED = (
    "residual additions, pooling, activation functions and other operations without multiply-accumulates",
    "bias and requantisation constants, control, clock, leakage, interconnect, idle multipliers",
    "input-dependent switching: every multiplication costs its circuit's average, zeros included",
    "repeated reads of a tensor because of tiling at the far memory levels",
)


@dataclass(frozen=True)
class LayerEnergy:
    """One line of the account.

    Attributes:
        workload: what the layer does.
        circuit: name of the multiplier, "exact" without one.
        operands: weight coding.
        relative_power: circuit's energy / exact circuit's, the ratio published studies weight by MACs.
        before, after: component -> energy, pJ per image; before is the exact 8-bit layer.
    """

    workload: LayerWorkload
    circuit: str
    operands: str
    relative_power: float
    before: Mapping[str, Quantity]
    after: Mapping[str, Quantity]


@dataclass(frozen=True)
class EnergyReport:
    """Energy of one image through a network. Built by `deploy.energy.account`.

    Attributes:
        hardware: the device description.
        layers: in execution order.
        circuits: name -> multiplier, of those in use.
        uncertainties: source of figures -> relative standard deviation.
    """

    hardware: Hardware
    layers: tuple[LayerEnergy, ...]
    circuits: Mapping[str, Multiplier]
    uncertainties: Mapping[str, float]

    def before(self, component: str | None = None) -> Quantity:
        """Energy of the exact 8-bit network: one component, or all of them."""
        return total(layer.before[c] for layer in self.layers for c in _components(component))

    def after(self, component: str | None = None) -> Quantity:
        """Energy with the assigned circuits: one component, or all of them."""
        return total(layer.after[c] for layer in self.layers for c in _components(component))

    @property
    def total_before_pj(self) -> float:
        """Energy of the exact 8-bit network, pJ per image."""
        return self.before().value

    @property
    def total_after_pj(self) -> float:
        """Energy with the assigned circuits, pJ per image."""
        return self.after().value

    @property
    def saved_multiplication(self) -> float:
        """Saved fraction of the multiplication energy alone; no sign logic, accumulation or memory."""
        return self._saved("multiplication")[0]

    @property
    def saved_total(self) -> float:
        """Saved fraction of everything counted."""
        return self._saved(None)[0]

    @property
    def saved_total_sigma(self) -> float:
        """Standard deviation of `saved_total`."""
        return self._saved(None)[1]

    @property
    def saved_multiplication_sigma(self) -> float:
        """Standard deviation of `saved_multiplication`."""
        return self._saved("multiplication")[1]

    @property
    def published_relative_power(self) -> float:
        """Sum of MACs * power / power of the exact circuit, over the sum of MACs (AGN, ALWANN and others).

        Multipliers only, every layer counted, exact circuit of the same signedness.
        """
        macs = sum(layer.workload.macs for layer in self.layers)
        return sum(layer.workload.macs * layer.relative_power for layer in self.layers) / macs

    def shares(self, *, after: bool = False) -> dict[str, float]:
        """Component -> fraction of the whole energy, before (or after) the assignment."""
        energy = self.after if after else self.before
        whole = energy().value
        return {c: energy(c).value / whole for c in COMPONENTS}

    def rows(self) -> list[dict[str, Any]]:
        """One flat mapping per layer, for tables; energies in pJ per image."""
        return [self._row(layer) for layer in self.layers]

    def to_json(self) -> dict[str, Any]:
        """The whole report as a JSON object: totals, savings, layers, and where every figure comes from."""
        return {
            "version": 1,
            "unit": "pJ per image",
            "totals": {
                "before_pj": self.total_before_pj,
                "before_sigma_pj": self.before().sigma(self.uncertainties),
                "after_pj": self.total_after_pj,
                "after_sigma_pj": self.after().sigma(self.uncertainties),
                "macs": sum(layer.workload.macs for layer in self.layers),
            },
            "components": {c: self._component(c) for c in COMPONENTS},
            "saved_multiplication": self.saved_multiplication,
            "saved_multiplication_sigma": self.saved_multiplication_sigma,
            "saved_total": self.saved_total,
            "saved_total_sigma": self.saved_total_sigma,
            "published_convention": {
                "relative_power": self.published_relative_power,
                "saved": 1.0 - self.published_relative_power,
                "formula": "sum(MACs * power / power of the exact circuit) / sum(MACs)",
            },
            "layers": self.rows(),
            "provenance": self.provenance(),
        }

    def provenance(self) -> dict[str, Any]:
        """Where every figure comes from, how uncertainties combine, and what is left out."""
        return {
            "hardware": {
                "name": self.hardware.name,
                "node": self.hardware.node,
                "content_hash": self.hardware.content_hash,
                "sources": {
                    key: {"source": source.text, "uncertainty": source.uncertainty}
                    for key, source in self.hardware.sources.items()
                },
            },
            "circuits": {name: _circuit_provenance(circuit) for name, circuit in self.circuits.items()},
            "combination": COMBINATION,
            "not_counted": list(NOT_COUNTED),
        }

    def _saved(self, component: str | None) -> tuple[float, float]:
        return saved(self.before(component), self.after(component), self.uncertainties)

    def _component(self, component: str) -> dict[str, float]:
        before, after = self.before(component), self.after(component)
        return {
            "before_pj": before.value,
            "before_sigma_pj": before.sigma(self.uncertainties),
            "after_pj": after.value,
            "after_sigma_pj": after.sigma(self.uncertainties),
            "share_before": before.value / self.total_before_pj,
            "share_after": after.value / self.total_after_pj,
        }

    def _row(self, layer: LayerEnergy) -> dict[str, Any]:
        work = layer.workload
        before, after = total(layer.before.values()), total(layer.after.values())
        fraction, sigma = saved(before, after, self.uncertainties)
        return {
            "layer": work.name,
            "kind": work.kind,
            "channels": work.channels,
            "macs": work.macs,
            "macs_share": work.macs / sum(other.workload.macs for other in self.layers),
            "circuit": layer.circuit,
            "operands": layer.operands,
            "relative_power": layer.relative_power,
            "before_pj": before.value,
            "after_pj": after.value,
            "after_sigma_pj": after.sigma(self.uncertainties),
            "saved": fraction,
            "saved_sigma": sigma,
            **{f"{c}_before_pj": layer.before[c].value for c in COMPONENTS},
            **{f"{c}_after_pj": layer.after[c].value for c in COMPONENTS},
        }


def _components(component: str | None) -> tuple[str, ...]:
    if component is None:
        return COMPONENTS
    if component not in COMPONENTS:
        raise ValueError(f"component {component!r} is not known; known are {', '.join(COMPONENTS)}")
    return (component,)


def _circuit_provenance(circuit: Multiplier) -> dict[str, Any]:
    return {
        "content_hash": circuit.content_hash,
        "energy_relative": circuit.energy_relative,
        "source": circuit.provenance.source,
        "node": circuit.provenance.node,
        "method": circuit.provenance.method,
        "uncertainty": circuit.provenance.uncertainty,
    }
