"""Critical points, by the default and by the baselines: `python -m benchmarks.critical`.

The linear autoencoder of 16 inputs and 4 hidden units, Σ = diag(1..16): how many of 100 walks end
below |∇L|² = 1e-20, whether each is the class of critical points that its loss names, with the
index of the closed formula, and how many classes are covered; then the same for each baseline from
the same starts, each walk allowed the gradient-equivalents that the default spent on average, and
again without a limit that binds. Then the autoencoder 16-8-16-16 with swish on pooled digits, with
a weight decay, which keeps its critical points finite, and without. Where a walk is no certified
critical point, its reason is counted.

Seconds are processor time of this machine as it is; gradient-equivalents are the same everywhere.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from collections.abc import Sequence
from itertools import product
from time import process_time

import torch

from thalweg import Problem, find_critical
from thalweg.critical import (
    CriticalSearch,
    DampedNewton,
    FoundPoint,
    GradientNormDescent,
    GradientTrustRegion,
    NewtonMR,
    Solver,
    Trajectories,
)
from thalweg.problems import CriticalClass, linear_autoencoder, linear_classes, swish_autoencoder

BASELINES: tuple[Solver, ...] = (NewtonMR(), DampedNewton(), GradientNormDescent())


def main() -> None:
    """Prints all tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("linear", "swish"))
    parser.add_argument("--no-baselines", action="store_true")
    parser.add_argument(
        "--weight-decay",
        type=float,
        nargs="+",
        default=[1e-4, 0.0],
        help="swish, one after another",
    )
    parser.add_argument("--samples", type=int, help="digits of the swish network; all by default")
    parser.add_argument("--max-gradients", type=float, default=400_000, help="a walk, swish")
    asked = parser.parse_args()
    if asked.only != "swish":
        linear(asked)
    if asked.only != "linear":
        swish(asked)


def linear(asked: argparse.Namespace) -> None:
    """The linear autoencoder, walks matched to their classes."""
    problem = linear_autoencoder()
    classes = linear_classes(problem)
    print(f"linear autoencoder, k = 16, p = 4: {len(classes):,} classes; {asked.starts} walks")
    print(HEADER)
    steps = Trajectories(max_steps=600)
    found = None
    for is_deflated in (True, False):
        found, seconds = searched(
            problem, asked, GradientTrustRegion(), steps, 200_000, is_deflated
        )
        name = found.solver + (", deflated" if is_deflated else "")
        print(line(name, found, classes, seconds))
    if asked.no_baselines or found is None:
        return
    work = sum(point.num_gradients for point in found.points) / len(found.points)
    for limit, said in ((work, "equal work"), (100_000, "100,000 a walk")):
        for solver in BASELINES:
            other, seconds = searched(problem, asked, solver, steps, limit, False)
            print(line(f"{other.solver}, {said}", other, classes, seconds))


def swish(asked: argparse.Namespace) -> None:
    """The swish autoencoder: certified, flat, unfinished, and why."""
    problem = swish_autoencoder(asked.samples)
    print(f"\nswish autoencoder 16-8-16-16 on {problem.num_samples:,} digits; {asked.starts} walks")
    solvers: Sequence[Solver | None] = (
        (None,) if asked.no_baselines else (None, GradientTrustRegion(), *BASELINES)
    )
    starts = Trajectories(max_steps=2000)
    for decay, solver in product(asked.weight_decay, solvers):
        found, seconds = searched(problem, asked, solver, starts, asked.max_gradients, False, decay)
        below = sum(point.gradient_square < 1e-20 for point in found.points)
        proved = sum(point.certificate.kind == "proved" for point in found.points)
        print(
            f"weight decay {decay:g}, {found.solver}: {found.headline}; {below} below 1e-20, "
            f"{proved} proved; {mean_work(found.points):,.0f} gradients and "
            f"{seconds / len(found.points):.1f} s a walk",
            flush=True,
        )
        for reason, count in reasons(found.points).most_common():
            print(f"  {count:>3}  {reason}", flush=True)


HEADER = (
    f"{'solver':<44} {'<1e-20':>6} {'certified':>9} {'proved':>6} {'matched':>7} {'classes':>7} "
    f"{'gradients':>9} {'s':>6}   (of a walk)"
)


def line(name: str, found: CriticalSearch, classes: Sequence[CriticalClass], seconds: float) -> str:
    """One row of the table."""
    points = found.points
    below = [point for point in points if point.gradient_square < 1e-20]
    matches = [matched(point, classes) for point in below]
    covered = {known.subset for known in matches if known is not None}
    return (
        f"{name:<44} {len(below):>6} {sum(p.is_certified for p in points):>9} "
        f"{sum(p.certificate.kind == 'proved' for p in points):>6} "
        f"{sum(known is not None for known in matches):>7} {len(covered):>7} "
        f"{mean_work(points):>9,.0f} {seconds / len(points):>6.2f}"
    )


def matched(point: FoundPoint, classes: Sequence[CriticalClass]) -> CriticalClass | None:
    """The class of the subset that W₂W₁ projects on, if loss, index and null space are its own."""
    W1, W2 = point.params[:64].reshape(4, 16), point.params[64:].reshape(16, 4)
    diagonal = (W2 @ W1).diagonal()
    # Eigenvalues ascend along the axes; subsets count from the largest.
    subset = tuple(15 - i for i in reversed(range(16)) if float(diagonal[i]) > 0.5)
    projection = torch.diag((diagonal > 0.5).double())
    if float((W2 @ W1 - projection).norm()) > 1e-6:
        return None
    for known in classes:
        if known.subset == subset:
            is_same = (
                abs(point.value - known.value) < 1e-9
                and point.index == known.index
                and point.inertia.null == known.null_dimension
            )
            return known if is_same else None
    return None


def searched(
    problem: Problem,
    asked: argparse.Namespace,
    solver: Solver | None,
    starts: Trajectories,
    limit: float,
    is_deflated: bool,
    weight_decay: float = 0.0,
) -> tuple[CriticalSearch, float]:
    """A search, and processor seconds where one process did it all, else wall seconds."""
    begun = process_time()
    found = find_critical(
        problem,
        asked.starts,
        generator=torch.Generator().manual_seed(asked.seed),
        starts=starts,
        solver=solver,
        weight_decay=weight_decay,
        max_gradients=limit,
        is_deflated=is_deflated,
        num_processes=asked.processes,
    )
    return found, process_time() - begun if asked.processes == 1 else found.seconds


def mean_work(points: Sequence[FoundPoint]) -> float:
    """Gradient-equivalents of a walk."""
    return sum(point.num_gradients for point in points) / len(points)


def reasons(points: Sequence[FoundPoint]) -> Counter[str]:
    """What walks came to, numbers left out."""
    said = (f"{point.status.value}: {point.reason}" for point in points)
    return Counter(re.sub(r"\d[\d.,]*(e[-+]?\d+)?", "…", reason) for reason in said)


if __name__ == "__main__":
    main()
