"""Stage: where one process measures, and what it may spend there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.exact import Exact
from benchmarks.line import Line
from benchmarks.networks import Network


@dataclass
class Stage:
    """One network with one number of threads in one dtype.

    Args:
        network: in that dtype.
        exact: the same in float64.
        threads: of torch.
        dtype: its name.
        seconds: what all measurements together may take, about.
        settings: what `settings.find` found for the neighbours on this network.
        is_quick: fewer repeats, fewer seeds.
        lines: what was measured so far.
    """

    network: Network
    exact: Exact
    threads: int
    dtype: str
    seconds: float
    settings: dict[str, Any]
    is_quick: bool
    lines: list[Line] = field(default_factory=list)

    @property
    def is_first(self) -> bool:
        """Whether this is the stage for what need not be measured four times."""
        return self.threads == 1 and self.dtype == "float32"

    @property
    def product_tolerance(self) -> float:
        """The relative error of one product up to which it is right: rounding, amplified."""
        return 1e-4 if self.dtype == "float32" else 1e-9

    def add(self, quantity: str, contender: str, role: str, **found: Any) -> None:
        """One more line."""
        self.lines.append(
            Line(self.network.name, self.threads, self.dtype, quantity, contender, role, **found)
        )

    def vector(self, seed: int, columns: int | None = None) -> torch.Tensor:
        """A random vector (n,) or block (n, k), the same numbers in either dtype."""
        n = self.network.num_params
        shape = (n,) if columns is None else (n, columns)
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(shape, generator=generator).to(self.network.dtype)

    def generators(self, count: int) -> Iterator[torch.Generator]:
        """`count` generators with different seeds."""
        return (torch.Generator().manual_seed(100 + seed) for seed in range(count))
