"""escape: how each method behaves near a saddle, measured beside theory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._machine import machine_of
from thalweg._progress import Progress
from thalweg._reading import reading, unwrapped
from thalweg.critical._escape_methods import EscapeMethod, escape_methods
from thalweg.critical._escape_run import EscapeRun, run_from
from thalweg.critical._escape_saddle import settled
from thalweg.report import Interrupted, Page, PagedResult
from thalweg.surface import Point

DISTANCES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)

RESOLVED = 100.0
"""A start that is less than so many times the saddle's own error away from it proves little."""


class InterruptedEscape(Interrupted):
    """Ctrl-C between runs, with those that were finished.

    Args:
        found: of the finished runs; it says that it is partial.
    """

    found: Escape


@dataclass(frozen=True, eq=False)
class Escape(PagedResult):
    """Methods that start near a saddle, at several distances.

    Args:
        title: the problem's name.
        value: L at the saddle [loss].
        gradient_norm: ‖∇L‖ there [loss/param].
        saddle_error: how far the saddle itself may be off [param].
        moved: how far Newton's steps led from the point given to the saddle [param].
        eigenvalues: λ (n,), ascending; null ones are 0 [loss/param²].
        radius: r: out is ‖θ − θ_s‖ > r and L < L_s [param].
        lr: of gradient descent [param²/loss].
        runs: for each method, for each distance from far to near.
        num_samples: of the data.
        notes: what was done with the model otherwise than in training.
        is_partial: whether it was interrupted.
        seconds: it took.
        seed: that the generator was seeded with.
        machine: versions, device, dtype and threads.
    """

    schema = "thalweg/escape/1"
    _also = ("headline", "index")

    title: str
    value: float
    gradient_norm: float
    saddle_error: float
    moved: float
    eigenvalues: Float[Tensor, " n"]
    radius: float
    lr: float
    runs: tuple[EscapeRun, ...]
    num_samples: int
    notes: tuple[str, ...]
    is_partial: bool
    seconds: float
    seed: int
    machine: str

    @property
    def index(self) -> int:
        """Negative eigenvalues of the saddle."""
        return int((self.eigenvalues < 0).sum())

    @property
    def num_null(self) -> int:
        """Null eigenvalues, along which no run starts."""
        return int((self.eigenvalues == 0).sum())

    @property
    def methods(self) -> tuple[str, ...]:
        """Names, in their order."""
        return tuple(dict.fromkeys(run.method for run in self.runs))

    def of(self, method: str) -> tuple[EscapeRun, ...]:
        """The runs of a method, from the farthest start to the nearest.

        Args:
            method: its name.
        """
        return tuple(run for run in self.runs if run.method == method)

    def is_resolved(self, run: EscapeRun) -> bool:
        """Whether the start is far enough from the saddle for its own error not to matter.

        Args:
            run: one of `runs`.
        """
        return run.distance > RESOLVED * self.saddle_error

    @property
    def headline(self) -> str:
        """Who leaves and who does not, in one sentence."""
        from thalweg.critical._escape_page import headline_of

        return headline_of(self)

    def __str__(self) -> str:
        lines = [f"{self.title}, saddle of index {self.index}: {self.headline}"]
        for run in self.runs:
            out = run.ending if run.escaped_at is None else f"out after {run.escaped_at} steps"
            lines.append(f"{run.method} from {run.distance:.0e}: {out}")
        return "\n".join(lines)

    def page(self) -> Page:
        """The escapes as a page."""
        from thalweg.critical._escape_page import page_of

        return page_of(self)


