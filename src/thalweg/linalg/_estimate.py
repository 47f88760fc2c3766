"""A number from random probes, with its standard error."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A number estimated from random probes.

    Attributes:
        value: The estimate, unbiased.
        stderr: Its standard error in the same unit: infinite where one probe cannot tell it, and
            never below rounding.
        num_products: Products taken.
        route: How products were computed, in words; "" for an operator that does not say.

    Example:
        >>> from thalweg.linalg import Estimate
        >>> print(Estimate(value=2.0, stderr=0.1, num_products=30))
        2 ± 0.1
    """

    value: float
    stderr: float
    num_products: int
    route: str = ""

    def __str__(self) -> str:
        return f"{self.value:.6g} ± {self.stderr:.2g}"
