"""The loss that an optimizer descends: its value, its gradient and its curvature, in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._batch import Batch
from thalweg._errors import DetachedLossError, OptimizerError, UntapedError
from thalweg._evaluation import Evaluation
from thalweg._graph import custom_functions, explaining, refuse_once_differentiable
from thalweg._ranks import ALONE, Alone
from thalweg._reading import differentiating, multiplying
from thalweg.surface import GGN, BatchProduct, Curvature, output_of
from thalweg.tape import FastLinear, Tape


@dataclass(frozen=True)
class Local:
    """The loss around the parameters as they are now.

    Args:
        value: L.
        gradient: ∇L, flat (n,).
        product: v ↦ C v, flat, with C the curvature asked for; None where none was. It is that of
            these parameters, and may only be called while they hold their values.
    """

    value: float
    gradient: Float[Tensor, " n"]
    product: Callable[[Tensor], Tensor] | None


@dataclass(frozen=True)
class Along:
    """The loss along a few directions S (n, k), from the parameters as they are now.

    Args:
        value: L.
        slopes: Sᵀ∇L (k,), in float64 on the CPU.
        gram: SᵀCS (k, k), C the GGN, likewise.
    """

    value: float
    slopes: Float[Tensor, " k"]
    gram: Float[Tensor, "k k"]


class Objective(ABC):
    """A loss of parameters that are read where they are: in the model that is being trained.

    Args:
        params: the tensors that it is differentiated by.
        batches: what the loss is a mean over; of this process, where several share the data.
        ranks: the processes that share the data.
        is_taped: whether products go over a tape; found out, and False from then on, where the
            model cannot be taped.
    """

    def __init__(
        self,
        params: Sequence[Tensor],
        batches: Sequence[Batch],
        ranks: Alone = ALONE,
        *,
        is_taped: bool = True,
    ) -> None:
        self.params = tuple(params)
        self.batches = batches
        self.ranks = ranks
        self.is_taped = is_taped
        self.take_back: Callable[[], None] = _nothing
        self.last: Sequence[Evaluation] = ()
        self._versions = self.versions()

    @abstractmethod
    def forward(self, batch: Batch) -> Evaluation:
        """The loss of a batch with its graph, and what the model returned."""

    def read(self, batch: Batch) -> Evaluation:
        """The same where no second derivative follows; the output may come in a wider dtype."""
        return self.forward(batch)

    @abstractmethod
    def loss_of(self, evaluation: Evaluation, batch: Batch) -> float:
        """The loss of a batch as a number, as exact as can be had."""

    def way_back(self) -> Callable[[], None]:
        """Puts back what evaluations move beside the loss, such as buffers, when it is called."""
        return _nothing

    def refuse_detached(self) -> None:
        """Refuses a loss that no parameter enters; asked where the gradient is zero.

        Raises:
            DetachedLossError: if it is so.

        Cost: a gradient.
        """
        if not self.ranks.is_alone:  # of which one may hold nothing
            return
        with differentiating(), self.leaving_no_trace():
            losses = [self.forward(batch).loss for batch in self.batches]
            found = torch.autograd.grad(losses, self.params, allow_unused=True)
        if all(gradient is None for gradient in found):
            raise detached()

    def versions(self) -> tuple[int, ...]:
        """How often each tensor of the data was written into; empty where they are not known."""
        return ()

    @contextmanager
    def leaving_no_trace(self) -> Iterator[None]:
        """What an evaluation runs in that is no training step."""
        back = self.way_back()
        try:
            yield
        finally:
            back()

    def count(self, evaluation: Evaluation, batch: Batch) -> float:  # noqa: ARG002
        """The number of loss terms of a batch."""
        return 1.0

    def joined(self, counts: Sequence[float]) -> tuple[float, ...]:
        """The factor of each batch's loss, from the counts of all processes."""
        return (1.0,) * len(counts)

    def value(self) -> float:
        """L at the parameters as they are now, NaN or infinite where it is. Cost: ⅓ gradient.

        What was evaluated for it is `last`, until the next time.
        """

        def own() -> tuple[list[float], list[float]]:
            passes = [(self.read(batch), batch) for batch in self.batches]
            self.last = [evaluation for evaluation, _ in passes]
            self._refuse_written()
            return [self.count(*p) for p in passes], [self.loss_of(*p) for p in passes]

        with differentiating(), torch.no_grad(), self.leaving_no_trace():
            return self._total(self.ranks.gather(own))[0]

    def slope(self) -> tuple[float, Float[Tensor, " n"]]:
        """L as `value` reads it, and ∇L, at the parameters as they are now. Cost: a gradient."""
        gradients: list[tuple[Tensor, ...]] = []

        def own() -> tuple[list[float], list[float]]:
            counts, losses = [], []
            for batch in self.batches:
                evaluation = self.read(batch)
                gradients.append(_gradient(evaluation.loss, self.params))
                counts.append(self.count(evaluation, batch))
                losses.append(self.loss_of(evaluation, batch))
            self._refuse_written()
            return counts, losses

        with differentiating(), explaining(), self.leaving_no_trace():
            value, _, slope = self._summed(own, gradients)
        return value, slope

    def _summed(
        self,
        own: Callable[[], tuple[list[float], list[float]]],
        gradients: Sequence[tuple[Tensor, ...]],
    ) -> tuple[float, tuple[float, ...], Float[Tensor, " n"]]:
        """L, the factors of this process's batches, and ∇L, once each process has read its own."""
        value, weights = self._total(self.ranks.gather(own))
        zero = torch.cat([torch.zeros_like(p).reshape(-1) for p in self.params])
        slope = self.ranks.sum(lambda: _weighed(weights, gradients, zero), zero)
        return value, weights, slope

    def _refuse_written(self) -> None:
        if self.versions() != self._versions:
            raise OptimizerError(
                "the batch was written into while the step ran, which compares losses on one "
                "batch: let the loader make new tensors instead of filling the old ones, and "
                "the model leave its inputs as they are"
            )

    def local(self, curvature: Curvature | None = None) -> Local:
        """Value, gradient and products. Cost: a gradient, and on a tape the time of one more.

        Args:
            curvature: which products; None where the gradient is enough.
        """
        # Undone by the walk where no step comes of it.
        self.take_back = self.way_back()
        gradients: list[tuple[Tensor, ...]] = []
        products: list[BatchProduct] = []

        def own() -> tuple[list[float], list[float]]:
            counts, losses = [], []
            for batch in self.batches:
                evaluation, gradient, product = self._differentiated(curvature, batch)
                counts.append(self.count(evaluation, batch))
                losses.append(self.loss_of(evaluation, batch))
                gradients.append(gradient)
                products.append(product)
            return counts, losses

        with differentiating(), explaining():
            value, weights, slope = self._summed(own, gradients)

        def multiply(v: Tensor) -> Tensor:
            parts = split(v, self.params)
            with multiplying() if self.is_taped else differentiating(), explaining():
                return self.ranks.sum(
                    lambda: _weighed(weights, [product(parts) for product in products], v), v, v
                )

        return Local(value, slope, None if curvature is None else multiply)

    def along(self, directions: Sequence[Float[Tensor, " n"]]) -> Along:
        """Value, slopes and the GGN's curvature along k directions, by their tangents.

        Args:
            directions: the columns of S, each (n,).

        Cost: a forward pass and ⅔ gradient a direction; of a model that cannot be taped, a
        gradient and 4/3 a direction.
        """
        k, S = len(directions), [split(d, self.params) for d in directions]
        found: list[Tensor] = []

        def own() -> tuple[list[float], list[float]]:
            counts, losses = [], []
            for batch in self.batches:
                evaluation, slopes, gram = self._along(S, directions, batch)
                counts.append(self.count(evaluation, batch))
                losses.append(self.loss_of(evaluation, batch))
                found.append(torch.cat([slopes[:, None], gram], 1))
            return counts, losses

        with differentiating(), explaining():
            value, weights = self._total(self.ranks.gather(own))
            like = directions[0].new_zeros(k, k + 1)

            def weighed() -> Tensor:
                parts = [w * part for w, part in zip(weights, found, strict=True)]
                return torch.stack(parts).sum(0) if parts else like

            both = self.ranks.sum(weighed, like).double().cpu()
        return Along(value, both[:, 0], (both[:, 1:] + both[:, 1:].mT) / 2)

    def _along(
        self, S: Sequence[tuple[Tensor, ...]], directions: Sequence[Tensor], batch: Batch
    ) -> tuple[Evaluation, Tensor, Tensor]:
        """A batch with its slopes and its curvature."""
        if self.is_taped:
            back = self.way_back()
            try:
                tape, evaluation = self._recorded(batch)
                output_of(evaluation)
                return evaluation, *tape.along(S)
            except UntapedError:
                self.is_taped = False
                back()
        evaluation, gradient, product = self._differentiated(GGN, batch)
        flat = torch.cat([g.reshape(-1) for g in gradient])
        images = [torch.cat([part.reshape(-1) for part in product(s)]) for s in S]
        slopes = torch.stack([d @ flat for d in directions])
        gram = torch.stack([torch.stack([d @ image for image in images]) for d in directions])
        return evaluation, slopes, gram

    def _total(
        self, shares: Sequence[tuple[list[float], list[float]]]
    ) -> tuple[float, tuple[float, ...]]:
        """L, and the factors of this process's batches."""
        counts = [count for share in shares for count in share[0]]
        losses = [loss for share in shares for loss in share[1]]
        factors = self.joined(counts)
        before = sum(len(share[0]) for share in shares[: self.ranks.number])
        value = sum(w * loss for w, loss in zip(factors, losses, strict=True))
        return value, factors[before : before + len(self.batches)]

    def _differentiated(
        self, curvature: Curvature | None, batch: Batch
    ) -> tuple[Evaluation, tuple[Tensor, ...], BatchProduct]:
        """A batch with its gradient and its product: on a tape, or on a retained graph."""
        if curvature is None:
            with FastLinear():  # around the backward pass too, where checkpoints run again
                evaluation = self.forward(batch)
                return evaluation, _gradient(evaluation.loss, self.params), _refused
        if self.is_taped and curvature.by_tape is not None:
            back = self.way_back()
            try:
                return self._on_tape(curvature, curvature.by_tape, batch)
            except UntapedError:
                # The same model will not be taped next time either.
                self.is_taped = False
                back()
        evaluation = self.forward(batch)
        refuse_once_differentiable(evaluation.loss)
        leaves = {str(number): p for number, p in enumerate(self.params)}
        gradient = _gradient(evaluation.loss, self.params, retain_graph=True)
        return evaluation, gradient, curvature.by_autograd(leaves, evaluation, batch)

    def _on_tape(
        self,
        curvature: Curvature,
        by_tape: Callable[[Tape, Evaluation, Batch], BatchProduct],
        batch: Batch,
    ) -> tuple[Evaluation, tuple[Tensor, ...], BatchProduct]:
        tape, evaluation = self._recorded(batch)
        if not curvature.is_hessian:
            output_of(evaluation)
        pairs = zip(tape.gradient, self.params, strict=True)
        gradient = tuple(torch.zeros_like(p) if g is None else g for g, p in pairs)
        return evaluation, gradient, by_tape(tape, evaluation, batch)

    def _recorded(self, batch: Batch) -> tuple[Tape, Evaluation]:
        """A forward pass on a tape."""
        found: list[Evaluation] = []
        moved: list[Callable[[], None]] = []

        def forward() -> tuple[Tensor, Tensor]:
            found.append(self.forward(batch))
            moved.append(self.way_back())
            loss, output = found[0].loss, found[0].logits
            return loss, output if isinstance(output, Tensor) else loss

        tape = Tape(forward, self.params)
        # Recording runs some operations again, batch normalisation with its statistics too.
        moved[0]()
        if custom := custom_functions(found[0].loss):
            raise UntapedError(f"{custom[0].__name__} has a derivative of its own")
        return tape, found[0]


