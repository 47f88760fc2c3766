"""Rank and invertibility: what a network cannot tell apart, and two inputs that show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._batch import call_of, map_tensors, take, tensors_in
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg.passes import Pass
from thalweg.signal._exact_rank import exact_rank

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

_LARGEST = 2**22
"""Entries up to which the matrix of a convolution is written out."""


@dataclass(frozen=True)
class LayerRank:
    """The rank of a linear map.

    Args:
        name: the layer, "network" for all layers multiplied.
        shape: (outputs, inputs).
        rank: singular values above `tol`.
        tol: max(m, n) · ε · σ_max with the ε of the layer's dtype: what rounding alone could make
            of a zero (NumPy's rule).
        largest: σ_max.
        smallest: the smallest of the min(m, n) singular values.
        exact: the rank of the stored numbers, without rounding; None where too large. It is above
            `rank` where a matrix is singular but for rounding.
    """

    name: str
    shape: tuple[int, int]
    rank: int
    tol: float
    largest: float
    smallest: float
    exact: int | None

    @property
    def is_injective(self) -> bool:
        """Whether different inputs give different outputs, beyond rounding."""
        return self.rank == self.shape[1]

    @property
    def is_surjective(self) -> bool:
        """Whether every output can be had."""
        return self.rank == self.shape[0]

    @property
    def is_invertible(self) -> bool:
        """Whether it is square and of full rank."""
        return self.is_injective and self.is_surjective

    @property
    def condition(self) -> float:
        """σ_max/σ_min, by which an error may grow on the way back."""
        return self.largest / self.smallest if self.smallest > 0 else torch.inf

    def __str__(self) -> str:
        m, n = self.shape
        said = "invertible" if self.is_invertible else "injective" if self.is_injective else ""
        lost = f"loses {n - self.rank} of {n} directions"
        exact = "" if self.exact in (None, self.rank) else f" (exactly {self.exact})"
        return (
            f"{self.name}: {m}×{n}, rank {self.rank}{exact}, {said or lost}; σ from "
            f"{self.largest:.3g} to {self.smallest:.3g}, zero below {self.tol:.1g}"
        )


@dataclass(frozen=True, eq=False)
class Witness:
    """Two inputs that the network cannot tell apart, which were sent through it.

    Args:
        first: an input, of one sample.
        second: the same with a null vector added.
        difference: largest difference between the two outputs.
        control: the same for a step of equal length that is no null vector.
        allowed: what rounding may make of equal outputs.
    """

    first: Tensor
    second: Tensor
    difference: float
    control: float
    allowed: float

    @property
    def is_confirmed(self) -> bool:
        """Whether the outputs are equal up to rounding."""
        return self.difference <= self.allowed


@dataclass(frozen=True)
class NetworkRank:
    """Rank by layer, and of the network as a whole where it is linear.

    Args:
        layers: dense and convolutional layers in the order of running.
        network: of the product of all matrices, where the network is a chain of dense layers with
            nothing between; None elsewhere.
        witness: two inputs that it cannot tell apart, None where every step is seen: by the first
            layer of any network, by the whole of a linear one.
        not_read: layers left out, with the reason.
    """

    layers: tuple[LayerRank, ...]
    network: LayerRank | None
    witness: Witness | None
    not_read: tuple[str, ...]

    def __str__(self) -> str:
        rows = [*map(str, self.layers), *([str(self.network)] if self.network else [])]
        if self.witness:
            rows.append(
                f"Two inputs at a distance of "
                f"{float((self.witness.second - self.witness.first).norm()):.3g} give outputs that "
                f"differ by {self.witness.difference:.2g} (a step across: "
                f"{self.witness.control:.2g})."
            )
        return "\n".join([*rows, *self.not_read])


def rank(problem: Problem) -> NetworkRank:
    """Rank and invertibility of every layer, and of the network if it is linear.

        W_k … W_1 x = W_k … W_1 (x + v)   for W_k … W_1 v = 0

    A network is injective only if no layer loses what reaches it; a null vector of the first layer
    is a step that no network behind it can see, whatever its activations.

    Args:
        problem: the network, and data of which the first sample is the witness's.

    Cost: a `Pass` (4/3 gradients), a singular value decomposition of each matrix, and n³
    whole-number operations for each of up to 512 rows and columns.

    Source: Golub and Van Loan 2013, "Matrix Computations", §5.4.1, for the tolerance.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        >>> with torch.no_grad():
        ...     _ = model[0].weight.copy_(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
        >>> data = (torch.ones(3, 2), torch.ones(3, 2))
        >>> found = rank(thalweg.Problem(model, nn.functional.mse_loss, data))
        >>> found.network.rank, found.witness.second - found.witness.first, found.witness.difference
        (1, tensor([[ 2., -1.]]), 0.0)
    """
    passed = Pass.of(problem)
    modules = dict(problem.shadow.named_modules())
    with reading(), torch.no_grad():
        matrices, not_read = _matrices(problem, passed, modules)
        rows = tuple(_rank_of(name, M, [M]) for name, M in matrices.items())
        dense = [
            layer.name for layer in passed.layers if isinstance(modules.get(layer.name), nn.Linear)
        ]
        is_chain = (
            len(dense) == len(passed.layers)
            and not passed.activations
            and all(layer.is_chained for layer in passed.layers)
        )
        network, witness = None, None
        if is_chain and dense:
            factors = [matrices[name] for name in dense]
            product = factors[0].double()
            for factor in factors[1:]:
                product = factor.double() @ product
            network = _rank_of("network", product.to(factors[0]), factors)
            witness = _witness(problem, network, product)
        elif passed.layers and passed.layers[0].is_chained and passed.layers[0].name in dense:
            first = passed.layers[0].name
            row = next(row for row in rows if row.name == first)
            witness = _witness(problem, row, matrices[first].double())
    return NetworkRank(rows, network, witness, tuple(not_read))


def _matrices(
    problem: Problem, passed: Pass, modules: dict[str, nn.Module]
) -> tuple[dict[str, Tensor], list[str]]:
    matrices: dict[str, Tensor] = {}
    not_read: list[str] = []
    shapes = _input_shapes(problem)
    for layer in passed.layers:
        module = modules.get(layer.name)
        if isinstance(module, nn.Linear):
            matrices[layer.name] = module.weight.detach()
        elif isinstance(module, _CONVOLUTIONS):
            shape = shapes[layer.name]
            n = shape.numel()
            if n * layer.num_units > _LARGEST:
                not_read.append(
                    f"{layer.name}: a {layer.num_units}×{n} matrix is too large to be written out."
                )
                continue
            unit = torch.eye(n, dtype=module.weight.dtype, device=module.weight.device)
            images = module(unit.view(n, *shape)) - module(torch.zeros_like(unit).view(n, *shape))
            matrices[layer.name] = images.flatten(1).T
        elif layer.has_matrix:
            not_read.append(f"{layer.name}: {layer.kind} is no single matrix.")
    return matrices, not_read


def _input_shapes(problem: Problem) -> dict[str, torch.Size]:
    """Of one sample, at the input of every convolution."""
    shapes: dict[str, torch.Size] = {}

    def look(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any) -> None:
            shapes.setdefault(name, args[0].shape[1:])

        return hook

    handles = [
        module.register_forward_pre_hook(look(name))
        for name, module in problem.shadow.named_modules()
        if isinstance(module, _CONVOLUTIONS)
    ]
    try:
        problem.forward(problem.parameters, problem.batches[0])
    finally:
        for handle in handles:
            handle.remove()
    return shapes


def _rank_of(name: str, M: Float[Tensor, "m n"], factors: Sequence[Tensor]) -> LayerRank:
    sizes = torch.linalg.svdvals(M.double())
    tol = max(M.shape) * torch.finfo(M.dtype).eps * float(sizes[0])
    m, n = M.shape
    return LayerRank(
        name=name,
        shape=(m, n),
        rank=int((sizes > tol).sum()),
        tol=tol,
        largest=float(sizes[0]),
        smallest=float(sizes[-1]),
        exact=exact_rank(factors),
    )


def _witness(problem: Problem, row: LayerRank, M: Float[Tensor, "m n"]) -> Witness | None:
    if row.is_injective:
        return None
    _, _, Vt = torch.linalg.svd(M, full_matrices=True)
    batch = take(problem.batches[0], slice(0, 1))
    call = call_of(batch, problem.shadow)
    given = next(t for t in tensors_in((call.args, call.kwargs)) if t.is_floating_point())
    null = _rounded(M, Vt[-1])
    step = null if null is not None else Vt[-1] * max(float(given.norm()), 1.0)
    across = Vt[0] * step.norm()

    def output(x: Tensor) -> Tensor:
        changed = map_tensors(batch, lambda t: x if t is given else t)
        logits: Tensor = problem.forward(problem.parameters, changed, "a witness").logits
        return logits.detach().double()

    second = given + step.to(given)
    here = output(given)
    difference = float((output(second) - here).abs().max())
    control = float((output(given + across.to(given)) - here).abs().max())
    # What reaches the first layer is rounded in proportion to the step and the largest direction.
    size = row.largest * float(step.norm() + given.double().norm())
    gain = max(control / max(row.largest * float(step.norm()), 1e-300), 1.0)
    allowed = (
        16 * max(row.shape) * torch.finfo(given.dtype).eps * (size * gain + float(here.abs().max()))
    )
    return Witness(given.clone(), second, difference, control, allowed)


def _rounded(M: Float[Tensor, "m n"], v: Float[Tensor, " n"]) -> Tensor | None:
    """A null vector of small whole numbers, if there is one along v: it gives exact zeros."""
    v = v / v[v.abs().argmax()]
    for scale in range(1, 13):
        whole = (scale * v).round()
        if float((scale * v - whole).abs().max()) < 1e-5 and not (M @ whole).any():
            return whole
    return None
