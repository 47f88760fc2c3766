"""The Hessian of a network whose data lie on many processes, on one machine or on several.

    torchrun --nproc-per-node 2 examples/spectrum_on_many_machines.py

On each of four machines with eight GPUs:

    torchrun --nnodes 4 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint FIRST_MACHINE:29500 \
        examples/spectrum_on_many_machines.py
"""

import os

import torch
import torch.distributed as dist
from torch import nn

import thalweg


def main() -> None:
    """Reads the spectrum on all ranks together, and prints it on the first."""
    on_gpus = torch.cuda.is_available()
    dist.init_process_group("nccl" if on_gpus else "gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if on_gpus else "cpu"
    if on_gpus:
        torch.cuda.set_device(device)

    # One model on every rank, from one seed; or load one checkpoint. Wrapped models are welcome.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10)).double().to(device)

    # Every rank takes its share, as uneven as it comes. (A DistributedSampler would repeat samples
    # to make shares even, and count them twice.)
    x, y = thalweg.problems.relu_digits().batches[0]
    batches = list(zip(x.double().split(256), y.split(256), strict=True))
    mine = [(x.to(device), y.to(device)) for x, y in batches[rank::size]]

    problem = thalweg.Problem(model, nn.functional.cross_entropy, mine).across_ranks()
    point = thalweg.Surface(problem).here()
    H = point.hessian()
    # Every rank makes the same calls with generators of one seed, and gets the same numbers.
    generator = torch.Generator().manual_seed(0)
    top = thalweg.eigenpairs(H, k=3, generator=generator)
    estimate = thalweg.trace(H, num_products=40, generator=generator)
    spectrum = thalweg.density(H, num_probes=2, num_steps=20, generator=generator)

    if rank == 0:
        print(f"loss {point.value:.10f}")
        print("largest eigenvalues", *(f"{value:.8f}" for value in top.values.tolist()))
        print(f"trace {estimate.value:.8f} ± {estimate.stderr:.2g}")
        negative = spectrum.mass(-torch.inf, -1e-6)
        print(f"share of negative eigenvalues {negative.low:.4f} to {negative.high:.4f}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
