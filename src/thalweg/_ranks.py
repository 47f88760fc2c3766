"""Processes that share the data of a problem: the only place that talks to torch.distributed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from thalweg import _errors
from thalweg._errors import RanksError, ThalwegError

T = TypeVar("T")


@dataclass(frozen=True)
class Fact:
    """Something that has to be alike on every rank.

    Args:
        what: in words, as the subject of a sentence.
        value: compared; what is large comes as its checksum.
        way_out: what to do where it differs.
    """

    what: str
    value: object
    way_out: str


@dataclass(frozen=True)
class Failure:
    """An exception in words, as one rank tells it to the others."""

    kind: str
    message: str

    def raised(self, rank: int) -> ThalwegError:
        """The same error with its rank: one of ours keeps its kind."""
        kind = getattr(_errors, self.kind, None)
        if isinstance(kind, type) and issubclass(kind, ThalwegError):
            return kind(f"rank {rank}: {self.message}")
        return RanksError(f"rank {rank}: {self.kind}: {self.message}")


class Alone:
    """One process that holds all the data: nothing to add up, nobody to agree with."""

    is_alone = True

    def gather(self, work: Callable[[], T]) -> list[T]:
        """What `work` returns on each rank; where it raises on one, every rank raises that."""
        return [work()]

    def together(self, work: Callable[[], T]) -> T:
        """What `work` returns here; where it raises on one rank, every rank raises that."""
        return work()

    def sum(
        self,
        work: Callable[[], Tensor],
        like: Tensor,  # noqa: ARG002
        alike: Tensor | None = None,  # noqa: ARG002
    ) -> Tensor:
        """The sum over ranks of what `work` returns: a tensor of the form of `like`.

        It is refused where `alike` differs between ranks.
        """
        return work()

    def agree(self, facts: Callable[[], Iterable[Fact]]) -> None:
        """Refuses facts that differ between ranks."""

    @property
    def number(self) -> int:
        """The number of this process among them."""
        return 0

    def refuse(self, what: str) -> None:
        """Refuses a reading that knows one process only."""


ALONE = Alone()


class Ranks(Alone):
    """The processes of a group of torch.distributed, each with its share of the data.

    Every method but `number` and `refuse` is called by all of them, in the same order.

    Args:
        group: the group; None for all processes.

    Raises:
        RanksError: if there is no group of processes, or this one is not in it.
    """

    is_alone = False

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RanksError(
                "across_ranks() found no group of processes; start them with torchrun and call "
                'torch.distributed.init_process_group("gloo"), or "nccl" on GPUs, before it'
            )
        self._group = group
        self._number = dist.get_rank(group)
        self.size = dist.get_world_size(group)
        if self._number < 0:
            raise RanksError(
                f"across_ranks(group): process {dist.get_rank()} is not in that group; call it "
                f"in the processes of the group only"
            )

    def __repr__(self) -> str:
        return f"Ranks({self._number} of {self.size})"

    @property
    def number(self) -> int:
        """The number of this process in the group."""
        return self._number

    def gather(self, work: Callable[[], T]) -> list[T]:
        """One collective: values and failures travel together, so that nobody waits in vain."""
        mine, error = _attempted(work)
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, mine, group=self._group)
        for rank, outcome in enumerate(found):
            if isinstance(outcome, Failure):
                raise outcome.raised(rank) from (error if rank == self._number else None)
        return found

    def together(self, work: Callable[[], T]) -> T:
        """As `gather`, but what it returns stays on its rank."""
        kept: list[T] = []
        self.gather(lambda: kept.append(work()))
        return kept[0]

    def sum(self, work: Callable[[], Tensor], like: Tensor, alike: Tensor | None = None) -> Tensor:
        """One all-reduce, and a second collective only where it brings bad news.

        Three numbers travel with the sum: how many ranks failed, Σs and Σs² of a fingerprint s of
        `alike`. What they say is the same on every rank, so that all raise, or none.
        """
        part, error = _attempted(work)
        mine = torch.zeros_like(like) if isinstance(part, Failure) else part.detach()
        # Integers that the dtype adds up exactly: R s² ≤ 2/ε. Odd, since signs are powers of two.
        modulus = isqrt(int(2 / torch.finfo(like.dtype).eps) // self.size)
        modulus -= modulus % 2 == 0
        s = 0 if alike is None or modulus < 3 else _fingerprint(alike, modulus)
        news = like.new_tensor([error is not None, s, s**2])
        total = torch.cat([mine.reshape(-1), news]).to(self._device_for(like))
        dist.all_reduce(total, group=self._group)
        num_failed, sum_s, sum_squares = map(int, total[-3:].tolist())
        if num_failed:
            self.gather(lambda: _raise(error))
        if alike is not None and self.size * sum_squares != sum_s**2:
            self.agree(lambda: facts_of_vector(alike))
        return total[:-3].to(like.device).reshape(like.shape)

    def agree(self, facts: Callable[[], Iterable[Fact]]) -> None:
        """Compares with rank 0.

        Raises:
            RanksError: names what differs, on which rank, and the way out.
        """
        first, *others = self.gather(lambda: list(facts()))
        for rank, theirs in enumerate(others, 1):
            for ours, fact in zip(first, theirs, strict=False):
                if fact != ours:
                    raise RanksError(
                        f"{ours.what} differs on rank {rank} from rank 0; {ours.way_out}"
                    )

    def refuse(self, what: str) -> None:
        """Refuses a reading that knows one process only.

        Raises:
            RanksError: always.
        """
        raise RanksError(
            f"{what} reads the data of one process, and those of this problem lie on {self.size}; "
            f"give it the problem as it was before across_ranks(), on data that one process holds"
        )

    def _device_for(self, tensor: Tensor) -> torch.device:
        """Where the group can add it up."""
        if tensor.device.type == "cpu" and dist.get_backend(self._group) == "nccl":
            return torch.device("cuda", torch.cuda.current_device())
        return tensor.device


def _attempted(work: Callable[[], T]) -> tuple[T | Failure, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        message = str(error).strip() or "no message"
        return Failure(type(error).__name__, message), error


def _raise(error: Exception | None) -> None:
    if error is not None:
        raise error


_PERIOD = 1024


def _fingerprint(tensor: Tensor, modulus: int) -> int:
    """Σ_i (1 + i mod 1024) w_i of a tensor's words, by a modulus: one pass, no copy of its size."""
    kind = torch.int32 if tensor.element_size() >= 4 else torch.int16
    words = tensor.detach().contiguous().view(kind).reshape(-1)
    whole = len(words) // _PERIOD * _PERIOD
    sums = words[:whole].reshape(-1, _PERIOD).sum(0)
    sums[: len(words) - whole] += words[whole:]
    places = torch.arange(1, _PERIOD + 1, device=sums.device)
    return int((sums % modulus * places).sum()) % modulus


def checksum(tensor: Tensor) -> int:
    """CRC-32 of a tensor's bytes."""
    data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return zlib.crc32(data.data) if data.size else 0


_SAME_MODEL = (
    "give every rank the same model: load one checkpoint, build it from one seed, or "
    "torch.distributed.broadcast it from rank 0"
)


def facts_of_tensors(tensors: Mapping[str, Tensor]) -> list[Fact]:
    """Names and values of parameters or buffers."""
    names = Fact("the list of parameter names", tuple(tensors), _SAME_MODEL)
    values = [Fact(f"{name!r}", checksum(tensor), _SAME_MODEL) for name, tensor in tensors.items()]
    return [names, *values]


def facts_of_vector(V: Tensor) -> list[Fact]:
    """The vector, or block, that an operator is about to multiply."""
    same_draws = "seed the generator alike on every rank, and let every rank take the same steps"
    return [
        Fact("the shape of what is multiplied", tuple(V.shape), same_draws),
        Fact("the vector that is multiplied", checksum(V), same_draws),
    ]
