"""Memory that a product frees stays with the process, for the next product to use."""

import ctypes
import os
import sys
from functools import cache

# glibc's own rule ends at 32 and 64 MiB; the tape of a small network takes more than that.
_MAP_THRESHOLD, _TRIM_THRESHOLD = 2**25, 2**28
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@cache
def keep_freed_memory() -> bool:
    """Lets glibc's allocator keep what is freed, up to 256 MiB.

    A tape allocates and frees a few large tensors for every operation. glibc gives large ones, and
    many at once, back to the system, and the next product or reading meets its pages as new ones,
    to be zeroed: a third of its time. Whoever set glibc's thresholds by the environment keeps them
    (MALLOC_TRIM_THRESHOLD_=..., in bytes), and other allocators do not mind.

    Returns:
        Whether it was told.
    """
    by_environment = [
        name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"
    ]
    if not sys.platform.startswith("linux") or by_environment:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    told = mallopt(_M_MMAP_THRESHOLD, _MAP_THRESHOLD), mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
    return all(told)
