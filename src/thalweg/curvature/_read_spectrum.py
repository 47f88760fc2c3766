"""spectrum: reads all that can be said of the eigenvalues of a curvature matrix."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError, ThalwegError
from thalweg._machine import machine_of
from thalweg._progress import Progress
from thalweg._reading import reading, unwrapped
from thalweg.curvature._spectrum import NULL_SHARE, InterruptedSpectrum, Spectrum
from thalweg.linalg import (
    Alignment,
    Density,
    EigenPairs,
    Estimate,
    Extremes,
    Inertia,
    LinearOperator,
    MatrixOperator,
    SymmetricOperator,
    alignment,
    density,
    effective_rank,
    extremes,
    frobenius_norm,
    inertia,
    trace,
)
from thalweg.surface import Point, SurfaceOperator

NUM_PRODUCTS = 30
"""Of each of trace, Frobenius norm and effective rank."""

GRID_SIZE = 512
"""Eight points to each width of the density's kernel."""


def spectrum(
    point: Point,
    operator: SymmetricOperator | None = None,
    *,
    generator: torch.Generator,
    k: int | None = None,
    dense_up_to: int = 1000,
    num_probes: int = 8,
    num_steps: int = 48,
    progress: Progress | None = None,
) -> Spectrum:
    """Reads the spectrum of a curvature matrix: its ends, counts, density, and sums.

        A yᵢ = λᵢ yᵢ;   #{λᵢ < 0};   Σλᵢ;   √Σλᵢ²;   (Σλᵢ)²/Σλᵢ²;   ‖Yᵀ∇L‖²/‖∇L‖²

    Small matrices are multiplied out, and everything is exact to rounding and to the measured
    asymmetry of the products. Larger ones are read by one Lanczos run for both ends, by stochastic
    Lanczos quadrature for density and counts, and by random probes for the sums.

    Args:
        point: where; its gradient is set against the largest eigenvectors.
        operator: n×n, such as `point.ggn()` or `point.hessian() + A`; the Hessian when left out.
        generator: of the random starts and probes.
        k: eigenpairs at either end, 1 ≤ k ≤ n; 5 when left out, or n where there are fewer.
        dense_up_to: n up to which the matrix is multiplied out.
        num_probes: of the density.
        num_steps: Lanczos steps of each probe.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        `Spectrum`; `.page()`, `.save("spectrum.html")`, `.to_json()`.

    Raises:
        ThalwegError: if the operator does not fit the point, or k is out of range.
        SecondDerivativeError: if an operation of the network has no second derivative.
        OperatorError: if a product is NaN or infinite.
        InterruptedSpectrum: on Ctrl-C, once the ends were found.

    Cost:
        1 gradient, and n products for n ≤ dense_up_to, otherwise about
        num_probes · num_steps + 100 + 20k.

    Source: Lanczos 1950 for the ends; Ghorbani, Krishnan and Xiao 2019, "An investigation into
    neural net optimization via Hessian eigenvalue density"; Gur-Ari, Roberts and Dyer 2018,
    "Gradient descent happens in a tiny subspace", for the gradient's share; see `extremes`,
    `density`, `trace`, `frobenius_norm`, `effective_rank` and `alignment` of `thalweg.linalg`.

    Example:
        >>> import torch, thalweg
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> data = (x, 2 * x)
        >>> problem = thalweg.Problem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, data)
        >>> point = thalweg.Surface(problem).at(torch.tensor([1.0, 0.0]))
        >>> found = spectrum(point, point.ggn(), k=1, generator=torch.Generator().manual_seed(0))
        >>> round(found.trace.value, 4), found.inertia.positive
        (7.0, 2)
    """
    start = perf_counter()
    A = point.hessian() if operator is None else operator
    n = point.layout.size
    if A.size != n:
        raise ThalwegError(
            f"spectrum(point, operator): {A!r} does not fit the point's {n} parameters; take it "
            f"from the same point, such as point.ggn()"
        )
    k = min(5, n) if k is None else k
    if not 1 <= k <= n:
        raise ThalwegError(
            f"spectrum(point, k={k}): the matrix has {n} eigenvalues; give k between 1 and {n}"
        )
    progress = progress or (lambda stage, share: None)
    meter = _Meter(A, progress)
    with reading():
        progress("loss and gradient", 0.0)
        slope = point.gradient_vector.to(A.dtype)
        is_dense = n <= dense_up_to
        found = (
            _multiplied_out(meter, k)
            if is_dense
            else _ends(meter, k, num_probes, num_steps, generator)
        )
        try:
            if not is_dense:
                _estimate(found, meter, num_probes, num_steps, generator)
            _add_rank(found, meter, generator)
        except KeyboardInterrupt:
            found.is_partial = True
        share, why_not = _alignment(slope, found)
    progress("done", 1.0)
    omissions = found.omissions() | {"share of the gradient": why_not}
    surface_operator = A if isinstance(A, SurfaceOperator) else None
    told = Spectrum(
        title=point.problem.name or type(unwrapped(point.problem.model)).__name__,
        matrix=surface_operator.name if surface_operator else "operator",
        value=point.value,
        gradient_norm=float(slope.norm()),
        num_parameters=n,
        num_samples=point.problem.num_samples,
        extremes=found.ends,
        inertia=found.inertia,
        density=found.density,
        trace=found.trace,
        frobenius_norm=found.frobenius_norm,
        effective_rank=found.effective_rank,
        alignment=share,
        omissions={name: reason for name, reason in omissions.items() if reason},
        route=surface_operator.route.said if surface_operator else "",
        notes=(*point.notes, *_unused(point)),
        is_partial=found.is_partial,
        num_products=meter.num_products,
        num_gradients=1 + meter.num_products * surface_operator.gradients_per_product
        if surface_operator
        else None,
        seconds=perf_counter() - start,
        seed=generator.initial_seed(),
        machine=machine_of(slope),
    )
    if found.is_partial:
        raise InterruptedSpectrum(told) from None
    return told


