"""`Refinement`: judges a choice for a layer by its true error. Dearer than a prediction, so for few candidates."""

from abc import ABC, abstractmethod

from approx import LayerChoice


class Refinement(ABC):
    """Abstract. `refine_candidates` applies one to candidates."""

    @abstractmethod
    def of(self, layer: str, choice: LayerChoice) -> float:
        """Degradation in nats by this choice in this layer alone, >= 0.

        Raises:
            ValueError: there is no such layer or circuit, or the circuit does not fit.
        """