def detached() -> DetachedLossError:
    """What is said of a loss that no parameter enters."""
    return DetachedLossError(
        "the loss does not depend on any parameter of this optimizer: something detaches it "
        "(detach(), .item(), torch.no_grad()), or the optimizer was given the parameters of "
        "another model"
    )


def _nothing() -> None:
    """There is nothing to put back."""


def _gradient(
    loss: Tensor, params: tuple[Tensor, ...], *, retain_graph: bool = False
) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, params, retain_graph=retain_graph, materialize_grads=True)


def _refused(_: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    raise OptimizerError("no curvature was asked for at this place")


def _weighed(
    weights: Sequence[float], parts: Sequence[tuple[Tensor, ...]], like: Float[Tensor, " n"]
) -> Float[Tensor, " n"]:
    """Σ_b w_b part_b, flat."""
    total = None
    for weight, part in zip(weights, parts, strict=True):
        flat = torch.cat([p.detach().reshape(-1) for p in part])
        if weight != 1.0:
            flat.mul_(weight)
        total = flat if total is None else total.add_(flat)
    return torch.zeros_like(like) if total is None else total


def split(v: Float[Tensor, " n"], params: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """A flat vector as one tensor a parameter."""
    pieces = torch.split_with_sizes(v, [p.numel() for p in params])
    return tuple(piece.view(p.shape) for piece, p in zip(pieces, params, strict=True))


@contextmanager
def set_aside(params: Sequence[Tensor]) -> Iterator[None]:
    """Takes the `.grad`s away and puts them back."""
    before = [p.grad for p in params]
    try:
        for p in params:
            p.grad = None
        yield
    finally:
        for p, gradient in zip(params, before, strict=True):
            p.grad = gradient