class _Meter(SymmetricOperator):
    """The same matrix, counting its products and telling how far they are."""

    def __init__(self, op: SymmetricOperator, progress: Progress) -> None:
        super().__init__(op.size, op.dtype, op.device)
        self._op = op
        self._progress = progress
        self._plan: dict[str, int] = {}
        self._stage, self._first = "", 0
        self.num_products = 0

    def __repr__(self) -> str:
        return repr(self._op)

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def plan(self, **stages: int) -> None:
        """The stages to come, with the most products that each is expected to take."""
        self._plan = {name.replace("_", " "): most for name, most in stages.items()}

    def begin(self, stage: str) -> None:
        """Products from here on belong to this stage."""
        self._stage, self._first = stage, self.num_products
        self._tell()

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        product = self._op @ V
        self.num_products += V.shape[1]
        self._tell()
        return product

    def _tell(self) -> None:
        names = list(self._plan)
        before = sum(self._plan[name] for name in names[: names.index(self._stage)])
        done = min(self.num_products - self._first, self._plan[self._stage])
        self._progress(self._stage, (before + done) / sum(self._plan.values()))


@dataclass
class _Found:
    """What was found of the matrix alone by now; `gap` is from the k largest to the next."""

    ends: Extremes
    gap: float | None
    inertia: Inertia | None = None
    density: Density | None = None
    trace: Estimate | None = None
    frobenius_norm: Estimate | None = None
    effective_rank: Estimate | None = None
    no_rank: str = ""
    is_partial: bool = False

    def omissions(self) -> dict[str, str]:
        """What is missing, and why."""
        if not self.is_partial:
            return {"effective rank": self.no_rank}
        parts = {
            "density and counts": self.inertia,
            "trace": self.trace,
            "Frobenius norm": self.frobenius_norm,
            "effective rank": self.effective_rank,
        }
        return {name: "interrupted before it" for name, part in parts.items() if part is None}


def _multiplied_out(meter: _Meter, k: int) -> _Found:
    """Everything from the matrix itself, in float64."""
    n = meter.size
    meter.plan(all_columns=n)
    meter.begin("all columns")
    eye = torch.eye(n, dtype=meter.dtype, device=meter.device)
    columns = torch.cat([meter @ part for part in eye.split(64, dim=1)], dim=1)
    if not bool(torch.isfinite(columns).all()):
        raise OperatorError(
            f"spectrum(point): a product of {meter!r} is NaN or infinite; check the point it was "
            f"taken at, or read it in float64, Surface(problem, dtype=torch.float64)"
        )
    A = columns.double().cpu()
    # What products differ from a symmetric matrix is measured; by Weyl's inequality no eigenvalue
    # moves by more.
    asymmetry = float((A - A.T).norm()) / 2
    A = (A + A.T) / 2
    values, vectors = torch.linalg.eigh(A)
    eps, largest = torch.finfo(meter.dtype).eps, float(values.abs().max())
    rounding = asymmetry + eps * largest * (10.0 + n**0.5)

    def pairs(order: Tensor) -> EigenPairs:
        theta = values[order]
        return EigenPairs(
            values=theta.to(meter.device, meter.dtype),
            vectors=vectors[:, order].to(meter.device, meter.dtype),
            residuals=torch.full_like(theta, rounding).to(meter.device, meter.dtype),
            bounds=torch.stack([theta - rounding, theta + rounding], dim=1).to(
                meter.device, meter.dtype
            ),
            is_converged=True,
            num_products=n,
        )

    ends = Extremes(
        top=pairs(torch.arange(n - 1, n - 1 - k, -1)),
        bottom=pairs(torch.arange(k)),
        num_products=n,
        num_krylov=n,
        num_checks=1,
        is_exhausted=True,
        rounding=rounding,
    )
    known = MatrixOperator(A)
    doubt = asymmetry + n * eps * largest
    generator = torch.Generator()  # which nothing is drawn from: n products are the whole matrix
    return _Found(
        ends=ends,
        gap=float(values[n - k] - values[n - k - 1]) - 2 * rounding if k < n else None,
        inertia=replace(inertia(known, null_tol=doubt), num_products=n),
        density=None,
        trace=_with_rounding(
            trace(known, num_products=n + 1, generator=generator), n**0.5 * rounding
        ),
        frobenius_norm=_with_rounding(
            frobenius_norm(known, num_products=n + 1, generator=generator), rounding
        ),
    )


