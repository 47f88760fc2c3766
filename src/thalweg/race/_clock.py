"""Clock: the seconds of a run, without what is done meanwhile for those who look on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter, process_time

import torch


class Clock:
    """Counts wall seconds and the processor's seconds, from its making on, but for pauses.

    Args:
        device: whose queued work belongs to the time; it is waited for before a pause.
        is_of_processor: whether `seconds` are the processor's, which other work on the machine
            leaves nearly alone.
    """

    def __init__(self, device: torch.device, *, is_of_processor: bool = False) -> None:
        self._device = device
        self._is_of_processor = is_of_processor
        self._wall, self._processor = perf_counter(), process_time()
        self._is_paused = False
        self._read = (0.0, 0.0)

    @property
    def seconds(self) -> float:
        """Wall time, unless it is of the processor."""
        return self._now()[1 if self._is_of_processor else 0]

    @property
    def processor_seconds(self) -> float:
        """Time of all threads of this process."""
        return self._now()[1]

    def _now(self) -> tuple[float, float]:
        if self._is_paused:
            return self._read
        return perf_counter() - self._wall, process_time() - self._processor

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Its body takes no time."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._read, self._is_paused = self._now(), True
        try:
            yield
        finally:
            wall, processor = self._read
            self._wall, self._processor = perf_counter() - wall, process_time() - processor
            self._is_paused = False
