"""Point: value, gradient and curvature of a surface at one place."""

from __future__ import annotations

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._batch import Batch, num_samples
from thalweg._errors import RanksError
from thalweg._evaluation import Evaluation
from thalweg._graph import explaining
from thalweg._layout import Layout, Params, select
from thalweg._problem import Problem
from thalweg._ranks import Fact, facts_of_tensors
from thalweg._reading import multiplying, reading
from thalweg._reduction import Reduction
from thalweg.surface._choice import MIN_PROBED_BYTES, choose
from thalweg.surface._empirical_fisher import empirical_fisher_of
from thalweg.surface._fisher import fisher_of
from thalweg.surface._ggn import GGN, output_of
from thalweg.surface._hessian import HESSIAN, HessianProduct
from thalweg.surface._jacobian import Jacobian, Linearised, linearised
from thalweg.surface._notes import of_forward
from thalweg.surface._operator import SurfaceOperator
from thalweg.surface._route import Curvature, RebuiltGraph, RetainedGraph, Route, Task

SAMPLED, MIN_SAMPLED, MIN_WORK = 32, 1024, 10**8
"""One sample of so many stands for all, where there are so many at least, and so many of them times
parameters: below that a product takes milliseconds, most of which no sample spares."""

MAX_GRAPH_BYTES = 2 * 2**30
"""Above this estimate of their memory, autograd graphs are rebuilt for each product."""


@dataclass
class Shared:
    """What all points of a surface have in common, as far as it was found out.

    Args:
        routes: how products are computed, by kind of curvature.
        weights: the factor of each batch's loss.
    """

    routes: dict[str, Route] = field(default_factory=dict)
    weights: tuple[float, ...] | None = None


