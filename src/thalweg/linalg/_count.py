"""How much of a spectrum lies somewhere, with its doubt."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Count:
    """A number of eigenvalues, or a share of them, with an interval around it.

    The interval holds what the quadrature cannot decide, and two standard deviations of the
    probes on either side; `stderr` is the spread of the estimate alone.

    Attributes:
        estimate: Weight of the quadrature there. [eigenvalues, or share of 1 from `mass`]
        stderr: Its standard error over the probes; infinite from one probe. [same]
        low: Lower end of the interval. [same]
        high: Upper end of the interval. [same]

    Example:
        >>> from thalweg.linalg import Count
        >>> print(Count(estimate=3.0, stderr=0.5, low=1.0, high=5.0))
        3 (1 … 5)
    """

    estimate: float
    stderr: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.6g} ({self.low:.6g} … {self.high:.6g})"
