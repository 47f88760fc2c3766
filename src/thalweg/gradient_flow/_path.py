"""The path of a flow between its nodes."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.gradient_flow._integrator import Extension, Node, hermite


@dataclass(frozen=True, eq=False)
class Path:
    """θ(t), by cubics between nodes; where an integrator knows its path exactly, by that.

    Args:
        nodes: in order of time, the first at 0.
        tol: cubics were thinned out and refined so as to stay within this of the steps [param].
        exact: θ and θ̇ at a time, where known.
    """

    nodes: tuple[Node, ...]
    tol: float
    exact: Extension | None = None

    @property
    def end(self) -> float:
        """The last time [param²/loss]."""
        return self.nodes[-1].time

    def at(self, time: float) -> Float[Tensor, " n"]:
        """θ at a time.

        Raises:
            ThalwegError: if the flow did not get there.
        """
        return self._both(time)[0]

    def velocity(self, time: float) -> Float[Tensor, " n"]:
        """θ̇ at a time [loss/param]."""
        return self._both(time)[1]

    def _both(self, time: float) -> tuple[Tensor, Tensor]:
        if not 0 <= time <= self.end:
            raise ThalwegError(
                f"flow({time:g}): this flow goes from 0 to {self.end:.6g}; give a time between"
            )
        if self.exact is not None:
            return self.exact(time)
        after = min(max(1, bisect_right(self.nodes, time, key=_time)), len(self.nodes) - 1)
        if len(self.nodes) == 1:
            return self.nodes[0].vector, self.nodes[0].velocity
        return hermite(self.nodes[after - 1], self.nodes[after], time)


class PathBuilder:
    """Collects nodes, and leaves out those that a cubic between their neighbours meets anyway."""

    def __init__(self, first: Node, tol: float) -> None:
        self._nodes, self._tol = [first], tol
        self._dropped: list[Node] = []

    def add(self, node: Node) -> None:
        """The next node."""
        if len(self._nodes) > 1:
            left, middle = self._nodes[-2], self._nodes[-1]
            passed = [*self._dropped, middle]
            if len(passed) <= _MOST_DROPPED and all(
                float(torch.linalg.vector_norm(hermite(left, node, p.time)[0] - p.vector))
                <= self._tol
                for p in passed
            ):
                self._dropped = passed
                self._nodes[-1] = node
                return
        self._dropped = []
        self._nodes.append(node)

    def cut(self, node: Node) -> None:
        """The path ends here; later nodes are forgotten."""
        self._nodes = [n for n in self._nodes if n.time < node.time]
        self._dropped = []
        self._nodes.append(node)

    def path(self, exact: Extension | None = None) -> Path:
        """What was collected."""
        return Path(tuple(self._nodes), self._tol, exact)


_MOST_DROPPED = 4
"""So many nodes between two that are kept: each of them is compared again with every new one."""


def _time(node: Node) -> float:
    return node.time
