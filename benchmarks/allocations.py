"""Allocations: what torch held during a call, as its profiler counts it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch


def allocated(call: Callable[[], Any]) -> tuple[int, int]:
    """Most bytes held at once during a call, and those left after it, both beyond before.

    What the call returns is held until it is over, so that it is left as well.
    """
    # What earlier calls left in cycles would otherwise be freed, and counted, in this one.
    gc.collect()
    activities = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=activities, profile_memory=True) as profile:
        result = call()
    held = most = 0
    events = [e for e in profile.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    del result
    return most, held
