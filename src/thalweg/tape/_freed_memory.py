"""Memory that a product frees stays with the process, for the next product to use."""

from functools import cache

import torch

# glibc raises its thresholds to what was last freed, up to 32 MiB.
_MOST_BYTES = 31 * 2**20


@cache
def keep_freed_memory() -> None:
    """Lets the allocator keep what is freed, up to 62 MiB, as it does once a large tensor is freed.

    A tape allocates and frees a few large tensors for every operation. Until then glibc gives each
    back to the system, and the next product meets its pages as new ones, to be zeroed: half of the
    time of a product of ten vectors. Nothing is written here, so that it costs microseconds; other
    allocators do not mind.
    """
    torch.empty(_MOST_BYTES, dtype=torch.uint8, device="cpu")
