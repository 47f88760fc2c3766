"""`python -m benchmarks.flow`: what following gradient flow costs, beside classical solvers.

Every method follows the same flow over the same time, at several tolerances. Its error is the
distance of its end from that of dopri5 at rtol 1e-11 (a closed form for the quadratic). A peer is
compared with our cheapest run that is at least as exact: "at equal error".
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import inf, isfinite
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import thalweg
from thalweg._machine import machine_of
from thalweg.gradient_flow import (
    ExactQuadratic,
    ExponentialAdams,
    ExponentialRosenbrock,
    Integrator,
    RungeKutta4,
    RungeKuttaChebyshev,
    Torchdiffeq,
    flow,
)
from thalweg.problems import (
    deep_tanh_digits,
    quadratic,
    stiff_regression,
    tanh_digits,
)

HERE = Path(__file__).parent
OURS = "exponential Adams"
MOST_GRADIENTS = 200_000


@dataclass(frozen=True)
class Course:
    """A problem and the time over which its flow is followed.

    Args:
        said: in words.
        make: the problem.
        span: flow time [param²/loss].
    """

    said: str
    make: Callable[[], thalweg.Problem]
    span: float


COURSES = {
    "quadratic": Course(
        "quadratic, n = 100, eigenvalues 1e-3 to 1e3",
        lambda: quadratic(tuple(np.logspace(-3, 3, 100))),
        3.0,
    ),
    "P4": Course("stiff regression (P4)", stiff_regression, 40.0),
    "P1": Course("tanh digits (P1)", tanh_digits, 50.0),
    "P2": Course("deep tanh digits (P2)", deep_tanh_digits, 172.0),
}


@dataclass(frozen=True)
class Lap:
    """One method at one tolerance.

    Args:
        course: which problem.
        family: the method without its tolerance.
        method: the method in words.
        gradients: gradient-equivalents: a gradient 1, a product with the Hessian 2.
        seconds: wall time.
        error: ‖θ − θ_reference‖ at the end [param].
        defect: of the energy identity, relative.
        ending: why it ended, if not at the end.
    """

    course: str
    family: str
    method: str
    gradients: float
    seconds: float
    error: float
    defect: float
    ending: str


def methods(course: str) -> list[tuple[str, Integrator]]:
    """All of them, the cheap ones first."""
    found: list[tuple[str, Integrator]] = []
    if course == "quadratic":
        found += [("exact", ExactQuadratic())]
    found += [
        (OURS, ExponentialAdams(tol)) for tol in (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
    ]
    found += [("exponential Rosenbrock", ExponentialRosenbrock(tol)) for tol in (1e-4, 1e-6)]
    found += [("Chebyshev", RungeKuttaChebyshev(tol)) for tol in (1e-3, 1e-5)]
    found += [("Runge–Kutta 4 at 1/λ₁", RungeKutta4())]
    found += [("dopri5", Torchdiffeq("dopri5", rtol)) for rtol in (1e-4, 1e-6, 1e-8, 1e-10)]
    return found


def reference_of(course: str) -> Tensor:
    """θ at the end, as exactly as it can be had."""
    problem, span = COURSES[course].make(), COURSES[course].span
    if course == "quadratic":
        values, Q = torch.linalg.eigh(problem.model.A)
        along = Q.T @ problem.data[0]
        return Q @ (-torch.expm1(-values * span) / values * along)
    return flow(problem, span, Torchdiffeq("dopri5", 1e-11), reads_sharpness=False).end


def ran(course: str, family: str, method: Integrator, reference: Tensor) -> Lap:
    """One lap; λ_max is read before, outside of the clock."""
    problem, span = COURSES[course].make(), COURSES[course].span
    start = time.perf_counter()
    found = flow(problem, span, method, reads_sharpness=False, max_gradients=MOST_GRADIENTS)
    seconds = time.perf_counter() - start
    error = float((found.end - reference).norm()) if found.is_finished else inf
    return Lap(
        course,
        family,
        found.integrator,
        found.cost.gradient_equivalents,
        seconds,
        error,
        found.energy_defect,
        "" if found.is_finished else found.ending,
    )


def compared(laps: list[Lap], peer: Lap) -> tuple[Lap, float, float] | None:
    """Our cheapest lap that is as exact as the peer's, and the two ratios."""
    ours = [lap for lap in laps if lap.family in (OURS, "exact") and lap.error <= peer.error]
    if not ours or not isfinite(peer.error):
        return None
    best = min(ours, key=lambda lap: lap.gradients)
    return best, peer.gradients / best.gradients, peer.seconds / best.seconds


def written(laps: list[Lap], sharpness: dict[str, float], machine: str) -> str:
    """The report as Markdown."""
    lines = [
        "# Gradient flow",
        "",
        "Written by `python -m benchmarks.flow`. Gradient-equivalents: a gradient counts 1, a",
        "product with the Hessian 2. The error is ‖θ − θ_reference‖ at the end; the reference is",
        "dopri5 at rtol 1e-11, for the quadratic its closed form. Ratios are those of a peer to",
        "our cheapest run (exponential Adams; exact for the quadratic) of no larger error.",
        "",
        f"Machine: {machine}.",
    ]
    for name, course in COURSES.items():
        own = [lap for lap in laps if lap.course == name]
        if not own:
            continue
        largest = sharpness[name]
        lines += [
            "",
            f"## {course.said}, time {course.span:g}",
            "",
            f"Largest λ_max on the way {largest:.4g}; λ_max t = {largest * course.span:.4g}.",
            "",
            "| method | gradient-equivalents | seconds | error | energy defect | "
            "gradients: × ours | seconds: × ours | ours |",
            "|---|---:|---:|---:|---:|---:|---:|---|",
        ]
        for lap in own:
            found = None if lap.family in (OURS, "exact") else compared(own, lap)
            ratios = ("–", "–", lap.ending or "–")
            if found is not None:
                best, gradients, seconds = found
                ratios = (f"{gradients:.1f}", f"{seconds:.1f}", best.method)
            elif lap.family not in (OURS, "exact") and not lap.ending:
                ratios = ("–", "–", "none as exact")
            lines.append(
                f"| {lap.method} | {lap.gradients:,.0f} | {lap.seconds:.2f} | {lap.error:.1e} | "
                f"{lap.defect:.1e} | {ratios[0]} | {ratios[1]} | {ratios[2]} |"
            )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the courses that were asked for; others keep what was measured of them before."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow", description=__doc__)
    parser.add_argument("--courses", nargs="*", default=list(COURSES), choices=list(COURSES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    kept = HERE / "flow.json"
    known = json.loads(kept.read_text()) if kept.exists() else {"laps": [], "sharpness": {}}
    laps = [Lap(**lap) for lap in known["laps"] if lap["course"] not in arguments.courses]
    sharpness: dict[str, float] = dict(known["sharpness"])
    for course in arguments.courses:
        reference = reference_of(course)
        read = flow(COURSES[course].make(), COURSES[course].span, ExponentialAdams(1e-6))
        sharpness[course] = max(reading.value for reading in read.sharpness)
        for family, method in methods(course):
            laps.append(ran(course, family, method, reference))
            print(laps[-1], flush=True)
        kept.write_text(
            json.dumps({"laps": [asdict(lap) for lap in laps], "sharpness": sharpness}, indent=1)
        )
        machine = machine_of(torch.zeros(1, dtype=torch.float64))
        (HERE / "FLOW.md").write_text(written(laps, sharpness, machine), encoding="utf-8")


if __name__ == "__main__":
    main()