class Point:
    """One place θ on a loss surface; everything is computed when first asked for, and kept.

    A point is a snapshot: training the model afterwards does not move it. (Frozen parameters are
    shared with the model, not copied.)

    Args:
        problem: what is read, its modules held in one mode.
        layout: names and shapes of the n parameters.
        vector: θ.
        others: the other parameters and the buffers, by name.
        shared: what the points of a surface need to find out once only.
        notes: what was done with the model before it is read here, in words.

    Example:
        >>> import torch, thalweg
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> problem = thalweg.Problem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, x))
        >>> point = thalweg.Surface(problem).at(torch.tensor([1.0, 1.0]))
        >>> point.value, point.gradient["bias"]
        (1.0, tensor([2.]))
    """

    def __init__(
        self,
        problem: Problem,
        layout: Layout,
        vector: Float[Tensor, " n"],
        others: Params,
        shared: Shared | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self._notes = notes
        self.problem = problem
        self.layout = layout
        self.vector = vector
        buffers = {name for name, _ in problem.model.named_buffers()}
        self._others = {
            name: tensor.detach().clone() if tensor.requires_grad or name in buffers else tensor
            for name, tensor in others.items()
        }
        self._shared = Shared() if shared is None else shared
        self._operators: dict[tuple[str, Route | None], SurfaceOperator] = {}
        self._is_agreed = False

    @property
    def params(self) -> dict[str, Tensor]:
        """θ by name; views of `vector`."""
        return self.layout.unflatten(self.vector)

    @property
    def value(self) -> float:
        """L(θ) [loss]. Cost: one gradient, which is kept; none after a Hessian of one batch."""
        return self._value_and_gradient[0]

    @property
    def gradient(self) -> dict[str, Tensor]:
        """∇L(θ) by name [loss/param]. Cost: one gradient; none after a Hessian of one batch."""
        return self.layout.unflatten(self.gradient_vector)

    @property
    def gradient_vector(self) -> Float[Tensor, " n"]:
        """∇L(θ) as one vector, in the layout's order [loss/param]."""
        return self._value_and_gradient[1]

    @property
    def unused(self) -> tuple[str, ...]:
        """Names of the parameters that no batch's loss is computed from.

        Their gradient, rows and columns are zero. Cost: one gradient, which is kept.
        """
        return self._value_and_gradient[3]

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What is done here otherwise than in training, in words, such as the kernel of attention.

        Cost: one forward pass of one batch.
        """
        if not self.problem.batches:
            return self._notes
        with reading(), torch.no_grad():
            return (*self._notes, *of_forward(lambda: self.forward(self.params, 0)))

    @property
    def held(self) -> dict[str, Tensor]:
        """The other parameters and the buffers by name, as they were when the point was made."""
        return dict(self._others)

    def hessian(self, route: Route | None = None) -> SurfaceOperator:
        """H = ∇²L(θ) [loss/param²]: the exact Hessian.

        Args:
            route: how products are computed; when left out the faster of `RetainedGraph` and
                `Taped`, by a probe, or `RebuiltGraph` where graphs take more than 2 GiB.

        Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".
        """
        return self._operator(HESSIAN, route)

    def ggn(self, route: Route | None = None) -> SurfaceOperator:
        """G = Σ_b w_b J_bᵀ (∇²_z ℓ) J_b [loss/param²]: the generalised Gauss–Newton matrix.

        J is the Jacobian of the model's output z (or its `.logits`), ∇²_z ℓ the Hessian of the
        loss in z, whatever the loss.

        Args:
            route: how products are computed; see `hessian`.

        Raises:
            ProblemError: at the first product, if the output is not one tensor, or the loss does
                not depend on it.

        Source: Schraudolph 2002, "Fast curvature matrix-vector products".
        """
        return self._operator(GGN, route)

    def fisher(self, route: Route | None = None) -> SurfaceOperator:
        """F = Σ_b w_b J_bᵀ F_z J_b [loss/param²]: the true Fisher information of the model.

        F_z = E_{y ~ p(y|z)}[∇_z ln p ∇_z ln pᵀ] in closed form for the likelihood that the loss is
        the negative logarithm of: cross-entropy, negative log-likelihood, binary cross-entropy,
        mean of squares (a Gaussian of variance 1/2). For losses on natural parameters it equals the
        GGN.

        Args:
            route: how products are computed; see `hessian`.

        Raises:
            ProblemError: at the first product, if the loss is not one of these.

        Source: Martens 2020, "New insights and perspectives on the natural gradient method", §8–9.
        """
        return self._operator(fisher_of(self.problem), route)

    def empirical_fisher(self) -> SurfaceOperator:
        """F̂ = (1/M) Σ_i ∇s_i ∇s_iᵀ [loss²/(terms·param²)]: the slopes of single samples, squared.

        s_i is the sum of the loss terms of sample i (one for a class, c for c squares, one for each
        token that is not padding) and M the number of terms in the mean, 1 where the loss is a sum.
        So L = Σ_i s_i / M, whatever the batches. A mean over samples gives (1/N) Σ_i ∇ℓ_i ∇ℓ_iᵀ;
        targets drawn from the model give `fisher()` in expectation. It is no second derivative.

        Raises:
            ProblemError: at the first product, if the loss is not the mean or the sum of what the
                samples add to it.

        Source: Kunstner, Balles and Hennig 2019, "Limitations of the empirical Fisher approximation
        for natural gradient descent", §2; the scale is ours.
        """
        return self._operator(empirical_fisher_of(self.problem, self._apart()._forward_on), None)

    def jacobian(self) -> Jacobian:
        """J = ∂z/∂θ [output/param]: of the model's outputs, or its `.logits`, over all batches.

        `J @ v` and `J.T @ u` are products from either side, `J.gram()` is JᵀJ over parameters, and
        `J.T.gram()` is JJᵀ over outputs: the empirical neural tangent kernel.

        Raises:
            ProblemError: if the output is not one real tensor that carries its graph.

        Cost: 1 forward pass for the shapes; J v 2/3 and Jᵀu 2/3 of a gradient, one gradient more
        where the graphs are too large to be kept.

        Source: Jacot, Gabriel and Hongler 2018, "Neural tangent kernel", for JJᵀ.
        """
        return self._jacobian

    def restricted(self, params: str | Iterable[str]) -> Point:
        """The same place as a point of fewer parameters; the others are held.

        Its operators are the submatrices of this point's, and cost less: only the chosen parameters
        are differentiated by.

        Args:
            params: globs over this point's parameters, such as `"layers.0.*"`.

        Raises:
            LayoutError: if a glob matches nothing; lists the names there are.
        """
        with torch.inference_mode(False), torch.no_grad():
            chosen = select(self.params, params)
            held = {name: tensor for name, tensor in self.params.items() if name not in chosen}
            layout = Layout.of(chosen)
            others = {**self._others, **held}
            vector = layout.flatten(chosen)
            part = Point(self.problem, layout, vector, others, notes=self._notes)
            if "_value_and_gradient" in vars(self):
                value, _, weights, unused = self._value_and_gradient
                slope = layout.flatten({name: self.gradient[name] for name in layout.names})
                unused = tuple(name for name in unused if name in chosen)
                vars(part)["_value_and_gradient"] = value, slope, weights, unused
        return part

    def blocks(self) -> dict[str, Point]:
        """One restricted point for each module that owns parameters, by its name, in order.

        `{name: part.hessian() for name, part in point.blocks().items()}` are the blocks on the
        diagonal of the Hessian; `thalweg.linalg.BlockDiagonalOperator` puts them together.
        """
        names: dict[str, list[str]] = {}
        for name in self.layout.names:
            names.setdefault(name.rpartition(".")[0], []).append(name)
        return {module: self.restricted(owned) for module, owned in names.items()}

    # -- how it is computed -----------------------------------------------------------------

    def leaves(self) -> dict[str, Tensor]:
        """Fresh leaf tensors at θ, by name, to differentiate by."""
        return {name: tensor.detach().requires_grad_() for name, tensor in self.params.items()}

    def forward(self, leaves: dict[str, Tensor], index: int) -> Evaluation:
        """The forward pass of batch `index` at `leaves`; other parameters are held."""
        batch = self.problem.batches[index]
        return self.problem.forward({**self._others, **leaves}, batch, f"batch {index}")

    @cached_property
    def weights(self) -> tuple[float, ...]:
        """The factor of each batch's loss in L. Cost: one gradient, where there are several.

        Of this rank's batches, where several share the data.
        """
        if self.problem.ranks.is_alone and len(self.problem.batches) == 1:
            return (1.0,)
        if self._shared.weights is None:
            self._shared.weights = self._value_and_gradient[2]
        return self._shared.weights

    @cached_property
    def _value_and_gradient(
        self,
    ) -> tuple[float, Float[Tensor, " n"], tuple[float, ...], tuple[str, ...]]:
        if (found := self._from_hessian()) is not None:
            return found
        ranks, reduction = self.problem.ranks, self.problem.reduction
        self._agree()
        slopes: list[Tensor] = []

        def read() -> tuple[list[float], list[float], set[str]]:
            with reading():
                counts, losses, used, slope = self._own_sums(reduction)
            slopes.append(slope)
            return counts, losses, used

        shares = ranks.gather(read)
        counts = [count for share in shares for count in share[0]]
        losses = [loss for share in shares for loss in share[1]]
        if not counts:
            raise RanksError("no rank holds any data; give at least one of them a batch")
        before = sum(len(share[0]) for share in shares[: ranks.number])
        weights = reduction.weights(counts)[before : before + len(self.problem.batches)]
        with multiplying():
            total = ranks.sum(slopes.pop, self.vector)
            slope = total if reduction.is_sum else total / sum(counts)
        used = set().union(*(share[2] for share in shares))
        unused = tuple(name for name in self.layout.names if name not in used)
        return reduction.total(losses, counts), slope, weights, unused

    def _from_hessian(
        self,
    ) -> tuple[float, Float[Tensor, " n"], tuple[float, ...], tuple[str, ...]] | None:
        """The same from the pass that a Hessian keeps, where one batch is all there is."""
        if not self.problem.ranks.is_alone or len(self.problem.batches) != 1:
            return None
        for op in self._operators.values():
            for product in op.kept:
                if isinstance(product, HessianProduct):
                    with multiplying():
                        slopes = _filled(self.params, product.gradient)
                        found = zip(self.layout.names, product.gradient, strict=True)
                        unused = tuple(name for name, slope in found if slope is None)
                        slope = self.layout.flatten(slopes)
                    return float(product.loss), slope, (1.0,), unused
        return None

    def _own_sums(
        self, reduction: Reduction
    ) -> tuple[list[float], list[float], set[str], Float[Tensor, " n"]]:
        """Of this rank's batches: counts and losses, the parameters used, Σ count · gradient."""
        counts: list[float] = []
        losses: list[float] = []
        used: set[str] = set()
        total = torch.zeros_like(self.vector)
        for index, batch in enumerate(self.problem.batches):
            leaves = self.leaves()
            evaluation = self.forward(leaves, index)
            counts.append(reduction.count(batch, evaluation.output))
            losses.append(float(evaluation.loss.detach()))
            if not evaluation.loss.requires_grad:
                continue
            with explaining():
                gradients = torch.autograd.grad(
                    evaluation.loss, tuple(leaves.values()), allow_unused=True
                )
            used |= {n for n, g in zip(leaves, gradients, strict=True) if g is not None}
            # Multiplied by its count now and divided by the sum of counts at the end, since that
            # sum is known only then.
            scale = 1.0 if reduction.is_sum else counts[-1]
            total += scale * self.layout.flatten(_filled(leaves, gradients))
        return counts, losses, used, total

    def _agree(self) -> None:
        """Once for each point, ranks compare where they are."""
        if not self._is_agreed:
            self.problem.ranks.agree(self._facts)
            self._is_agreed = True

    def _facts(self) -> list[Fact]:
        """What has to be alike on every rank: parameters, held ones too, and lasting buffers."""
        lasting = self.problem.model.state_dict().keys()
        held = {name: tensor for name, tensor in self._others.items() if name in lasting}
        return facts_of_tensors({**self.params, **held})

    def _apart(self) -> Point:
        """The same point for an operator to hold, which does not hold the operator in turn.

        Graphs are freed with the last reference to them then, not when cycles are looked for.
        """
        twin = copy(self)
        twin._operators = {}
        vars(twin).pop("_jacobian", None)
        return twin

    @cached_property
    def _jacobian(self) -> Jacobian:
        twin = self._apart()

        def output(leaves: dict[str, Tensor], index: int) -> Tensor:
            return output_of(twin.forward(leaves, index))

        def linearised_at(index: int) -> Linearised:
            leaves = twin.leaves()
            return linearised(leaves, output(leaves, index))

        def measured() -> tuple[tuple[torch.Size, ...], bool]:
            if not self.problem.batches:
                raise RanksError(
                    "point.jacobian() has the rows of its rank, and this one holds no data; give "
                    "every rank at least one sample"
                )
            with reading(), torch.no_grad():
                shapes = tuple(
                    output(self.params, index).shape for index in range(len(self.problem.batches))
                )
            return shapes, self._graph_bytes <= MAX_GRAPH_BYTES

        ranks = self.problem.ranks
        self._agree()
        shapes, is_kept = ranks.together(measured)
        return Jacobian(self.layout, shapes, linearised_at, is_kept, ranks)

    def _operator(self, kind: Curvature, route: Route | None) -> SurfaceOperator:
        key = (kind.name, route)
        if key not in self._operators:
            self._agree()
            weights, twin = self.weights, self._apart()
            self._operators[key] = SurfaceOperator(
                kind.name,
                self.layout,
                lambda index, taken: taken.build(
                    twin._task(kind, twin.problem.batches[index], f"batch {index}")
                ),
                weights,
                kind.cost,
                lambda: twin._chosen(kind) if route is None else route,
                self.problem.ranks,
                lambda taken: twin._sampled(kind, taken),
            )
        return self._operators[key]

    def _sampled(self, kind: Curvature, route: Route) -> SurfaceOperator | None:
        """The operator of a part of the samples along the same route, where that spares much."""
        number = self.problem.num_samples
        is_little = number < MIN_SAMPLED or number * self.layout.size < MIN_WORK
        if is_little or not self.problem.ranks.is_alone:
            return None
        part = self.problem.subsampled(number // SAMPLED, torch.Generator().manual_seed(0))
        return Point(part, self.layout, self.vector, self._others)._operator(kind, route)

    def _forward_on(
        self, leaves: dict[str, Tensor], batch: Batch, where: str = "a batch"
    ) -> Evaluation:
        return self.problem.forward({**self._others, **leaves}, batch, where)

    def _task(self, kind: Curvature, batch: Batch, where: str) -> Task:
        return Task(kind, self.leaves, lambda leaves: self._forward_on(leaves, batch, where), batch)

    def _chosen(self, kind: Curvature) -> Route:
        """The route by a probe, which all points of the surface share, on every rank."""
        routes = self._shared.routes
        if kind.name not in routes:
            ranks = self.problem.ranks
            sizes = ranks.gather(lambda: self._graph_bytes if self.problem.batches else -1.0)
            # Timings differ between ranks: the first that holds data decides for all.
            first, largest = next(r for r, size in enumerate(sizes) if size >= 0), max(sizes)
            choices = ranks.gather(
                lambda: self._probed(kind, largest) if ranks.number == first else None
            )
            route = choices[first]
            assert route is not None, "the first that holds data"
            routes[kind.name] = route
        return routes[kind.name]

    def _probed(self, kind: Curvature, graph_bytes: float) -> Route:
        if graph_bytes > MAX_GRAPH_BYTES:
            return RebuiltGraph()
        if graph_bytes < MIN_PROBED_BYTES or kind.by_tape is None:
            return RetainedGraph()
        with reading(), explaining():
            part = self.problem.part
            is_part = part is not self.problem.batches[0]
            return choose(self._task(kind, part, "a part of batch 0"), is_part)

    @cached_property
    def _graph_bytes(self) -> float:
        """An estimate of what the graphs of all batches keep: 3 × what the forward pass saves."""
        part = self._task(HESSIAN, self.problem.part, "a part of batch 0")
        saved, own = 0, self.vector.untyped_storage().data_ptr()

        def count(tensor: Tensor) -> int:
            nonlocal saved
            if tensor.untyped_storage().data_ptr() == own:
                return 0  # parameters are there anyway
            saved += tensor.numel() * tensor.element_size()
            return 0

        with reading(), torch.autograd.graph.saved_tensors_hooks(count, lambda _: torch.empty(0)):
            part.forward(self.leaves())
        return 3.0 * saved * self.problem.num_samples / num_samples(self.problem.part)


def _filled(leaves: dict[str, Tensor], gradients: tuple[Tensor | None, ...]) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }
