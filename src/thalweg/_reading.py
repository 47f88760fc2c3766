"""A reading leaves no trace: the guard around everything that runs somebody's model."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg._batch import tensors_in
from thalweg._errors import ProblemError

DEVICE_KINDS = ("cpu", "cuda", "mps", "xpu")
"""Each has an autocast of its own."""


@contextmanager
def differentiating() -> Iterator[None]:
    """Gradients on and in full precision, whatever the caller has switched.

    Attention takes the math kernel, since the fused ones have no second derivative
    (pytorch#116350), and no inference shortcut, which treats padding otherwise. Compiled parts run
    eagerly, since torch.compile refuses double backward (pytorch#91469).
    """
    shortcut = torch.backends.mha.get_fastpath_enabled()
    with ExitStack() as stack:
        stack.callback(torch.backends.mha.set_fastpath_enabled, shortcut)
        torch.backends.mha.set_fastpath_enabled(False)
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        for kind in filter(torch.is_autocast_enabled, DEVICE_KINDS):
            stack.enter_context(torch.autocast(kind, enabled=False))
        if "torch._dynamo" in sys.modules:  # its import takes seconds
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


@contextmanager
def multiplying() -> Iterator[None]:
    """Plain tensor operations in full precision, without a graph, whatever the caller has switched.

    Lighter than `differentiating`: nothing is run here that has kernels to choose from.
    """
    with torch.inference_mode(False), torch.no_grad():
        if any(map(torch.is_autocast_enabled, DEVICE_KINDS)):
            with differentiating(), torch.no_grad():
                yield
        else:
            yield


@contextmanager
def reading() -> Iterator[None]:
    """Runs its body as `differentiating` does, and puts every global random state back.

    The caller may be inside `no_grad`, `inference_mode` or autocast: a reading is the same.
    """
    with keeping_random_states(), differentiating():
        yield


@dataclass(frozen=True)
class RandomState:
    """Every global random state, to be gone on from later."""

    python: Any
    numpy: Any
    torch: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls) -> RandomState:
        """As it is."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state(), tuple(cuda))

    def put_back(self) -> None:
        """Goes on from there: inside of `reading`, which keeps the caller's."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        if self.cuda:
            torch.cuda.set_rng_state_all(list(self.cuda))


@contextmanager
def keeping_random_states() -> Iterator[None]:
    """Puts every global random state back after its body."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices=cuda):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def unwrapped(model: nn.Module) -> nn.Module:
    """The eager, undistributed module under `torch.compile` and (Distributed)DataParallel."""
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def shadow_of(model: nn.Module) -> nn.Module:
    """A copy of the modules that shares every parameter and buffer with the original.

    Modes, hooks and Python attributes of the shadow are its own, so that a reading can set them
    without the owner noticing.

    Raises:
        ProblemError: if the model cannot be copied.
    """
    model = unwrapped(model)
    shadow = _copied(model, [*model.parameters(), *model.buffers()])
    for module in shadow.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False  # the same gradient, in a form that can be differentiated
    return shadow


def copy_of(model: nn.Module) -> nn.Module:
    """A copy of the eager, undistributed model with tensors of its own.

    Raises:
        ProblemError: if the model cannot be copied.
    """
    return _copied(unwrapped(model), ())


def _copied(model: nn.Module, shared: Iterable[Tensor]) -> nn.Module:
    memo = {id(tensor): tensor for tensor in shared}
    try:
        with torch.inference_mode(False):
            # Activations that a model keeps on itself are no leaves: deepcopy would refuse them.
            for module in model.modules():
                for tensor in tensors_in(vars(module)):
                    if not tensor.is_leaf:
                        memo.setdefault(id(tensor), tensor.detach().clone())
            return copy.deepcopy(model, memo)
    except Exception as error:
        raise ProblemError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), which a "
            f"reading needs to leave it untouched; keep what cannot be copied (locks, files, "
            f"loggers, generators) outside the module, or give it a __deepcopy__"
        ) from error
