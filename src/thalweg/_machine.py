"""Where numbers were computed, in words."""

from __future__ import annotations

import platform

import torch
from torch import Tensor


def machine_of(tensor: Tensor) -> str:
    """Versions, the device and dtype of a tensor, and threads."""
    dtype = str(tensor.dtype).removeprefix("torch.")
    return (
        f"torch {torch.__version__}, Python {platform.python_version()}, {tensor.device}, "
        f"{dtype}, {torch.get_num_threads()} threads"
    )
