"""A reading leaves no trace: the guard around everything that runs somebody's model."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from thalweg._errors import ProblemError


@contextmanager
def reading() -> Iterator[None]:
    """Runs its body with gradients on, and puts every global random state back.

    The caller may be inside `no_grad`, `inference_mode` or autocast: a reading is the same.
    Attention takes the math kernel, since the fused ones have no second derivative
    (pytorch#116350).
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    try:
        with (
            torch.random.fork_rng(devices=cuda),
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast("cpu", enabled=False),
            sdpa_kernel(SDPBackend.MATH),
        ):
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
    tensors = [*model.parameters(), *model.buffers()]
    try:
        return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    except Exception as error:
        raise ProblemError(
            f"the model {type(model).__name__} cannot be copied ({type(error).__name__}: {error}); "
            f"tensors kept as plain attributes must be leaves: register them as buffers, and use "
            f"torch.nn.utils.parametrizations.weight_norm instead of torch.nn.utils.weight_norm"
        ) from error
