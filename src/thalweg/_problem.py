"""Problem: a model, a loss and data. The root of every reading."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property, partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from thalweg._batch import (
    Batch,
    call_of,
    concatenate,
    map_tensors,
    num_samples,
    part_of,
    take,
    tensors_in,
)
from thalweg._data import Batches, read
from thalweg._errors import (
    DetachedLossError,
    NonFiniteError,
    ProblemError,
    ThalwegError,
)
from thalweg._evaluation import Evaluation, Evaluator
from thalweg._frozen import freeze_dropout, freeze_statistics
from thalweg._layout import Params
from thalweg._microbatches import divided, parts_of
from thalweg._nonfinite import birthplace
from thalweg._randomness import (
    Trace,
    refuse_difference,
    refuse_dropout,
    refuse_random_modes,
    refuse_running_again,
    tracing,
)
from thalweg._ranks import ALONE, Alone, Ranks
from thalweg._reading import copy_of, reading, shadow_of, unwrapped
from thalweg._reduction import Reduction, reduction_of
from thalweg._sampling import drawn
from thalweg._sharded import gathered, is_sharded

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

TrainingStep = Callable[[nn.Module, Any, torch.optim.Optimizer], Any]
"""`step(model, batch, optimizer)`: one step of somebody's own loop; may return the loss."""

Schedule = Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler]


