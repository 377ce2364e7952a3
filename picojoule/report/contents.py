"""What a report shows: plain, validated data, readable back from JSON (`RunReport.model_validate_json`).

Accuracies are percent, savings and shares are fractions, energies picojoule per image. `sigma` is one standard
deviation.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from picojoule.config import Section

Percent = Annotated[float, Field(ge=0, le=100)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Energy = Annotated[float, Field(ge=0)]
Size = Annotated[int, Field(ge=0)]


IN_VIEW = 8.0
"""Percentage points below the exact network that pictures show; points far below would flatten all others."""


class Amount(Section):
    """An energy with its uncertainty, pJ per image."""

    pj: Energy
    sigma_pj: Energy = 0.0


class Headline(Section):
    """The figures in front.

    Attributes:
        accuracy_float, accuracy_pruned, accuracy_int8, accuracy_approximate, accuracy_retrained: top-1 on the same
            test images; None where there was no such stage.
        test_images: how many they were.
        macs_before, macs_after, parameters_before, parameters_after: of the float network, before and after pruning.
        saved_multiplication, saved_total: fraction of the energy saved, with standard deviations.
        multiplication_share_before, multiplication_share_after: of the total energy.
        backends_agree: did all back ends give the same integers; None where none was built.
    """

    accuracy_float: Percent
    accuracy_pruned: Percent | None = None
    accuracy_int8: Percent
    accuracy_approximate: Percent
    accuracy_retrained: Percent | None = None
    test_images: Size
    macs_before: Size
    macs_after: Size
    parameters_before: Size
    parameters_after: Size
    saved_multiplication: Annotated[float, Field(le=1)]
    saved_multiplication_sigma: Energy = 0.0
    saved_total: Annotated[float, Field(le=1)]
    saved_total_sigma: Energy = 0.0
    multiplication_share_before: Fraction
    multiplication_share_after: Fraction
    backends_agree: bool | None = None

    @property
    def accuracy_final(self) -> float:
        """Of what is deployed."""
        return self.accuracy_approximate if self.accuracy_retrained is None else self.accuracy_retrained


class PointKind(StrEnum):
    """What a point of the energy/accuracy plane is."""

    PREDICTED = "predicted"
    MEASURED = "measured"
    UNIFORM = "uniform"
    CHOSEN = "chosen"
    RETRAINED = "retrained"


class FrontPoint(Section):
    """A configuration in the energy/accuracy plane.

    Attributes:
        kind: predicted (on the solved front only), measured (a front point measured bit-exactly), uniform (one
            circuit everywhere), chosen (the selected front point), retrained (the same after retraining).
        label: short name; the circuit's for uniform ones.
        saved_multiplication: fraction of multiplication energy saved.
        accuracy: measured bit-exactly, percent; None where it was only predicted.
        degradation: predicted increase of the loss function; None where there is no prediction.
    """

    kind: PointKind
    label: str = ""
    saved_multiplication: Annotated[float, Field(le=1)]
    accuracy: Percent | None = None
    degradation: Annotated[float, Field(ge=0)] | None = None


class EnergyBar(Section):
    """Energy of one configuration by component: "multiplication" and so on, in the order to stack them."""

    label: str
    components: dict[str, Amount]
    total: Amount


class LayerRow(Section):
    """One layer.

    Attributes:
        name, circuit, operands: which circuit is used how; "exact" where none is.
        macs: per image, after pruning.
        energy_before, energy_after: all components, exact 8 bit and with the circuit.
        multiplication_before, multiplication_after: multiplications alone.
        channels_before, channels_after: output channels, before and after pruning.
        tolerance, predicted_error: relative standard deviation the layer bears, and its circuit makes.
    """

    name: str
    circuit: str
    operands: str
    macs: Size
    energy_before: Energy
    energy_after: Energy
    multiplication_before: Energy
    multiplication_after: Energy
    channels_before: Size | None = None
    channels_after: Size | None = None
    tolerance: Annotated[float, Field(ge=0)] | None = None
    predicted_error: Annotated[float, Field(ge=0)] | None = None


class TargetRow(Section):
    """What was built for a target, and whether it computes the same.

    Attributes:
        name: of the target.
        what: in a few words, "C, run in an emulator".
        golden_images, golden_equal: images compared, and how many gave the same integers.
        details: name -> text, for instance {"flash": "41 kB"}.
    """

    name: str
    what: str
    golden_images: Size
    golden_equal: Size
    details: dict[str, str] = Field(default_factory=dict)


class CircuitSource(Section):
    """A circuit in use and where its figures come from."""

    name: str
    layers: Size
    energy_relative: Annotated[float, Field(ge=0)]
    source: str
    node: str
    method: str
    uncertainty: Annotated[float, Field(ge=0)]


class RunReport(Section):
    """Everything a report shows. Empty parts are left out of the page.

    Attributes:
        name: of the run.
        description: one line: network, data, device.
        headline: the figures in front.
        points: of the energy/accuracy plane; the predicted ones in order of energy.
        accuracy_note: what the accuracies of the points were measured on.
        bars: energy breakdowns, the first is the reference.
        layers: in execution order.
        targets: what was built.
        circuits: provenance of those in use.
        hardware: name -> text about the device description.
        environment: versions and processor.
        configuration: the resolved configuration, TOML.
        command: reproduces the run.
        notes: what is not counted, and other remarks.
    """

    name: str
    description: str
    headline: Headline
    points: tuple[FrontPoint, ...] = ()
    accuracy_note: str = ""
    bars: tuple[EnergyBar, ...] = ()
    layers: tuple[LayerRow, ...] = ()
    targets: tuple[TargetRow, ...] = ()
    circuits: tuple[CircuitSource, ...] = ()
    hardware: dict[str, str] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    configuration: str = ""
    command: str = ""
    notes: tuple[str, ...] = ()

    def of_kind(self, *kinds: PointKind) -> list[FrontPoint]:
        """The points of these kinds, in their order."""
        return [point for point in self.points if point.kind in kinds]

    @property
    def was_pruned(self) -> bool:
        """True where a layer lost channels."""
        return any((row.channels_after or 0) < (row.channels_before or 0) for row in self.layers)
