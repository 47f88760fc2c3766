"""Walks: each from its start by its own numbers, in this process or in several."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from thalweg._errors import ThalwegError
from thalweg._reading import reading
from thalweg._training import threads
from thalweg.critical._deflation import Deflation
from thalweg.critical._found_point import FoundPoint, judged
from thalweg.critical._ground import Ground
from thalweg.critical._solver import Goal, Solver, approach
from thalweg.critical._starts import Start


@dataclass(frozen=True, eq=False)
class Walks:
    """What every walk of a search has in common.

    Args:
        ground: the surface.
        solver: the method.
        tol: ‖∇L‖² below which the gradient counts as zero.
        max_gradients: what each may spend.
        seed: from which, with the walk's number, its own generator is seeded.
    """

    ground: Ground
    solver: Solver
    tol: float
    max_gradients: float
    seed: int

    def take(self, number: int, start: Start, deflation: Deflation) -> FoundPoint:
        """One walk; on one thread, so that it rounds alike wherever it is taken."""
        ground = self.ground
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + number) % 2**63)
        with reading(), threads(1):
            before = ground.num_gradients, ground.num_hessians
            goal = Goal(self.tol, self.max_gradients, deflation)
            walk = approach(ground, self.solver, ground.at(start.vector), goal, generator)
            return judged(
                ground, walk, start, number, tol=self.tol, before=before, generator=generator
            )


_SHARED: list[Walks] = []
"""What forked processes inherit: problems hold functions that cannot be sent."""

Task = tuple[int, Start, Deflation]


def _taken(task: Task) -> FoundPoint:
    torch.set_num_threads(1)
    return _SHARED[-1].take(*task)


@contextmanager
def taking(walks: Walks, num_processes: int) -> Iterator[Taker]:
    """A way to take walks, at once in several processes where these can be forked.

    Raises:
        ThalwegError: if processes cannot be forked here, or the problem is on an accelerator.
    """
    if num_processes == 1:
        yield Taker(walks, None)
        return
    if "fork" not in multiprocessing.get_all_start_methods():
        raise ThalwegError(
            f"num_processes={num_processes}: processes cannot be forked on this system, and a "
            f"problem's functions cannot be sent; give num_processes=1"
        )
    if walks.ground.layout.device.type != "cpu":
        raise ThalwegError(
            f"num_processes={num_processes}: the problem is on {walks.ground.layout.device}, which "
            f"forked processes cannot share; give num_processes=1"
        )
    _SHARED.append(walks)
    pool = multiprocessing.get_context("fork").Pool(num_processes, initializer=_ignore_interrupt)
    try:
        yield Taker(walks, pool)
    finally:
        pool.terminate()
        pool.join()
        _SHARED.pop()


def _ignore_interrupt() -> None:
    """Ctrl-C is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


class Taker:
    """Takes walks, here or in a pool.

    Args:
        walks: what they have in common.
        pool: None to take them here.
    """

    def __init__(self, walks: Walks, pool: multiprocessing.pool.Pool | None) -> None:
        self._walks, self._pool = walks, pool

    def take(self, tasks: Sequence[Task]) -> Iterator[FoundPoint]:
        """The points found, as they come."""
        if self._pool is None:
            yield from (self._walks.take(*task) for task in tasks)
        else:
            yield from self._pool.imap_unordered(_taken, tasks)