def escape(
    saddle: Point,
    methods: Sequence[EscapeMethod] | None = None,
    *,
    generator: torch.Generator,
    distances: Sequence[float] = DISTANCES,
    radius: float = 0.1,
    lr: float | None = None,
    max_steps: int = 1000,
    max_gradients: float = 50_000.0,
    progress: Progress | None = None,
) -> Escape:
    """Runs each method from near a saddle, and sets what it does beside what theory says.

    With λᵢ and uᵢ of the saddle's Hessian and cᵢ = uᵢᵀ(θ − θ_s), a step near it takes cᵢ to

        gradient descent       (1 − ηλᵢ) cᵢ, out after about ln(r/d)/ln(1 + η|λ₁|) steps
        Newton                 0: attracted, whatever the sign of λᵢ
        saddle-free Newton     (1 − λᵢ/|λᵢ|) cᵢ: 2cᵢ where λᵢ < 0
        trust region, cubic    |λ₁|/(λᵢ + |λ₁|) cᵢ, and c₁ ± Δ, c₁ ± |λ₁|/σ

    Out is: ‖θ − θ_s‖ > r and L < L_s. All runs start equally far along every eigenvector that is
    not null, at the same random signs.

    Args:
        saddle: in float64; Newton's steps are taken from there to the critical point itself.
        methods: see `escape_methods`, those where left out; or `EscapeMethod`s of your own.
        generator: of the signs.
        distances: d, of the starts [param].
        radius: r [param].
        lr: η of gradient descent; half of 1/max|λ| where left out [param²/loss].
        max_steps: of a run.
        max_gradients: of a run.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        `Escape`: for each run the displacement along each eigenvector after every step [param],
        losses, gradients spent, steps to escape; `.page()`, `.save("escape.html")`.

    Raises:
        BudgetError: if there are more than 500 parameters.
        ThalwegError: if the point is not in float64 or near no saddle, or a number is out of range.
        InterruptedEscape: on Ctrl-C, once a run is finished.

    Cost:
        Of each run, what its steps cost (n products for the methods that write the Hessian out),
        and a gradient a step for the loss.

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", sec. 4, for gradient descent, Newton, trust region
    and saddle-free Newton; Cartis, Gould and Toint 2011 for cubic regularisation.

    Example:
        >>> import torch, thalweg
        >>> point = thalweg.Surface(thalweg.problems.strict_saddle()).here()
        >>> found = thalweg.escape(
        ...     point, distances=(1e-6,), generator=torch.Generator().manual_seed(0)
        ... )
        >>> {run.method: run.escaped_at for run in found.runs}["Newton"] is None
        True
        >>> [round(f, 4) for f in found.of("saddle-free Newton")[0].factors.tolist()]
        [2.0, 0.0]
    """
    start = perf_counter()
    _check(distances, radius, lr, max_steps)
    progress = progress or (lambda stage, share: None)
    progress("the saddle", 0.0)
    runs: list[EscapeRun] = []
    with reading():
        place = settled(saddle)
        largest = float(place.values.abs().max())
        rate = lr or (0.5 / largest if largest > 0 else 0.1)
        chosen = escape_methods(rate, radius / 10) if methods is None else tuple(methods)
        unit = place.start(1.0, generator)
        pairs = [(m, d) for m in chosen for d in sorted(distances, reverse=True)]

        def told(is_partial: bool) -> Escape:
            problem = place.point.problem
            return Escape(
                title=problem.name or type(unwrapped(problem.model)).__name__,
                value=place.point.value,
                gradient_norm=float(place.point.gradient_vector.norm()),
                saddle_error=place.error,
                moved=place.moved,
                eigenvalues=place.values,
                radius=radius,
                lr=rate,
                runs=tuple(runs),
                num_samples=problem.num_samples,
                notes=saddle.notes,
                is_partial=is_partial,
                seconds=perf_counter() - start,
                seed=generator.initial_seed(),
                machine=machine_of(place.point.vector),
            )

        for number, (method, distance) in enumerate(pairs):
            progress(f"{method.name} from {distance:.0e}", number / len(pairs))
            try:
                runs.append(
                    run_from(place, method, distance, unit, radius, max_steps, max_gradients)
                )
            except KeyboardInterrupt:
                if not runs:
                    raise
                raise InterruptedEscape(told(True)) from None
        progress("done", 1.0)
        return told(False)


def _check(distances: Sequence[float], radius: float, lr: float | None, max_steps: int) -> None:
    if not (isfinite(radius) and radius > 0):
        raise ThalwegError(f"escape(radius={radius}); give a positive number, such as 0.1")
    if not distances or not all(0 < d < radius for d in distances):
        raise ThalwegError(
            f"escape(distances={tuple(distances)}): give one or more, each above 0 and below the "
            f"radius {radius:g}"
        )
    if lr is not None and not (isfinite(lr) and lr > 0):
        raise ThalwegError(f"escape(lr={lr}); give a positive learning rate, or leave it out")
    if max_steps < 1:
        raise ThalwegError(f"escape(max_steps={max_steps}); give a whole number of 1 or more")