@dataclass(frozen=True, eq=False)
class Problem:
    """A model, a loss and data: L(θ) = Σ_b w_b ℓ(model_θ(x_b), y_b) / Σ_b w_b.

    w_b is the number of terms in the mean of batch b, so that uneven batches weigh what they
    should; a loss that is a sum over terms is added up instead.

    Args:
        model: any `nn.Module`. It is never changed, neither its mode nor its `.grad`; compiled
            and distributed wrappers are taken off. The mode it is in is the mode it is read in.
            Its hooks run as in any forward pass.
        loss: `loss(output, target)` returning a scalar, for instance
            `torch.nn.functional.cross_entropy`; None where the model returns it as `output.loss`.
            A loss with a single argument gets the output alone.
        data: one batch or several. A batch is a tuple `(input, target)`, a dict (fed as
            `model(**batch)`, its target under "labels", "label", "targets", "target" or "y") or a
            tensor (its own target). Several are a list of batches, a `DataLoader` or any sized or
            re-iterable collection. They are read once, on first use, and kept.
        test: held-out data in the same forms.
        optimizer: what they train with: `lambda params: torch.optim.SGD(params, lr=0.1)`.
        batch_size: the minibatch they train with.
        epochs: passes over the data that they train for.
        step: one step of their own loop, `step(model, batch, optimizer)`: it uses its arguments,
            never what it closes over; whatever it returns as a loss is kept. Where left out:
            `optimizer.zero_grad()`, `loss.backward()`, clipping, `optimizer.step()`.
        schedule: the learning rate's, made from the optimizer:
            `lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)`; it steps after every
            epoch, `OneCycleLR` and the cyclic ones after every step.
        clip_norm: what they clip the norm of the gradient to; with a `step` that is its business.
        mode: what they call `model.train(mode)` with before training; None where they leave the
            modules in the mode they are in.
        on_purpose: globs for modules and parameters that are meant to be odd: frozen, unused, in
            evaluation mode, narrow. The doctor names nothing there.
        num_terms: w_b of a batch, where thalweg cannot find it by itself.
        name: a title for reports.
        ranks: the processes that hold a share of the data each; set by `across_ranks`.

    Raises:
        ProblemError: if an argument is not what it should be.

    Cost:
        Nothing on construction; data are read on first use.

    Example:
        >>> import torch
        >>> x, y = torch.randn(7, 3), torch.randn(7, 1)
        >>> problem = Problem(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, (x, y))
        >>> problem.num_samples
        7
    """

    model: nn.Module
    loss: Callable[..., Tensor] | None
    data: Any
    _: KW_ONLY
    test: Any = None
    optimizer: OptimizerFactory | None = None
    batch_size: int | None = None
    epochs: int | None = None
    step: TrainingStep | None = None
    schedule: Schedule | None = None
    clip_norm: float | None = None
    mode: bool | None = True
    on_purpose: str | tuple[str, ...] = ()
    num_terms: Callable[[Batch], float] | None = None
    name: str = ""
    ranks: Alone = ALONE

    def __post_init__(self) -> None:
        if not isinstance(self.model, nn.Module):
            raise ProblemError(
                f"the model is a {type(self.model).__name__}; Problem(model, loss, data) takes an "
                f"nn.Module first"
            )
        if isinstance(self.loss, type):
            raise ProblemError(
                f"the loss is the class {self.loss.__name__}; give one of it: "
                f"{self.loss.__name__}()"
            )
        if self.loss is not None and not callable(self.loss):
            raise ProblemError(
                f"the loss is a {type(self.loss).__name__}; give a function of (output, target), "
                f"or None where the model returns output.loss"
            )
        for name, number in (("batch_size", self.batch_size), ("epochs", self.epochs)):
            if number is not None and not (isinstance(number, int) and number >= 1):
                raise ProblemError(f"{name}={number!r}; give a whole number of 1 or more")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ProblemError(f"clip_norm={self.clip_norm!r}; give a positive norm, or leave out")
        for name in ("step", "schedule"):
            if getattr(self, name) is not None and not callable(getattr(self, name)):
                kind = type(getattr(self, name)).__name__
                wanted = "(model, batch, optimizer)" if name == "step" else "the optimizer"
                raise ProblemError(f"{name} is a {kind}; give a function of {wanted}")

    # -- data -------------------------------------------------------------------------------

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """The training data, read once.

        Raises:
            ProblemError: if they are empty, an iterator, or larger than memory allows.
        """
        may_be_empty = not self.ranks.is_alone
        return read(self.data, "data", self.loss_takes_target, may_be_empty)

    @cached_property
    def test_batches(self) -> tuple[Batch, ...]:
        """The held-out data, read once; empty where there are none."""
        return () if self.test is None else read(self.test, "test", self.loss_takes_target)

    @property
    def num_samples(self) -> int:
        """N, the number of samples of the training data; of its share on this rank."""
        return sum(num_samples(batch) for batch in self.batches)

    def minibatches(self, batch_size: int, generator: torch.Generator) -> Iterator[Batch]:
        """Endless minibatches in random order, epoch after epoch, the ragged last one included.

        Batches that cannot be joined (ragged sequences) come one at a time as they are.
        """
        try:
            pool: Batch | None = concatenate(self.batches)
        except ValueError:
            pool = None
        while True:
            if pool is None:
                for i in torch.randperm(len(self.batches), generator=generator).tolist():
                    yield self.batches[i]
            else:
                order = torch.randperm(
                    num_samples(pool), generator=generator, device=generator.device
                )
                for index in order.split(batch_size):
                    device = tensors_in(pool)[0].device
                    yield take(pool, index.to(device))

    def is_on_purpose(self, name: str) -> bool:
        """Whether a module or parameter of that name, or one that holds it, is declared so."""
        globs = (self.on_purpose,) if isinstance(self.on_purpose, str) else self.on_purpose
        parts = name.split(".")
        holders = [".".join(parts[:i]) for i in range(1, len(parts) + 1)]
        # "backbone.*" means the backbone itself, too.
        return any(
            fnmatchcase(holder, glob) or holder == glob.removesuffix(".*")
            for glob in globs
            for holder in holders
        )

    # -- other problems made from this one --------------------------------------------------

    def across_ranks(self, group: torch.distributed.ProcessGroup | None = None) -> Problem:
        """The problem on the data of all processes, of which this one holds its share.

        Values, gradients and every product are those of all data together, and the same on every
        rank: batches weigh by their loss terms over all ranks, shares may be uneven or empty. So
        every rank makes the same calls in the same order, with generators seeded alike. Ranks are
        asked whether they agree, and an error on one is raised on all, under the number of its
        rank. A Jacobian keeps the rows of its rank.

        A model wrapped in DistributedDataParallel is read without it. One under `fully_shard`
        (FSDP2) is put together here, on every rank: it has to fit on one device, training moves
        the problem no further, and FSDP's mixed precision is not read.

        Args:
            group: of torch.distributed; all processes where left out.

        Raises:
            RanksError: if there is no process group, or this process is not in it.

        Cost: one all-reduce of n numbers for each product, of (n, k) for a block, and a few small
        collectives for every surface, point and operator.

        Example:
            >>> import torch, torch.distributed as dist
            >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
            >>> x, y = torch.randn(7, 3), torch.randn(7, 1)  # this rank's
            >>> problem = Problem(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, (x, y))
            >>> problem.across_ranks().ranks
            Ranks(0 of 1)
            >>> dist.destroy_process_group()
        """
        ranks, model = Ranks(group), unwrapped(self.model)
        problem = self._seen_through(gathered(model)) if is_sharded(model) else self
        return replace(problem._seen_through(problem.model), ranks=ranks)

    def in_eval_mode(self) -> Problem:
        """The same problem read in evaluation mode; the owner's model keeps its own mode."""
        return self._seen_through(shadow_of(self.model).eval())

    def with_frozen_statistics(self) -> Problem:
        """The same problem with the batch statistics of its data held as constants.

        Batch normalisation in training mode normalises every batch by its own mean and variance.
        Here they are those of all the training data together, at the parameters of now, and stay
        what they are when parameters move: samples no longer interact. On a single batch the loss
        is that of training mode; its gradient leaves out the way through the statistics.

        Raises:
            RandomModelError: if the model also drops units at random; freeze these first.
            ProblemError: if a normalisation layer runs more than once in a pass.

        Cost: one forward pass over the data; one for each normalisation layer if there are several
        batches.
        """
        self.ranks.refuse("with_frozen_statistics()")
        frozen = shadow_of(self.model)
        refuse_dropout(frozen)
        problem = self._seen_through(frozen)
        vars(problem)["shadow"] = frozen

        def run(batch: Batch) -> None:
            problem.forward(problem.parameters, batch)

        with reading(), torch.no_grad():
            freeze_statistics(frozen, run, problem.batches)
        return self._seen_through(frozen)

    def with_frozen_dropout(self, generator: torch.Generator) -> Problem:
        """The same problem with one draw of its dropout masks, held.

        Every module that drops units at random drops the same ones for every sample, whatever the
        batch: one thinned network out of those that training samples. (Inputs of another shape have
        another mask; samples run along the first dimension.) Dropout inside recurrent and
        attention modules and functional dropout cannot be held, and are refused when read.

        Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from
        overfitting", for thinned networks; they draw a mask for each sample.
        """
        frozen = shadow_of(self.model)
        freeze_dropout(frozen, generator)
        return self._seen_through(frozen)

    def held(self) -> Problem:
        """The same problem, its modules in the mode and with the attributes of the last check.

        Parameters and buffers stay the owner's.
        """
        held = self._seen_through(self.shadow)
        vars(held)["shadow"] = self.shadow  # nobody else's: it needs no shadow of its own
        vars(held)["_evaluator"] = self._evaluator
        if self.batches:
            vars(held)["part"] = self.part
        return held

    def with_model(self, model: nn.Module) -> Problem:
        """The same problem with another model on the same, already read data."""
        return replace(self, model=model, data=self.batches, test=self.test_batches or None)

    def with_data(self, batches: Iterable[Batch]) -> Problem:
        """The same problem on other batches of the same form."""
        with torch.inference_mode(False):  # what is cut under it cannot be saved for a derivative
            usable = [
                map_tensors(b, lambda t: t.clone() if t.is_inference() else t) for b in batches
            ]
        return replace(self, data=Batches(usable))

    def subsampled(self, num_samples: int, generator: torch.Generator) -> Problem:
        """The problem on some of its samples, drawn without replacement, as one batch.

        What is read there differs from the whole by a sampling error, which
        `thalweg.surface.sample_estimate` estimates. Batches that cannot be joined (ragged
        sequences) are drawn whole, until `num_samples` is reached.

        Raises:
            ProblemError: if `num_samples` is not between 1 and N.
        """
        self.ranks.refuse(f"subsampled({num_samples})")
        if not 1 <= num_samples <= self.num_samples:
            raise ProblemError(
                f"subsampled({num_samples}): the problem has {self.num_samples} samples; give a "
                f"number from 1 to {self.num_samples}"
            )
        return self.with_data(drawn(self.batches, num_samples, generator)[0])

    def in_microbatches(self, size: int) -> Problem:
        """The same problem in batches of `size` samples at most: the same numbers, less memory.

        Value, gradient and every curvature are those of the larger batches to rounding, since each
        part weighs by its number of loss terms. A part that is all padding stays with a neighbour.

        Raises:
            ProblemError: if samples interact (batch statistics, a contrastive loss), so that the
                parts are another problem; or if they are packed sequences.
            RandomModelError: if the model is random in its mode; see `check`.

        Cost: `check`, and two forward passes over the data, which prove that the loss stays the
        same.

        Example:
            >>> import torch
            >>> x, y = torch.randn(7, 3), torch.randn(7, 1)
            >>> problem = Problem(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, (x, y))
            >>> [len(x) for x, _ in problem.in_microbatches(3).batches]
            [3, 3, 1]
        """
        if size < 1:
            raise ProblemError(f"in_microbatches({size}); give a whole number of 1 or more")
        self.check()
        cut = self.ranks.together(
            lambda: self.with_data(part for batch in self.batches for part in parts_of(batch, size))
        )
        reduction = cut.reduction
        with reading(), torch.no_grad():
            parts = self.ranks.together(
                lambda: [divided(b, size, self._evaluated, reduction) for b in self.batches]
            )
        smaller = self.with_data(part for whole in parts for part in whole)
        vars(smaller)["reduction"] = reduction
        return smaller

    def copied(self) -> Problem:
        """The same problem with a model of its own, free to be trained."""
        return self.with_model(copy_of(self.model))

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Problem:
        """A copy of the problem with model and data on a device and in a floating dtype."""

        def move(tensor: Tensor) -> Tensor:
            moved = tensor.to(device, dtype if tensor.is_floating_point() else None)
            return moved.clone() if moved.is_inference() else moved

        # What is made under it could not be differentiated by.
        with torch.inference_mode(False), torch.no_grad():
            copied = self.copied()
            loss = self.loss
            if isinstance(loss, nn.Module):
                loss = copy.deepcopy(loss).to(device, dtype)
            if isinstance(loss, partial):
                args, kwargs = map_tensors((loss.args, loss.keywords), move)
                loss = partial(loss.func, *args, **kwargs)
            return replace(
                copied,
                model=copied.model.to(device, dtype),
                loss=loss,
                data=Batches(map_tensors(batch, move) for batch in self.batches),
                test=Batches(map_tensors(batch, move) for batch in self.test_batches) or None,
            )

    def _seen_through(self, model: nn.Module) -> Problem:
        """The same problem with other modules; data that were read are not read again."""
        data = vars(self).get("batches", self.data)
        test = vars(self).get("test_batches") or self.test
        return replace(self, model=model, data=data, test=test)

    # -- parameters and evaluation ----------------------------------------------------------

    @property
    def parameters(self) -> dict[str, Tensor]:
        """The trainable parameters by name, live. Tied ones appear once.

        Raises:
            ProblemError: if there is none, or one is not initialised yet.
        """
        if is_sharded(unwrapped(self.model)):
            raise ProblemError(
                "the parameters of the model are sharded over processes (FSDP2, DTensor); "
                "Problem(...).across_ranks() puts them together for the reading"
            )
        params: dict[str, Tensor] = {}
        for name, tensor in unwrapped(self.model).named_parameters():
            if isinstance(tensor, nn.parameter.UninitializedParameter):
                raise ProblemError(
                    f"parameter {name!r} is not initialised yet; run the model once on a batch in "
                    f"your factory before returning the Problem"
                )
            if tensor.is_inference():
                raise ProblemError(
                    f"parameter {name!r} was made under torch.inference_mode(), so that nothing "
                    f"can be differentiated by it; build or load the model outside of it"
                )
            if tensor.requires_grad:
                params[name] = tensor
        if not params:
            raise ProblemError(
                f"the model {type(unwrapped(self.model)).__name__} has no trainable parameter; set "
                f"requires_grad_(True) on at least one"
            )
        return params

    @cached_property
    def reduction(self) -> Reduction:
        """How the losses of several batches make one number."""
        if self.num_terms is not None:
            num_terms = self.num_terms
            return Reduction(lambda batch, _: float(num_terms(batch)), False, "num_terms, as given")

        with reading(), torch.no_grad():
            return reduction_of(self.model, self.loss, self._evaluated, self.batches, self.ranks)

    def _evaluated(self, batch: Batch) -> tuple[float, Any]:
        evaluation = self.forward(self.parameters, batch)
        return float(evaluation.loss.detach()), evaluation.output

    def forward(self, params: Params, batch: Batch, where: str = "a batch") -> Evaluation:
        """One forward pass at given parameters, without touching the model or its buffers.

        Args:
            params: parameters and buffers by name; those left out are the model's own.
            batch: one batch of the problem's data.
            where: how messages name the batch.

        Raises:
            ProblemError: if the model or the loss raises, or the loss is not a scalar.
            NonFiniteError: if the loss is not finite; names where that was born.
        """
        shadow = self.shadow
        # A model may write into its buffers.
        buffers = {name: params.get(name, b).clone() for name, b in shadow.named_buffers()}

        def run(*args: Any, **kwargs: Any) -> Any:
            return functional_call(shadow, {**params, **buffers}, args, kwargs)

        evaluation = self.evaluate(run, batch, where)
        if not isfinite(evaluation.loss.detach().item()):
            call = call_of(batch, shadow)
            with torch.no_grad():
                place = birthplace(shadow, params, batch, lambda: run(*call.args, **call.kwargs))
            raise NonFiniteError(
                f"the loss is {float(evaluation.loss.detach())} in {where}; born in "
                f"{place or self._evaluator.birth(evaluation, call)}. Mend that place "
                f"(scale the inputs, lower the learning rate, guard the logarithm or the division)"
            )
        return evaluation

    def evaluate(self, run: Callable[..., Any], batch: Batch, where: str = "a batch") -> Evaluation:
        """The loss of a batch under any callable in the place of the model."""
        return self._evaluator(run, batch, where)

    def check(self) -> None:
        """Refuses what cannot be read: see Raises. Costs 4/3 gradients of a part of a batch.

        The model is read as it is from now on: in this mode, with these Python attributes.

        Raises:
            ProblemError: for data, outputs or losses of the wrong form.
            RandomModelError: if the same parameters give different values; names the module.
            DetachedLossError: if the loss does not depend on any parameter.
        """
        self.ranks.together(self._check)

    def _check(self) -> None:
        vars(self).pop("shadow", None)
        if hollow := [name for name, p in self.parameters.items() if p.is_meta]:
            raise ProblemError(
                f"parameter {hollow[0]!r} is on the meta device, where tensors hold no numbers; "
                f"load the weights in your factory before returning the Problem"
            )
        refuse_random_modes(self.shadow)
        if not self.batches:
            return  # this rank's share is empty
        vars(self)["part"] = part = part_of(self.batches[0])
        try:
            self._check_on(part, "batch 0")
        except ThalwegError:
            if part is self.batches[0]:
                raise
            # Perhaps it is only that the model takes no part of a batch.
            vars(self)["part"] = self.batches[0]
            self._check_on(self.batches[0], "batch 0")

    @cached_property
    def part(self) -> Batch:
        """Some samples of the first batch to try things on; all where the model takes no part."""
        self._check()
        part: Batch = vars(self)["part"]
        return part

    def _check_on(self, given: Batch, where: str) -> None:
        with reading():
            attached = {n: p.detach().requires_grad_() for n, p in self.parameters.items()}
            batch = map_tensors(given, torch.clone)
            versions = [tensor._version for tensor in tensors_in(batch)]

            def evaluated() -> tuple[Evaluation, Trace]:
                with tracing(self.shadow) as trace:
                    return self.forward(attached, batch, where), trace

            first, trace = evaluated()
            if [tensor._version for tensor in tensors_in(batch)] != versions:
                raise ProblemError(
                    "the model or the loss writes into the batch it is given, so that a second "
                    "reading would see other data; begin its forward with x = x.clone(), or set "
                    "inplace=False in its first layer"
                )
            if not first.loss.requires_grad:
                raise DetachedLossError(
                    "the loss does not depend on any trainable parameter: something between them "
                    "detaches it (detach(), .data, .item(), torch.no_grad(), numpy, argmax); keep "
                    "the whole way from parameters to loss in torch operations"
                )
            refuse_running_again(self.shadow, first.loss, tuple(attached.values()))
            second, again = evaluated()
        losses = first.loss.detach(), second.loss.detach()
        refuse_difference(self.shadow, losses, (trace, again))

    @cached_property
    def shadow(self) -> nn.Module:
        """The modules that readings run: they share the owner's tensors, and nothing else."""
        return shadow_of(self.model)

    @property
    def loss_takes_target(self) -> bool:
        """Whether the loss compares the output with a target, or looks at the output alone."""
        return self._evaluator.takes_target

    @cached_property
    def _evaluator(self) -> Evaluator:
        return Evaluator(self.model, self.loss)
