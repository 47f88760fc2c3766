"""Two processes that train one watched model in DistributedDataParallel.

Run by test_monitor_ranks.py.
"""

import math
import sys
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.nn.functional as F
from loops import batches, network, sgd, step
from torch import nn

from thalweg import Monitor, monitor

SIZE = 2


class Kept:
    def __init__(self):
        self.steps = []

    def log(self, step, values):
        self.steps.append(step)


def train(rank, given, is_watched=True, first_seen=0, **how):
    """What a rank has at the end: its half of each batch, whole gradients."""
    model, kept = network(), Kept()
    wrapped = nn.parallel.DistributedDataParallel(model)
    optimizer = sgd(model)
    part = slice(12 * rank, 12 * (rank + 1))
    watch = None
    if is_watched:
        watch = Monitor(wrapped, F.cross_entropy, optimizer, loggers=[kept], **how)
    for at, (x, y) in enumerate(given):
        if watch and at >= first_seen:
            watch.see((x[part], y[part]))
        step(wrapped, optimizer, (x[part], y[part]))
    if watch:
        watch.close()
    params = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    records = [(r.step, dict(r.values)) for r in watch.history] if watch else []
    return {
        "params": params,
        "records": records,
        "logged": kept.steps,
        "alerts": [str(alert) for alert in watch.alerts] if watch else [],
        "notes": list(watch.notes) if watch else [],
    }


def nan_on_the_last(given):
    """One rank's half of the second batch is NaN."""
    x = given[1][0].clone()
    x[12:] = math.nan
    return [given[0], (x, given[1][1]), *given[2:]]


def work(rank, folder):
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/store", rank=rank, world_size=SIZE,
        timeout=timedelta(seconds=60),
    )  # fmt: skip
    given = batches(4)
    every = {"every": 1, "overhead": math.inf}
    found = {
        "plain": train(rank, given, is_watched=False),
        "all": train(rank, given, instruments=monitor.full(), **every),
        # Planned by the clock, on which the ranks have to agree.
        "by the clock": train(rank, given * 60, instruments=monitor.full(), every=2, overhead=0.5),
        "nan, all": train(rank, nan_on_the_last(given), instruments=monitor.full(), **every),
        # One rank alone has seen no batch at the first step.
        "late": train(rank, given, first_seen=rank, instruments=monitor.full(), **every),
        "nan": train(rank, nan_on_the_last(given), instruments=monitor.cheap(), **every),
    }
    torch.save(found, f"{folder}/{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.multiprocessing.start_processes(work, (sys.argv[1],), nprocs=SIZE, start_method="fork")
