"""`python -m benchmarks.race [--problems P1 P4] [--seeds 3] [--quick]`: RACE.md and race.json."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

from benchmarks.race.entrants import OURS, PEERS, entrants
from benchmarks.race.laps import Lap, laps
from benchmarks.race.report import HERE, write
from benchmarks.race.tasks import TASKS
from thalweg._machine import machine_of
from thalweg.race import SHELF

QUICK = 0.1
"""The share of a run's time in a quick race."""


def main() -> None:
    """Runs them all, and writes what there is after every problem."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race", description=__doc__)
    parser.add_argument("--problems", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--seeds", type=int, default=3, help="that count")
    parser.add_argument("--entrants", nargs="*", default=[OURS, *PEERS], choices=list(SHELF))
    parser.add_argument("--quick", action="store_true", help="a tenth of the time, two settings")
    parser.add_argument("--share", type=float, default=None, help="of the usual time of a run")
    parser.add_argument("--out", default=HERE, help="the folder of RACE.md and race.json")
    arguments = parser.parse_args()
    Path(arguments.out).mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    start = time.perf_counter()

    def tell(what: str) -> None:
        print(f"{time.perf_counter() - start:7.0f} s  {what}", flush=True)

    racing = entrants(arguments.entrants, arguments.quick)
    share = arguments.share or (QUICK if arguments.quick else 1.0)
    machine = machine_of(torch.zeros(1))
    found: list[Lap] = []
    for name in arguments.problems:
        found += laps(TASKS[name], racing, range(arguments.seeds), share, tell)
        write(found, machine, arguments.quick, Path(arguments.out))
    tell(f"{Path(arguments.out) / 'RACE.md'}")


if __name__ == "__main__":
    main()