def _with_rounding(exact: Estimate, doubt: float) -> Estimate:
    return Estimate(exact.value, exact.stderr + doubt, 0)


def _ends(
    meter: _Meter, k: int, num_probes: int, num_steps: int, generator: torch.Generator
) -> _Found:
    """Both ends of the spectrum, by one Lanczos run."""
    n = meter.size
    # One pair more than is asked for tells how far the others are from the rest.
    more = min(k + 1, n)
    meter.plan(
        both_ends=max(20 * more, 200),
        density=num_probes * min(num_steps, n),
        trace=NUM_PRODUCTS,
        Frobenius_norm=NUM_PRODUCTS,
        effective_rank=NUM_PRODUCTS,
    )
    meter.begin("both ends")
    ends = extremes(meter, more, generator=generator)
    gap = float(ends.top.values[k - 1] - ends.top.values[-1] - ends.top.residuals[-1])
    return _Found(
        ends=replace(ends, top=_first(ends.top, k), bottom=_first(ends.bottom, k)),
        gap=gap if k < more else None,
    )


def _estimate(
    found: _Found, meter: _Meter, num_probes: int, num_steps: int, generator: torch.Generator
) -> None:
    """Adds density, counts, trace and norm, by random probes; each as soon as it is there."""
    meter.begin("density")
    density_found = density(
        meter,
        generator=generator,
        num_probes=num_probes,
        num_steps=num_steps,
        grid_size=max(GRID_SIZE, 4 * num_steps),
    )
    ends = found.ends
    largest = max(abs(float(ends.top.values[0])), abs(float(ends.bottom.values[0])))
    found.inertia = density_found.inertia(NULL_SHARE * largest)
    found.density = density_found
    meter.begin("trace")
    found.trace = trace(meter, num_products=NUM_PRODUCTS, generator=generator)
    meter.begin("Frobenius norm")
    found.frobenius_norm = frobenius_norm(meter, num_products=NUM_PRODUCTS, generator=generator)


def _first(pairs: EigenPairs, k: int) -> EigenPairs:
    return replace(
        pairs,
        values=pairs.values[:k],
        vectors=pairs.vectors[:, :k].clone(),
        residuals=pairs.residuals[:k],
        bounds=pairs.bounds[:k],
    )


def _add_rank(found: _Found, meter: _Meter, generator: torch.Generator) -> None:
    """Adds the effective rank, or why there is none."""
    highest = float(found.ends.bottom.bounds[0, 1])
    if highest < 0:
        found.no_rank = (
            f"it is one of positive semidefinite matrices, and the smallest eigenvalue is at most "
            f"{highest:.3g}; point.ggn() and point.fisher() have one"
        )
        return
    try:
        if found.density is None:
            found.effective_rank = _known_rank(found)
        else:
            meter.begin("effective rank")
            found.effective_rank = effective_rank(
                meter, num_products=NUM_PRODUCTS, generator=generator
            )
    except OperatorError as error:
        found.no_rank = str(error).removeprefix("effective_rank(op): ").rstrip(".")


def _known_rank(found: _Found) -> Estimate:
    """(Σλ)²/Σλ² of a matrix whose eigenvalues are known, with what rounding may do to it."""
    t, f = found.trace, found.frobenius_norm
    assert t is not None, "the whole matrix is known"
    assert f is not None, "the whole matrix is known"
    if f.value == 0:
        raise OperatorError("the matrix is zero and has no direction to count")
    value = (t.value / f.value) ** 2
    stderr = 2 * value * (t.stderr / max(abs(t.value), t.stderr) + f.stderr / f.value)
    return Estimate(value, stderr, 0)


def _alignment(slope: Float[Tensor, "n"], found: _Found) -> tuple[Alignment | None, str]:
    """The share of the gradient, or why there is none."""
    try:
        gap = found.gap if found.gap is not None and found.gap > 0 else None
        return alignment(slope, found.ends.top, gap=gap), ""
    except OperatorError:
        return None, "the gradient is zero, of which nothing is a share"


def _unused(point: Point) -> tuple[str, ...]:
    if not point.unused:
        return ()
    some = ", ".join(point.unused[:5]) + (", …" if len(point.unused) > 5 else "")
    return (f"{len(point.unused)} parameter(s) do not enter the loss, rows of zeros: {some}",)
