"""Everything public that reads a problem, as one table: the laws run over all lines of it.

A line takes a problem and a generator and returns numbers to compare. Add yours.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from problems import SHELF
from thalweg import (
    Pass,
    Problem,
    Surface,
    density,
    eigenpairs,
    find_critical,
    landscape,
    propagation,
    spectrum,
    trace,
)
from thalweg._batch import tensors_in
from thalweg.critical import Trajectories
from thalweg.curvature import SharpnessTracker
from thalweg.gradient_flow import ExponentialAdams, adam, flow
from thalweg.pictures import Along
from thalweg.signal import edge_initialisation, jacobians, rank, underflow
from thalweg.surface import sample_estimate

Reading = Callable[[Problem, torch.Generator], Tensor]


def value_and_gradient(problem: Problem, generator: torch.Generator) -> Tensor:
    point = Surface(problem).here()
    return torch.cat([point.gradient_vector.new_tensor([point.value]), point.gradient_vector])


def product(operator: str) -> Reading:
    def read(problem: Problem, generator: torch.Generator) -> Tensor:
        op = getattr(Surface(problem).here(), operator)()
        return op @ torch.randn(op.size, generator=generator, dtype=op.dtype)

    return read


def gram(problem: Problem, generator: torch.Generator) -> Tensor:
    """JᵀJv, which does not depend on the order of the outputs."""
    J = Surface(problem).here().jacobian()
    return J.T @ (J @ torch.randn(J.shape[1], generator=generator, dtype=J.dtype))


def blocks(problem: Problem, generator: torch.Generator) -> Tensor:
    parts = Surface(problem).here().blocks().values()
    return torch.cat([part.ggn() @ torch.ones_like(part.vector) for part in parts])


def microbatches(problem: Problem, generator: torch.Generator) -> Tensor:
    return value_and_gradient(problem.in_microbatches(2), generator)


def subsampled(problem: Problem, generator: torch.Generator) -> Tensor:
    return value_and_gradient(problem.subsampled(4, generator), generator)


def frozen(problem: Problem, generator: torch.Generator) -> Tensor:
    held = problem.with_frozen_dropout(generator).with_frozen_statistics()
    return value_and_gradient(held, generator)


def in_another_dtype(problem: Problem, generator: torch.Generator) -> Tensor:
    point = Surface(problem.to(dtype=torch.float32), dtype=torch.float64).here()
    assert point.notes
    return point.gradient_vector


def part_estimate(problem: Problem, generator: torch.Generator) -> Tensor:
    estimate = sample_estimate(
        problem, lambda p: Surface(p).here().value, num_samples=4, num_parts=2, generator=generator
    )
    return torch.tensor([estimate.value, estimate.stderr, estimate.bias], dtype=torch.float64)


def check(problem: Problem, generator: torch.Generator) -> Tensor:
    problem.check()
    return torch.zeros(())


def minibatches(problem: Problem, generator: torch.Generator) -> Tensor:
    stream = problem.minibatches(3, generator)
    drawn = [tensor for _ in range(4) for tensor in tensors_in(next(stream))]
    return torch.cat([tensor.reshape(-1).double() for tensor in drawn])


def passed(problem: Problem, generator: torch.Generator) -> Tensor:
    result = Pass.of(problem)
    numbers = [(row.output_square, row.gradient_norm) for row in result.layers]
    return torch.tensor([result.value, *sum(numbers, ())], dtype=torch.float64)


def propagated(problem: Problem, generator: torch.Generator) -> Tensor:
    found = propagation(problem, generator=generator, k=1)
    assert found.signal is not None
    numbers = [(row.scale, row.gradient_norm, row.dead) for row in found.signal.rows]
    return torch.tensor([found.value, *sum(numbers, ())], dtype=torch.float64)


def traced(problem: Problem, generator: torch.Generator) -> Tensor:
    H = Surface(problem).here().hessian()
    estimate = trace(H, num_products=9, generator=generator)
    return torch.tensor([estimate.value, estimate.stderr], dtype=torch.float64)


def whole_spectrum(problem: Problem, generator: torch.Generator) -> Tensor:
    """By its own road for small matrices, and by that for large ones."""
    point = Surface(problem).here()
    known = spectrum(point, k=1, generator=generator)
    rough = spectrum(point, k=1, generator=generator, dense_up_to=0, num_probes=2, num_steps=3)
    assert rough.density is not None
    return torch.cat([known.extremes.top.values.double(), rough.density.density])


def sharpness(problem: Problem, generator: torch.Generator) -> Tensor:
    tracker = SharpnessTracker(problem, generator=generator, tol=1e-9)
    return torch.tensor([tracker.read().value for _ in range(3)], dtype=torch.float64)


def lost_to_float16(problem: Problem, generator: torch.Generator) -> Tensor:
    found = underflow(problem)
    shares = [(row.flushed, row.subnormal) for row in found.rows]
    return torch.tensor([found.loss_scale, *sum(shares, ())], dtype=torch.float64)


def singular(problem: Problem, generator: torch.Generator) -> Tensor:
    rows = jacobians(problem, sample=5, generator=generator).layers
    return torch.cat([row.singular.largest.values for row in rows]).double()


def ranks(problem: Problem, generator: torch.Generator) -> Tensor:
    return torch.tensor([(r.rank, r.largest) for r in rank(problem).layers], dtype=torch.float64)


def initialised_anew(problem: Problem, generator: torch.Generator) -> Tensor:
    anew = edge_initialisation(problem).applied(problem, generator)
    return torch.cat([p.detach().reshape(-1) for p in anew.parameters.values()]).double()


def drawn_landscape(problem: Problem, generator: torch.Generator) -> Tensor:
    """A line and its quadratic model, in a random direction."""
    point = Surface(problem).here()
    along = Along(torch.randn(point.layout.size, generator=generator, dtype=point.vector.dtype))
    seen = landscape(point, along, generator=generator, num_cells=3, limits=0.1)
    return torch.cat([seen.values, seen.slices[0].model])


def flowed(problem: Problem, generator: torch.Generator) -> Tensor:
    found = flow(problem, 0.1, ExponentialAdams(1e-4), discrete=[adam(1e-3)])
    return torch.cat([found.end, found.end.new_tensor([found.value, *found.discrete[0].values])])


def one_walk(problem: Problem, generator: torch.Generator) -> Tensor:
    """A step towards a critical point, from a start along a training of two steps."""
    found = find_critical(
        problem, 1, starts=Trajectories(max_steps=2), max_gradients=1, generator=generator
    )
    point = found.points[0]
    return torch.tensor([point.value, point.gradient_square], dtype=torch.float64)


READINGS: dict[str, Reading] = {
    "value and gradient": value_and_gradient,
    "hessian": product("hessian"),
    "ggn": product("ggn"),
    "fisher": product("fisher"),
    "empirical fisher": product("empirical_fisher"),
    "jacobian": gram,
    "blocks": blocks,
    "microbatches": microbatches,
    "subsampled": subsampled,
    "frozen": frozen,
    "another dtype": in_another_dtype,
    "sample estimate": part_estimate,
    "check": check,
    "minibatches": minibatches,
    "pass": passed,
    "underflow": lost_to_float16,
    "jacobians": singular,
    "rank": ranks,
    "propagation": propagated,
    "edge initialisation": initialised_anew,
    "eigenpairs": lambda p, g: eigenpairs(Surface(p).here().ggn(), k=2, generator=g).values,
    "trace": traced,
    "sharpness": sharpness,
    "flow": flowed,
    "density": lambda p, g: (
        density(Surface(p).here().hessian(), num_probes=2, num_steps=3, generator=g).density
    ),
    "spectrum": whole_spectrum,
    "critical points": one_walk,
    "landscape": drawn_landscape,
}

PRODUCTS = {"hessian", "ggn", "fisher", "empirical fisher", "jacobian"}

RANDOM = {
    "edge initialisation", "minibatches", "subsampled", "sample estimate", "trace", "density",
    "spectrum", "landscape", *PRODUCTS,
}  # fmt: skip
"""Whose numbers are the generator's draw, not only their rounding."""

PER_BATCH = {"minibatches", "subsampled", "sample estimate", "check"}
"""Whose numbers are of the batches themselves, or none."""


MENDING = {"frozen"}
"""Which make a model deterministic that other readings refuse."""

OF_OPERATORS = {
    "flow",
    "jacobians",
    "rank",
    "propagation",
    "edge initialisation",
    "sharpness",
    "eigenpairs",
    "trace",
    "density",
    "spectrum",
    "critical points",
}
"""Which see an operator and no network, or no network of every kind: a few tell all they can."""

FEW = ("mlp", "frozen", "next_token")


def pairs(leave_out: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Every problem of the shelf with every reading that it allows."""
    return [
        (name, reading)
        for name, factory in SHELF.items()
        for reading in READINGS
        if reading not in leave_out
        and (reading != "fisher" or factory().likelihood)
        and (reading not in OF_OPERATORS or name in FEW)
    ]
