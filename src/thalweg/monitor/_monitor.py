"""Monitor: the same readings inside somebody else's training loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from thalweg._batch import Batch
from thalweg._errors import NonFiniteError, ThalwegError
from thalweg._problem import Problem
from thalweg._ranks import ALONE, Ranks
from thalweg._reading import keeping_random_states, unwrapped
from thalweg._sharded import is_sharded
from thalweg.monitor._instrument import Instrument, Instruments
from thalweg.monitor._logger import Logger
from thalweg.monitor._moment import Moment, norms
from thalweg.monitor._plan import Plan
from thalweg.monitor._reader import Reader
from thalweg.monitor._record import Alert, Cost, Record
from thalweg.monitor._rules import Watch
from thalweg.monitor._sets import ordinary
from thalweg.monitor._witness import Witness
from thalweg.report import Page, Paged

_told = logging.getLogger("thalweg.monitor")

MOST_FAILURES = 2
"""So often an instrument may fail before it is left out."""


class Monitor(Paged):
    """Reads a training while it runs, and tells in a sentence what goes wrong.

    It looks on from the optimizer's own hooks: it needs no line in the loop but one, `see(batch)`,
    for what is read of the loss, and none where the model returns its loss or the loss is a module
    that the loop calls. It never changes parameters, buffers, gradients, modes or random states, so
    that a training with it is the same to the bit, and nothing that fails in it, or in a logger,
    stops the training. Steps are the optimizer's: with accumulated gradients one for all its
    microbatches; one that a GradScaler skips is none.

    Under DistributedDataParallel every rank makes a monitor. Curvature (sharpness, spectrum, and
    what stands on them) is that of the data of all ranks together, each of which gives its share:
    a sum of n numbers over the ranks for each product. Other numbers are read on each rank's own
    share and averaged over the ranks; all are kept on all ranks, and logged by rank 0 alone.

    Args:
        model: that is trained; compiled and distributed wrappers are looked through.
        loss: `loss(output, target)`, or None where the model returns it as `output.loss`.
        optimizer: that trains it.
        instruments: `monitor.cheap()`, `monitor.ordinary()`, `monitor.full()`, or
            `monitor.without_products()` for large networks; ordinary where none is given.
        every: the fewest steps between two readings.
        overhead: the share of the training's time that it may take, by default that of the
            instruments: 2 %, or 10 % for the full set. Dear instruments wait until they can be
            paid; `math.inf` reads everything at every `every`-th step.
        data: what curvature is read on: a batch, a list of them, or a DataLoader; the first batch
            that is seen where there is none.
        loggers: objects with `log(step, values)`: `JSONL`, `TensorBoard`, `WandB`, `MLflow`, or
            your own.
        scaler: the GradScaler in use, where gradients are clipped as well: without it their norms
            before clipping cannot be known.

    Raises:
        ThalwegError: if `every` or `overhead` is out of range, the parameters are sharded, or the
            optimizer trains none of the model's.

    Example:
        >>> import torch, thalweg
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator ...>
        >>> model, loss = torch.nn.Linear(2, 1), torch.nn.functional.mse_loss
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> x, y = torch.randn(8, 2), torch.randn(8, 1)
        >>> with thalweg.Monitor(model, loss, optimizer) as monitor:
        ...     for _ in range(20):
        ...         monitor.see((x, y))
        ...         optimizer.zero_grad()
        ...         loss(model(x), y).backward()
        ...         optimizer.step()
        >>> monitor.history[0].step, sorted(monitor.history[0].values)[-2:]
        (1, ['update_ratio', 'update_ratio/model'])

    Cost: a few microseconds a step; readings are held to `overhead`, and told by `cost`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[..., Tensor] | None,
        optimizer: torch.optim.Optimizer,
        *,
        instruments: Instruments | None = None,
        every: int = 16,
        overhead: float | None = None,
        data: Any = None,
        loggers: Iterable[Logger] = (),
        scaler: Any = None,
    ) -> None:
        instruments = ordinary() if instruments is None else instruments
        overhead = instruments.overhead if overhead is None else overhead
        if every < 1 or not overhead > 0:
            raise ThalwegError(
                f"Monitor(every={every}, overhead={overhead}): give a whole number of steps from 1 "
                f"on, and a share of the time above 0, such as 0.02"
            )
        self._given, self._model = model, unwrapped(model)
        if is_sharded(self._model):
            raise ThalwegError(
                "the parameters of the model are sharded over processes (FSDP2, DTensor), and a "
                "monitor reads whole ones; train with DistributedDataParallel, or read "
                "Problem(...).across_ranks() between steps"
            )
        self._optimizer = bare(optimizer)
        owned = {id(p) for group in self._optimizer.param_groups for p in group["params"]}
        self._parameters = {n: p for n, p in self._model.named_parameters() if id(p) in owned}
        if not self._parameters:
            raise ThalwegError(
                "the optimizer trains no parameter of the model; make it from model.parameters(), "
                "after the model was moved, wrapped or copied"
            )
        Problem(self._model, loss, data)  # which refuses what is no loss
        self._loss, self._scaler = loss, scaler
        self._num_ranks = self._count_ranks(model)
        self._ranks = Ranks() if self._num_ranks > 1 else ALONE
        self._reader = Reader(self._model, loss, self._parameters, data, self._ranks)
        self._plan = Plan(instruments.members, every, overhead)
        self._watch, self._loggers = Watch(), list(loggers)
        self._failures: dict[str, int] = {}
        self._unread: set[str] = set()
        self._records: list[Record] = []
        self._alerts: list[Alert] = []
        self._notes: list[str] = []
        self._step, self._num_gradients, self._seconds = 0, 0.0, 0.0
        self._start: float | None = None
        self._end: float | None = None
        self._next, self._due, self._glance_at, self._wake_at = 1, self._plan.first(), 0, 0
        self._batch: Batch = None
        self._witness: Witness | None = None
        self._idle = self._idle_seconds()
        self._standing = self._optimizer.register_step_post_hook(self._after_step)
        self._arm()

    # -- what the loop says -----------------------------------------------------------------

    def see(self, batch: Batch, value: Tensor | float | None = None) -> None:
        """Shows the batch of a step, any time before the optimizer's step.

        Args:
            batch: as a `Problem` takes it: `(input, target)`, a dict, or a tensor.
            value: the loss that the loop computed from it, where that is more than
                `loss(output, target)`, or where the loss is not to be worked out again.
        """
        self._batch = batch
        if value is not None and self._witness is not None:
            self._witness.show(value)

    def close(self) -> None:
        """Takes all hooks off; leaving a `with` block does that."""
        self._dismiss()
        self._standing.remove()
        self._batch = None
        self._end = self._end or perf_counter()

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- what it found ----------------------------------------------------------------------

    @property
    def history(self) -> tuple[Record, ...]:
        """All readings, in order."""
        return tuple(self._records)

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """What went wrong, each once, in order."""
        return tuple(self._alerts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read, or was read otherwise than in the training, and why."""
        return (*self._notes, *self._reader.notes)

    @property
    def cost(self) -> Cost:
        """What it has cost up to now."""
        seconds = self._seconds + self._idle * self._step
        now = self._end or perf_counter()
        elapsed = 0.0 if self._start is None else now - self._start
        training = max(elapsed - seconds, 0.0)
        return Cost(seconds, training, self._num_gradients, self._step, len(self._records))

    def page(self) -> Page:
        """The page of the training: alerts, loss, gradients by layer, sharpness against limit."""
        from thalweg.monitor._page import page_of

        return page_of(self.history, self.alerts, self.cost, self.notes)

    # -- one step ---------------------------------------------------------------------------

    def _after_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if self._witness is not None and _is_skipped(optimizer):
            return
        self._step = step = self._step + 1
        if step < self._wake_at:
            return
        start = perf_counter()
        if self._start is None:
            self._start = start
        try:
            if step in (self._glance_at, self._next):
                self._look(start)
            self._arm()
        except Exception as error:
            self._note(f"the monitor stopped at step {step}: {_said(error)}")
            self.close()
        finally:
            self._seconds += perf_counter() - start

    def _arm(self) -> None:
        """Has the next step seen, if it is to be read."""
        self._dismiss()
        upcoming = [at for at in (self._glance_at, self._next) if at > self._step]
        self._wake_at = min(upcoming) - 1
        if self._wake_at > self._step:
            return
        self._wake_at = self._step + 1
        self._witness = Witness(
            self._given,
            self._model,
            self._loss,
            self._optimizer,
            self._parameters,
            self._due_at(self._step + 1),
            has_tap=self._num_ranks == 1,
            spend=self._spend,
        )

    def _dismiss(self) -> None:
        if self._witness is not None:
            self._witness.dismiss()
        self._witness = None

    def _spend(self, seconds: float) -> None:
        self._seconds += seconds

    def _due_at(self, step: int) -> list[Instrument]:
        """What is read at a step: before the one that counts, what compares two of them."""
        return self._due if step == self._next else [m for m in self._due if m.is_paired]

    def _look(self, start: float) -> None:
        """Reads what is due; at a step that counts, keeps it and plans the next one."""
        assert self._witness is not None
        self._witness.dismiss()  # readings run copies of the model, which have its hooks
        with keeping_random_states(), torch.no_grad():
            first = next(self._model.parameters())
            if first.device.type == "cuda":
                torch.cuda.synchronize(first.device)  # the training's own work is not the monitor's
                start = perf_counter()
            values, seconds, gradients = self._numbers()
        self._num_gradients += gradients
        if self._step != self._next:
            return
        assert self._start is not None
        training = max(start - self._start - self._seconds, 0.0)
        spent = self._seconds + perf_counter() - start
        told = self._over_ranks(
            {"values": values, "seconds": seconds, "training": training, "spent": spent}
        )
        took = perf_counter() - start
        self._keep(Record(self._step, told["values"], tuple(told["seconds"]), took, gradients))
        self._plan.learn(told["seconds"])
        self._next, self._due = self._plan.next(self._step, told["training"], told["spent"])
        has_pair = any(member.is_paired for member in self._due)
        self._glance_at = self._next - 1 if has_pair else 0

    def _numbers(self) -> tuple[dict[str, float], dict[str, float], float]:
        values: dict[str, float] = {}
        seconds: dict[str, float] = {}
        try:
            # Where one rank cannot read, none does: curvature is read by all of them together.
            moment = self._ranks.together(self._moment)
        except Exception as error:
            self._note(f"step {self._step} could not be read: {_said(error)}")
            return values, seconds, 0.0
        for member in self._due_at(self._step):
            start = perf_counter()
            if self._failures.get(member.name, 0) < MOST_FAILURES:
                values |= self._read(member, moment)
            seconds[member.name] = perf_counter() - start
        return values, seconds, moment.num_gradients

    def _read(self, member: Instrument, moment: Moment) -> dict[str, float]:
        """What an instrument says; nothing where it fails."""
        try:
            return {name: float(value) for name, value in member.read(moment).items()}
        except NonFiniteError as error:
            if member.name not in self._unread:
                self._note(f"{member.name} could not be read at step {self._step}: {error}")
            self._unread.add(member.name)
        except Exception as error:
            self._failures[member.name] = self._failures.get(member.name, 0) + 1
            is_left = self._failures[member.name] >= MOST_FAILURES
            self._note(f"{member.name} {'is left out' if is_left else 'failed'}: {_said(error)}")
        return {}

    def _moment(self) -> Moment:
        seen = self._witness
        assert seen is not None
        batch = seen.call if self._batch is None else self._batch
        if batch is not None:
            self._reader.see(batch)
        is_glance = self._step != self._next
        gradients = seen.gradients
        given = norms(gradients)
        return Moment(
            step=self._step,
            model=self._model,
            optimizer=self._optimizer,
            parameters=self._parameters,
            gradients=gradients,
            before=seen.before,
            value=None if is_glance else self._value(seen, batch),
            batch=batch,
            reader=self._reader,
            is_glance=is_glance,
            gradient_norms=given,
            unclipped=seen.unclipped(given, self._scaler),
        )

    def _value(self, seen: Witness, batch: Batch) -> float | None:
        """The loss: as it was seen, or of the output that the model gave."""
        if seen.value is not None or seen.output is None:
            return seen.value
        if batch is None and self._loss is not None:
            self._note(
                "no batch was seen, so that nothing is known of the loss: call monitor.see(batch) "
                "before optimizer.step()"
            )
            return None
        try:
            return self._reader.loss_of(seen.output, batch)
        except Exception as error:
            self._note(
                f"the loss cannot be worked out from the model's output: {_said(error)}; show it: "
                f"monitor.see(batch, value)"
            )
            return None

    def _over_ranks(self, told: dict[str, Any]) -> dict[str, Any]:
        """Numbers averaged over the ranks, so that all of them plan alike."""
        if self._num_ranks == 1:
            return told
        everyone: list[Any] = [None] * self._num_ranks
        dist.all_gather_object(everyone, told)
        return {key: _mean([one[key] for one in everyone]) for key in told}

    def _keep(self, record: Record) -> None:
        self._records.append(record)
        # Rules look at the beginning and at what is recent.
        seen = self._records
        seen = seen if len(seen) <= 64 else [*seen[:16], *seen[-48:]]
        new = self._watch.alerts(seen)
        self._alerts += new
        if self._num_ranks > 1 and dist.get_rank() != 0:
            return
        for alert in new:
            _told.warning("%s", alert)
        for logger in list(self._loggers):
            try:
                logger.log(record.step, record.values)
            except Exception as error:
                self._loggers.remove(logger)
                self._note(
                    f"{type(logger).__name__} failed at step {record.step} and is left out: "
                    f"{_said(error)}"
                )

    def _count_ranks(self, model: nn.Module) -> int:
        is_parallel = isinstance(model, nn.parallel.DistributedDataParallel)
        return dist.get_world_size() if is_parallel and dist.is_initialized() else 1

    def _idle_seconds(self) -> float:
        """What the standing hook costs at a step that is not read."""
        self._wake_at, times = 10**9, 200
        start = perf_counter()
        for _ in range(times):
            self._after_step(self._optimizer)
        took = perf_counter() - start
        self._step = 0
        return took / times

    def _note(self, sentence: str) -> None:
        if sentence not in self._notes:
            self._notes.append(sentence)
            _told.info("%s", sentence)


def bare(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer inside of a trainer's wrapper."""
    while isinstance(inner := getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = inner
    return optimizer


def _is_skipped(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a fused optimizer was told by a GradScaler to leave the parameters alone."""
    found = getattr(optimizer, "found_inf", None)
    return found is not None and bool(found)


def _mean(found: Sequence[Any]) -> Any:
    """Numbers, or dicts of numbers, averaged; what one has alone is kept."""
    if isinstance(found[0], Mapping):
        names = dict.fromkeys(name for one in found for name in one)
        return {name: _mean([one[name] for one in found if name in one]) for name in names}
    return sum(found) / len(found)


def _said(error: Exception) -> str:
    if isinstance(error, ThalwegError):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {lines[0]}' if lines else ''}"
