"""Evaluator: the loss at many places, many at a time where the network allows it."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn
from torch.func import functional_call, vmap

from thalweg._batch import Batch
from thalweg._errors import ThalwegError
from thalweg._reading import reading
from thalweg._training import described
from thalweg.surface import Point

WORKING_BYTES = 32 * 2**20
"""What the largest layer of all places of a chunk may take: about a processor's cache."""

MAX_CHUNK = 256

MOST_PARAMETERS = 2**18
"""Bytes of parameters above which a processor reads one place as fast as many: the stack of their
copies no longer fits its cache."""


class Evaluator:
    """The losses of the batches of a point's problem at any places of its surface.

    Places are read in chunks by `torch.func.vmap`, as one batched pass. Where the network does not
    allow it, or gives other numbers than place by place, they are read one by one; `way` says so.

    Args:
        point: whose problem, layout and held parameters are used.
    """

    def __init__(self, point: Point) -> None:
        self.point = point
        self.num_evaluations = 0
        self.chunk, self.way = 1, ""
        self._held = point.held

    def __call__(self, places: Float[Tensor, "m n"]) -> Float64[Tensor, "m b"]:
        """The loss of each batch at each place; NaN and infinite where it is.

        Args:
            places: θ in the rows, in the point's dtype.

        Returns:
            ℓ_b [loss], in float64 on the CPU.

        Raises:
            ProblemError: if the model or the loss raises.
        """
        self.num_evaluations += len(places)
        num_batches = len(self.point.problem.batches)
        if not (num_batches and len(places)):
            self.way = self.way or "no data on this rank"
            return torch.zeros(len(places), num_batches, dtype=torch.float64)
        with reading(), torch.no_grad():
            if not self.way:
                self._choose()
            read = self._together if self.chunk > 1 else self._one_by_one
            return torch.cat([read(part) for part in places.split(self.chunk)])

    def totals(self, places: Float[Tensor, "m n"]) -> Float64[Tensor, " m"]:
        """L at each place, on the data of all ranks."""
        weights = torch.tensor(self.point.weights, dtype=torch.float64)
        like = torch.zeros(len(places), dtype=torch.float64)
        return self.point.problem.ranks.sum(lambda: self(places) @ weights, like)

    def _loss(self, params: dict[str, Tensor], batch: Batch) -> Tensor:
        problem = self.point.problem
        shadow = problem.shadow
        # A model may write into its buffers.
        buffers = {name: self._held.get(name, b).clone() for name, b in shadow.named_buffers()}
        tensors = {**self._held, **params, **buffers}

        def run(*args: Any, **kwargs: Any) -> Any:
            return functional_call(shadow, tensors, args, kwargs)

        return problem.evaluate(run, batch).loss.detach()

    def _losses(self, params: dict[str, Tensor]) -> Tensor:
        return torch.stack([self._loss(params, batch) for batch in self.point.problem.batches])

    def _together(self, places: Tensor) -> Tensor:
        layout = self.point.layout
        pieces = places.split(list(layout.sizes), dim=1)
        stacked = {
            name: piece.reshape(len(places), *shape)
            for name, piece, shape in zip(layout.names, pieces, layout.shapes, strict=True)
        }
        return vmap(self._losses)(stacked).double().cpu()

    def _one_by_one(self, places: Tensor) -> Tensor:
        rows = [self._losses(self.point.layout.unflatten(place)) for place in places]
        return torch.stack(rows).double().cpu()

    def _choose(self) -> None:
        """Tries both ways on two places."""
        here = self.point.vector
        own = here.numel() * here.element_size()
        if here.device.type == "cpu" and own > MOST_PARAMETERS:
            self.way = "one by one, since many parameters outweigh what a joint pass saves"
            return
        probe = torch.stack([here, 1.01 * here])
        largest, single = self._measured(lambda: self._one_by_one(probe))
        try:
            together = self._together(probe)
        except (ThalwegError, RuntimeError, ValueError, NotImplementedError) as error:
            # What a single pass cannot do either was raised above.
            self.way = f"one by one, since vmap fails ({_first(described(error))})"
            return
        scale = torch.finfo(here.dtype).eps ** 0.5
        if not torch.allclose(single, together, rtol=scale, atol=scale, equal_nan=True):
            self.way = "one by one, since vmap gave other numbers"
            return
        each = largest + own
        self.chunk = max(2, min(MAX_CHUNK, WORKING_BYTES // max(each, 1)))
        if each > WORKING_BYTES:
            self.chunk, self.way = 1, "one by one, since one place fills the working memory"
            return
        self.way = f"{self.chunk} places at a time, by vmap"

    def _measured(self, work: Callable[[], Tensor]) -> tuple[int, Tensor]:
        """The bytes of the largest tensor that a module returns, and what the work does."""
        largest = 0

        def note(_: nn.Module, __: Any, output: Any) -> None:
            nonlocal largest
            if isinstance(output, Tensor):
                largest = max(largest, prod(output.shape) * output.element_size())

        hooks = [m.register_forward_hook(note) for m in self.point.problem.shadow.modules()]
        try:
            done = work()
            return largest, done
        finally:
            for hook in hooks:
                hook.remove()


def _first(text: str) -> str:
    """No more of a message than tells what it is about."""
    return text if len(text) <= 90 else f"{text[:87]}…"
