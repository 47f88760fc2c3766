"""`python -m benchmarks.flow`: what following gradient flow costs, beside classical solvers.

Every method follows the same flow over the same time, at several tolerances. Its error is the
distance of its end from that of dopri5 at rtol 1e-11 (a closed form for the quadratic). A peer is
compared with our cheapest run that is at least as exact: "at equal error".

`--courses --products`, without names of courses: how many products with H the exact flow of a
quadratic takes, beside the least number that any combination of products needs.
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
from sklearn.datasets import load_diabetes, load_digits
from torch import Tensor, nn

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
    quadratic_flow,
)
from thalweg.linalg import MatrixOperator, lanczos
from thalweg.problems import (
    quadratic,
    stiff_regression,
    tanh_digits,
)

HERE = Path(__file__).parent
KEPT = HERE / "flow.json"
OURS = "exponential Adams"
TOLS = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 1e-12, 1e-13)
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


def raw_digits() -> thalweg.Problem:
    """Digits as they come, grey values 0 to 16, by a network 64-20-10 with GELU."""
    x, y = load_digits(return_X_y=True)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 20), nn.GELU(), nn.Linear(20, 10)).double()
    data = torch.tensor(x[:300], dtype=torch.float64), torch.tensor(y[:300])
    return thalweg.Problem(model, nn.functional.cross_entropy, data)


def diabetes() -> thalweg.Problem:
    """Standardised inputs, the target in quarters of its unit, by a network 10-20-1 with tanh."""
    x, y = load_diabetes(return_X_y=True, scaled=False)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.Tanh(), nn.Linear(20, 1)).double()
    data = torch.tensor((x - x.mean(0)) / x.std(0)), torch.tensor(y / 4)[:, None]
    return thalweg.Problem(model, nn.functional.mse_loss, data)


COURSES = {
    "quadratic": Course(
        "quadratic, n = 100, eigenvalues 1e-3 to 1e3",
        lambda: quadratic(tuple(np.logspace(-3, 3, 100))),
        3.0,
    ),
    "P4": Course("stiff regression (P4)", stiff_regression, 40.0),
    "diabetes": Course("diabetes, tanh", diabetes, 20.0),
    "raw digits": Course("digits with pixels 0 to 16, GELU", raw_digits, 100.0),
    "P1": Course("tanh digits (P1)", tanh_digits, 50.0),
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


PRODUCTS_TOL = 1e-10

SPECTRA: dict[str, Callable[[int], np.ndarray]] = {
    "1e-3 to 1e3, equally spaced in logarithm": lambda n: np.logspace(-3, 3, n),
    "1e-3 to 1e3, equally spaced": lambda n: np.linspace(1e-3, 1e3, n),
    "10 from 10 to 1e3, a bulk from 1e-3 to 1": lambda n: np.concatenate(
        [np.logspace(-3, 0, n - 10), np.logspace(1, 3, 10)]
    ),
}


@dataclass(frozen=True)
class Spent:
    """Products for θ(t) of one quadratic.

    Args:
        spectrum: in words.
        n: parameters.
        time: t; infinity for the minimum [param²/loss].
        products: taken by `quadratic_flow` at `PRODUCTS_TOL`.
        error: ‖θ − θ_known‖ over the way ‖θ_known − θ₀‖.
        least: the smallest m at which some polynomial of degree below m in H times g is that near.
    """

    spectrum: str
    n: int
    time: float
    products: int
    error: float
    least: int


def spent(spectrum: str, n: int, time: float) -> Spent:
    """A diagonal H, which Lanczos does not see; so its flow is known to rounding."""
    values = torch.from_numpy(SPECTRA[spectrum](n))
    distance = torch.randn(n, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    op, gradient = MatrixOperator(torch.diag(values)), values * distance
    found = quadratic_flow(op, gradient, time, tol=PRODUCTS_TOL)
    known = torch.expm1(-time * values) * distance
    way = float(known.norm())
    error = float((found.moved(time) - known).norm()) / way
    # The best in K_m is the projection; what it leaves falls with m, column by column.
    Q = lanczos(op, gradient, found.num_products).basis
    rest, least = known.clone(), Q.shape[1]
    for m, q in enumerate(Q.T, start=1):
        rest -= q * (q @ rest)
        if float(rest.norm()) <= PRODUCTS_TOL * way:
            least = m
            break
    return Spent(spectrum, n, time, found.num_products, error, least)


def products_written(taken: list[Spent]) -> list[str]:
    """The table of products, as lines of Markdown."""
    lines = [
        "",
        "## Products that the exact flow of a quadratic takes",
        "",
        f"Condition 1e6, {PRODUCTS_TOL:g} of the way, from a random distance; no time is measured.",
        "“Least”: the smallest m at which any combination of g, Hg, …, H^(m−1)g comes so near:",
        "the distance of the true θ(t) from that space. Whatever starts from g, multiplies by H as",
        "often and adds up (restarts in time, deflation by Ritz vectors, Chebyshev, rational",
        "Krylov with conjugate gradients within) stays above it. In general no polynomial of a",
        "degree below a constant times √(B ln 1/δ) is within δ of e^(−x) on [0, B], B = λ_max t",
        "(Aggarwal and Alman 2022, “Optimal-degree polynomial approximations for exponentials and",
        "Gaussian kernel density estimation”); 200 are not enough for n = 1,000 with eigenvalues",
        "close everywhere from B = 1e4 on, and n are always the end of it.",
        "",
        "| eigenvalues | n | λ_max t | products | least | √(λ_max t ln 1/tol) | error |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for one in taken:
        reach = float(SPECTRA[one.spectrum](one.n).max()) * one.time
        degree = np.sqrt(reach * np.log(1 / PRODUCTS_TOL))
        time, bound = (f"{reach:g}", f"{degree:,.0f}") if isfinite(reach) else ("∞", "∞")
        lines.append(
            f"| {one.spectrum} | {one.n:,} | {time} | {one.products} | {one.least} | {bound} | "
            f"{one.error:.1e} |"
        )
    return lines


def methods(course: str) -> list[tuple[str, Integrator]]:
    """All of them, the cheap ones first."""
    found: list[tuple[str, Integrator]] = []
    if course == "quadratic":
        found += [("exact", ExactQuadratic())]
    found += [(OURS, ExponentialAdams(tol)) for tol in TOLS]
    found += [("exponential Rosenbrock", ExponentialRosenbrock(tol)) for tol in (1e-4, 1e-6)]
    found += [("Chebyshev", RungeKuttaChebyshev(tol)) for tol in (1e-3, 1e-5)]
    found += [("Runge–Kutta 4 at 1/λ₁", RungeKutta4())]
    for name in ("dopri5", "dopri8"):
        found += [(name, Torchdiffeq(name, rtol)) for rtol in (1e-4, 1e-6, 1e-8, 1e-10)]
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


def written(laps: list[Lap], sharpness: dict[str, float], taken: list[Spent], machine: str) -> str:
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
    if taken:
        lines += products_written(taken)
    return "\n".join(lines) + "\n"


def keep(laps: list[Lap], sharpness: dict[str, float], taken: list[Spent]) -> None:
    """Writes what was measured, and the report."""
    everything = {
        "laps": [asdict(lap) for lap in laps],
        "sharpness": sharpness,
        "products": [asdict(one) for one in taken],
    }
    KEPT.write_text(json.dumps(everything, indent=1))
    machine = machine_of(torch.zeros(1, dtype=torch.float64))
    report = written(laps, sharpness, taken, machine)
    (HERE / "FLOW.md").write_text(report, encoding="utf-8")


def main() -> None:
    """Runs the courses that were asked for; others keep what was measured of them before."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flow", description=__doc__)
    parser.add_argument("--courses", nargs="*", default=list(COURSES), choices=list(COURSES))
    parser.add_argument("--products", action="store_true", help="count products on quadratics")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(KEPT.read_text()) if KEPT.exists() else {"laps": [], "sharpness": {}}
    laps = [Lap(**lap) for lap in known["laps"] if lap["course"] not in arguments.courses]
    sharpness: dict[str, float] = dict(known["sharpness"])
    taken = [Spent(**one) for one in known.get("products", [])]
    if arguments.products:
        taken = [
            spent(spectrum, n, time)
            for spectrum in SPECTRA
            for n in (200, 1000)
            for time in (1e-3, 0.1, 1.0, 10.0, 1e3, inf)
        ]
        keep(laps, sharpness, taken)
    for course in arguments.courses:
        reference = reference_of(course)
        read = flow(COURSES[course].make(), COURSES[course].span, ExponentialAdams(1e-6))
        sharpness[course] = max(reading.value for reading in read.sharpness)
        for family, method in methods(course):
            laps.append(ran(course, family, method, reference))
            print(laps[-1], flush=True)
        keep(laps, sharpness, taken)


if __name__ == "__main__":
    main()
