"""find_critical: walks from many starts to where the gradient vanishes."""

from __future__ import annotations

from math import isfinite
from os import PathLike
from time import perf_counter

import torch

from thalweg._errors import ThalwegError
from thalweg._machine import machine_of
from thalweg._problem import Problem
from thalweg._progress import Progress
from thalweg._reading import reading
from thalweg._training import threads
from thalweg.critical._deflation import Deflation
from thalweg.critical._found_point import FoundPoint
from thalweg.critical._gradient_trust_region import GradientTrustRegion
from thalweg.critical._ground import DENSE_UP_TO, Ground
from thalweg.critical._hidden_units import exchangeable
from thalweg.critical._linear_network import linear_network
from thalweg.critical._search import CriticalSearch, in_orbits
from thalweg.critical._solver import Solver
from thalweg.critical._starts import MergedUnits, Starts, Trajectories
from thalweg.critical._storage import Kept, check_resumable
from thalweg.critical._symmetric_descent import SymmetricDescent
from thalweg.critical._walks import Walks, taking

PER_ROUND = 10
"""Walks that know the same points: those found in earlier rounds. However many processes there
are, a walk knows the same, so that results do not depend on their number."""

MOST_KNOWN = 32
"""Orbits that walks are kept away from: the latest ones."""


def find_critical(
    problem: Problem,
    num_starts: int = 10,
    *,
    generator: torch.Generator | None = None,
    params: str | tuple[str, ...] = "*",
    starts: Starts | None = None,
    solver: Solver | None = None,
    weight_decay: float = 0.0,
    tol: float = 1e-20,
    max_gradients: float = 200_000,
    is_deflated: bool = True,
    dense_up_to: int = DENSE_UP_TO,
    num_processes: int = 1,
    resume: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> CriticalSearch:
    """Finds critical points of any index, and says of each how surely it is one.

        ∇L(θ) = 0,   index = #{λᵢ(∇²L) < 0},   L = loss on the data + ½ c ‖θ‖²

    Starts are drawn along training trajectories; from each a solver goes to where the gradient
    vanishes, and is sent off again from points that are known. Where the network has hidden units
    that may change places, and is not linear, some units are made equal and the loss is lowered
    among equal units, which ends at saddles of every index; elsewhere the solver climbs as well.
    Without weight decay most networks have critical points at infinity only: a walk that runs off
    says so, and c > 0 keeps all of them within reach.

    Every point gets its index, r and r_H, and a Newton–Kantorovich certificate; what is none is
    said to be flat or unfinished, and why. All is computed in float64. Ctrl-C ends the search early
    with what is finished.

    Args:
        problem: what is searched.
        num_starts: walks.
        generator: of everything random; seeded with 0 when left out.
        params: globs for the parameters that move.
        starts: where walks begin; `Trajectories()` when left out.
        solver: the method; when left out `SymmetricDescent()`, from the starts in `MergedUnits`,
            where hidden units may change places, `GradientTrustRegion()` for linear networks and
            the rest.
        weight_decay: c, as in `torch.optim.SGD` [loss/param²].
        tol: ‖∇L‖² below which the gradient counts as zero [loss²/param²].
        max_gradients: what each walk may spend, in gradient-equivalents.
        is_deflated: whether walks are sent off again from points of earlier rounds of ten.
        dense_up_to: n up to which the whole Hessian is taken apart; beyond, no index is certain.
        num_processes: how many walk at once, forked, one thread each; the result is the same.
        resume: a file that keeps every finished walk; those that it holds are not taken again.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        `CriticalSearch`; `.orbits`, `.page()`, `.save("critical.html")`, `.to_json()`.

    Raises:
        ThalwegError: if a number is out of range, or the file belongs to another search.
        SecondDerivativeError: if an operation of the network has no second derivative.

    Cost:
        For each walk some tens of Hessians, of n products each, for n ≤ dense_up_to; a product is
        two gradients.

    Source: Frye et al. 2021, "Critical point-finding methods reveal gradient-flat regions of deep
    network losses", for the setting and r; see `GradientTrustRegion`, `Deflation` and
    `Certificate` for the methods.

    Example:
        >>> import thalweg
        >>> problem = thalweg.problems.linear_autoencoder((3.0, 2.0, 1.0), 1)
        >>> found = find_critical(problem, 4)
        >>> [point.certificate.kind for point in found.points]
        ['proved', 'proved', 'proved', 'proved']
    """
    begun = perf_counter()
    _check(num_starts, tol, max_gradients, weight_decay, num_processes)
    progress = progress or (lambda stage, share: None)
    generator = generator or torch.Generator().manual_seed(0)
    seed = generator.initial_seed()
    own = int(torch.randint(2**62, (), generator=generator))
    with reading(), threads(1):
        ground = Ground(problem, params, weight_decay=weight_decay, dense_up_to=dense_up_to)
        starts, solver = _chosen(ground, starts, solver)
        told = progress
        drawn = starts.draw(
            ground, num_starts, generator, lambda share: told("starts", 0.1 * share)
        )
    setting = (
        f"{solver!r}, {starts!r}, tol={tol!r}, max_gradients={max_gradients!r}, "
        f"is_deflated={is_deflated!r}, dense_up_to={dense_up_to!r}, weight_decay={weight_decay!r}"
    )
    kept = None
    if resume is not None:
        kept = Kept.at(check_resumable(resume), setting, drawn)
    done = {} if kept is None else dict(kept.points)
    earlier = 0.0 if kept is None else kept.seconds
    walks = Walks(ground, solver, tol, max_gradients, own)
    drawing = ground.num_gradients
    is_interrupted = False
    with taking(walks, num_processes) as taker:
        try:
            for first in range(0, num_starts, PER_ROUND):
                numbers = range(first, min(first + PER_ROUND, num_starts))
                deflation = _known(done, first) if is_deflated else Deflation()
                tasks = [(n, drawn[n], deflation) for n in numbers if n not in done]
                for point in taker.take(tasks):
                    done[point.number] = point
                    told(f"walks: {len(done)} of {num_starts}", 0.1 + 0.9 * len(done) / num_starts)
                    if kept is not None:
                        kept.keep(done, earlier + perf_counter() - begun)
        except KeyboardInterrupt:
            is_interrupted = True
    if is_interrupted and not done:
        raise KeyboardInterrupt
    points = in_orbits([done[n] for n in sorted(done)])
    progress("done", 1.0)
    return CriticalSearch(
        title=problem.name or type(problem.model).__name__,
        solver=solver.name,
        num_parameters=ground.size,
        num_asked=num_starts,
        points=points,
        weight_decay=weight_decay,
        tol=tol,
        max_gradients=max_gradients,
        num_gradients=drawing + sum(point.num_gradients for point in points),
        seconds=earlier + perf_counter() - begun,
        seed=seed,
        machine=machine_of(drawn[0].vector),
    )


def _chosen(ground: Ground, starts: Starts | None, solver: Solver | None) -> tuple[Starts, Solver]:
    """What was asked for, and for the rest what suits the network and the other."""
    if solver is None and _has_units(ground):
        merged = (
            starts if isinstance(starts, MergedUnits) else MergedUnits(starts or Trajectories())
        )
        return merged, SymmetricDescent()
    if starts is None:
        merges = isinstance(solver, SymmetricDescent) and exchangeable(ground)
        starts = MergedUnits() if merges else Trajectories()
    return starts, solver or GradientTrustRegion()


def _has_units(ground: Ground) -> bool:
    """Whether units may change places, and there is more to the network than linear layers."""
    return linear_network(ground.here()) is None and bool(exchangeable(ground))


def _known(done: dict[int, FoundPoint], first: int) -> Deflation:
    """What earlier rounds found, for walks to be sent off from."""
    earlier = in_orbits([point for number, point in done.items() if number < first])
    orbits = [point.signature for point in earlier if point.orbit == point.number]
    return Deflation(tuple(orbits[-MOST_KNOWN:]))


def _check(
    num_starts: int, tol: float, max_gradients: float, weight_decay: float, num_processes: int
) -> None:
    if num_starts < 1 or num_processes < 1:
        raise ThalwegError(
            f"find_critical(num_starts={num_starts}, num_processes={num_processes}); give at least "
            f"one of each"
        )
    if not tol > 0 or not max_gradients > 0:
        raise ThalwegError(
            f"find_critical(tol={tol}, max_gradients={max_gradients}); give positive numbers, "
            f"tol=1e-20 for instance"
        )
    if not (weight_decay >= 0 and isfinite(weight_decay)):
        raise ThalwegError(
            f"find_critical(weight_decay={weight_decay}); give 0, or a small positive number such "
            f"as 1e-4"
        )
