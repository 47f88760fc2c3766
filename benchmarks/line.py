"""Line: one row of a table, which is what one contender did at one quantity."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

OURS = "thalweg"
REFERENCE = "reference"
PEER = "peer"


@dataclass(frozen=True)
class Line:
    """What a contender took and how far off it was.

    Args:
        network: W1 to W4.
        threads: of torch.
        dtype: "float32" or "float64".
        quantity: for instance "Hessian product".
        contender: with its version.
        role: OURS, PEER, or REFERENCE for what one writes by hand.
        cost: time in gradients; None where there is none.
        error: against float64 autograd, relative; what exactly, the quantity says.
        allowed: the error up to which the answer counts.
        products: operator products taken, where they can be counted.
        setting: the setting it was given.
        note: why there is no number, or what else is to say.
        seconds: the time itself, median.
        repeats: behind the median.
    """

    network: str
    threads: int
    dtype: str
    quantity: str
    contender: str
    role: str
    cost: float | None = None
    error: float | None = None
    allowed: float | None = None
    products: int | None = None
    setting: str = ""
    note: str = ""
    seconds: float | None = None
    repeats: int | None = None

    @property
    def is_right(self) -> bool:
        """Whether its time counts: there is one, and its answer is right."""
        if self.cost is None:
            return False
        return self.allowed is None or (self.error is not None and self.error <= self.allowed)


def released(package: str, name: str) -> str:
    """The name of a contender with the version that is installed, if one is."""
    try:
        return f"{name} {version(package)}"
    except PackageNotFoundError:
        return name


def complaint(error: BaseException) -> str:
    """Why a contender has no number, in one line."""
    if isinstance(error, ModuleNotFoundError):
        return "not installed"
    words = " ".join(str(error).split())
    return f"raised {type(error).__name__}: {words[:110]}"
