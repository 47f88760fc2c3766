"""What every rank does: run as a program, it forks 1, 2 and 3 ranks and keeps what each finds.

    python workers.py FOLDER

One program, so that torch is imported once. Each rank saves {name: outcome} as SIZE-RANK.pt; an
outcome is what a check returned, or (kind, message) of the error that it raised.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

sys.path.insert(0, str(Path(__file__).parent.parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "optim"))

from optimizers import OPTIMIZERS

from problems import SHELF, cut, draw, initialised, mlp_model
from readings import READINGS
from thalweg import (
    Pass,
    Problem,
    Surface,
    ThalwegError,
    critical_point,
    density,
    eigenpairs,
    examine,
    trace,
)
from thalweg.optim import KFAC, Krylov, TrustRegion
from thalweg.surface import RebuiltGraph, RetainedGraph, _point, sample_estimate

SIZES = (1, 2, 3)

SHARES = {
    1: [(5, 2)],
    2: [(3, 2), (2,)],
    3: [(2, 1), (1,), (3,)],
}
"""The batches of each rank, in samples."""

WITH_AN_EMPTY_ONE = {1: [(7,)], 2: [(), (7,)], 3: [(2, 1, 1), (), (3,)]}

NAMES = ("mlp", "opaque", "opaque_sum", "known_sum", "weighted", "padded", "frozen", "next_token")
"""Mean, sum, class weights, padding, frozen parameters, and a model with a loss of its own."""

OF_ALL = ("value and gradient", "hessian", "fisher", "empirical fisher")
OF_SOME = ("ggn", "jacobian", "blocks", "microbatches")
OF_FEW = ("eigenpairs", "trace", "density", "landscape")
SOME = ("mlp", "opaque_sum", "next_token")
FEW = ("mlp", "next_token")
OF_EMPTY = ("value and gradient", "hessian", "landscape")
EMPTY = ("opaque", "weighted", "next_token")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def compared() -> list[tuple[str, str]]:
    pairs = [
        *((name, reading) for name in NAMES for reading in OF_ALL),
        *((name, reading) for name in SOME for reading in OF_SOME),
        *((name, reading) for name in FEW for reading in OF_FEW),
    ]
    return [(n, reading) for n, reading in pairs if reading != "fisher" or SHELF[n]().likelihood]


def compared_with_an_empty_share() -> list[tuple[str, str]]:
    return [(name, reading) for name in EMPTY for reading in OF_EMPTY]


def share(problem: Problem, shares=SHARES) -> Problem:
    """The part of a problem of seven samples that is this rank's."""
    sizes = shares[dist.get_world_size()]
    batches = cut(problem.data, *(size for of_rank in sizes for size in of_rank))
    before = sum(len(of_rank) for of_rank in sizes[: dist.get_rank()])
    own = batches[before : before + len(sizes[dist.get_rank()])]
    return replace(problem, data=own).across_ranks()


def card(problem: Problem) -> Tensor:
    """The critical-point card in numbers, by the dense way and by Lanczos."""
    point = Surface(problem).here()
    dense = critical_point(point, lr=0.1)
    sparse = critical_point(point, lr=0.1, dense_up_to=0, num_probes=2, num_steps=5)
    numbers = [
        number
        for c in (dense, sparse)
        for number in (c.value, c.gradient_norm, c.sharpness, c.lowest, c.flatness, c.distance)
    ]
    return torch.tensor(numbers, dtype=torch.float64)


# -- what ranks are counted and refused for ---------------------------------------------------


class Collectives(TorchDispatchMode):
    """Which collectives run, by torch's own names, with the sizes of what they carry."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "c10d":
            tensors = args[0] if isinstance(args[0], list) else [args[0]]
            size = tensors[0].numel() if isinstance(tensors[0], Tensor) else 0
            self.seen.append((func._opname, size))
        return func(*args, **(kwargs or {}))


def collectives() -> list[list[tuple[str, int]]]:
    """Of products after the first: a vector, a block of three, Jᵀu, JᵀJ v, and J v."""
    point = Surface(share(SHELF["mlp"]().problem)).here()
    H, J = point.hessian(), point.jacobian()
    v, V = draw(26), draw(26, 3)
    G, u = J.gram(), torch.ones(J.shape[0], dtype=torch.float64)
    counted = []
    for product in (lambda: H @ v, lambda: H @ V, lambda: J.T @ u, lambda: G @ v, lambda: J @ v):
        product()
        with Collectives() as seen:
            product()
        counted.append(seen.seen)
    return counted


def rows() -> tuple[Tensor, Tensor]:
    """J v and J itself: the rows of the rank."""
    J = Surface(share(SHELF["mlp"]().problem)).here().jacobian()
    return torch.cat([(J @ draw(26))[:, None], J.to_dense(), J.T.to_dense().T], 1)


def other_draws() -> None:
    H = Surface(share(SHELF["mlp"]().problem)).here().hessian()
    trace(H, num_products=9, generator=seeded(dist.get_rank()))


def other_draws_later() -> None:
    """In float32, after a first product that was the same everywhere."""
    problem = share(SHELF["mlp"]().problem).to(dtype=torch.float32)
    H = Surface(problem).here().hessian()
    H @ draw(26).float()
    trace(H, num_products=9, generator=seeded(dist.get_rank()))


def other_signs() -> None:
    """Vectors of ±1 that differ in one sign on the last rank."""
    H = Surface(share(SHELF["mlp"]().problem)).here().hessian()
    v = torch.ones(26, dtype=torch.float64)
    H @ v
    if dist.get_rank() == dist.get_world_size() - 1:
        v[17] = -1
    H @ v


def other_parameters() -> None:
    problem = share(SHELF["mlp"]().problem)
    if dist.get_rank() == 1:
        with torch.no_grad():
            problem.model[2].bias[0] += 1e-12
    Surface(problem)


def other_places() -> None:
    surface = Surface(share(SHELF["mlp"]().problem))
    surface.at(surface.here().vector + 1e-12 * (dist.get_rank() == 1)).gradient  # noqa: B018


def other_training() -> None:
    """The model is trained on, between two operators of one surface, otherwise on rank 1."""
    problem = share(SHELF["mlp"]().problem)
    surface = Surface(problem)
    surface.here().hessian()
    with torch.no_grad():
        problem.model[0].bias[1] += 1.0 + dist.get_rank()
    surface.here().hessian()


def other_names() -> None:
    globs = "0.*" if dist.get_rank() == 1 else "*"
    Surface(share(SHELF["mlp"]().problem), globs)


def other_statistics() -> None:
    problem = share(SHELF["batch_norm"]().problem)
    if dist.get_rank() == 1:
        problem.model[1].running_mean += 1e-9
    Surface(problem).here().value  # noqa: B018


def other_routes() -> None:
    point = Surface(share(SHELF["mlp"]().problem)).here()
    point.hessian(RebuiltGraph() if dist.get_rank() == 1 else RetainedGraph()) @ draw(26)


def nan_on_the_last() -> None:
    problem = share(SHELF["mlp"]().problem)
    if dist.get_rank() == dist.get_world_size() - 1:
        x, y = problem.batches[-1]
        problem = problem.with_data([(x * torch.nan, y)])
    Surface(problem).here().value  # noqa: B018


def failing_in_a_product() -> None:
    """On the last rank the loss fails once products have begun."""
    counted = []
    is_last = dist.get_rank() == dist.get_world_size() - 1

    def loss(z: Tensor, y: Tensor) -> Tensor:
        if is_last and counted:
            raise OSError("the disk is full")
        return F.mse_loss(z, y)

    problem = replace(SHELF["mlp"]().problem, loss=loss, num_terms=lambda b: float(b[1].numel()))
    H = Surface(share(problem)).here().hessian(RebuiltGraph())
    H @ draw(26)
    counted.append(1)
    H @ draw(26)


def no_second_derivative() -> None:
    """Of the last rank's own loss."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z.clone()

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g

    is_last = dist.get_rank() == dist.get_world_size() - 1
    problem = replace(
        SHELF["mlp"]().problem,
        loss=lambda z, y: F.mse_loss(Once.apply(z) if is_last else z, y),
        num_terms=lambda batch: float(batch[1].numel()),
    )
    Surface(share(problem)).here().hessian() @ draw(26)


def jacobian_with_an_empty_rank() -> None:
    Surface(share(SHELF["mlp"]().problem, WITH_AN_EMPTY_ONE)).here().jacobian()


def no_data_at_all() -> None:
    nothing = replace(SHELF["mlp"]().problem, data=[])
    Surface(nothing.across_ranks()).here().value  # noqa: B018


def an_unknown_mean() -> None:
    """Neither a mean over samples nor a sum: the batches of ranks cannot be joined."""
    problem = replace(SHELF["mlp"]().problem, loss=lambda z, y: (z - y).pow(4).sum().sqrt())
    Surface(share(problem)).here().value  # noqa: B018


def of_outputs() -> None:
    Surface(share(SHELF["mlp"]().problem)).here().jacobian().T.gram()


ONE_PROCESS: dict[str, Callable[[Problem], object]] = {
    "subsampled": lambda p: p.subsampled(1, seeded()),
    "sample_estimate": lambda p: sample_estimate(
        p, lambda part: 0.0, num_samples=16, generator=seeded()
    ),
    "Pass.of": Pass.of,
    "examine": lambda p: examine(p, budget="100g"),
    "with_frozen_statistics": lambda p: p.with_frozen_statistics(),
}


# -- wrapped models, groups, routes -----------------------------------------------------------


def data_parallel() -> Tensor:
    """The reading of a model in DistributedDataParallel, which then trains on as before."""
    known = SHELF["mlp"]().problem
    wrapped = nn.parallel.DistributedDataParallel(known.model)
    return READINGS["hessian"](share(replace(known, model=wrapped)), seeded())


def sharded() -> tuple[Tensor, str]:
    """The reading of a model under fully_shard, which keeps its shards, hooks and classes."""
    from torch.distributed.fsdp import fully_shard

    model = initialised(mlp_model())
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    problem = replace(SHELF["mlp"]().problem, model=model)
    try:
        Surface(problem)
        refusal = ""
    except ThalwegError as error:
        refusal = str(error)
    found = READINGS["hessian"](share(problem), seeded())
    again = model(draw(2, 3)).sum()  # sharded as before, and trainable
    again.backward()
    model[0].reshard()
    assert type(model[0]).__name__ == "FSDPLinear"
    assert type(model[0].weight).__name__ == "DTensor"
    assert model[0].weight.grad.full_tensor().norm() > 0
    return found, refusal


def of_a_group() -> Tensor:
    """The first and the last rank share the data; the one between is not asked."""
    size, rank = dist.get_world_size(), dist.get_rank()
    members = sorted({0, size - 1})
    group = dist.new_group(members)
    problem = SHELF["mlp"]().problem
    if rank not in members:
        problem.across_ranks(group)
    parts = cut(problem.data, 5, 2) if size > 1 else [problem.data]
    part = parts[members.index(rank)]
    return READINGS["hessian"](problem.with_data([part]).across_ranks(group), seeded())


def probed() -> list[tuple[str, float]]:
    """Routes that a probe chose, with what it measured: one choice for all ranks."""
    least, _point.MIN_PROBED_BYTES = _point.MIN_PROBED_BYTES, 0
    try:
        point = Surface(share(SHELF["mlp"]().problem, WITH_AN_EMPTY_ONE)).here()
        operators = point.hessian(), point.ggn()
        return [(op.route.said, op.route.ratio) for op in operators]
    finally:
        _point.MIN_PROBED_BYTES = least


# -- optimizers -------------------------------------------------------------------------------

DESCENTS = [
    *((name, "mlp") for name in OPTIMIZERS),
    ("trust region", "next_token"),
    ("Adam", "next_token"),
    ("dense saddle-free", "opaque_sum"),
    ("trust region in K-FAC", "mlp"),
    ("trust region in K-FAC", "softmax"),
]


def descent(name: str, problem: Problem) -> Tensor:
    """The parameters and the losses of two steps."""
    model = problem.model
    if name == "trust region in K-FAC":
        # Inverse roots enlarge the rounding of sums by 1/ε in each factor.
        metric = KFAC(model, damping=1e-2)
        optimizer = TrustRegion(model.parameters(), metric=metric, subspace=Krylov(5))
    else:
        optimizer = OPTIMIZERS[name](model.parameters())
    losses = [optimizer.bind(problem).step() for _ in range(2)]
    params = [p.detach().reshape(-1) for p in problem.model.parameters()]
    return torch.cat([torch.stack(losses), *params]).double()


def data_parallel_descent() -> Tensor:
    """Of a model in DistributedDataParallel."""
    known = SHELF["mlp"]().problem
    wrapped = nn.parallel.DistributedDataParallel(known.model)
    return descent("trust region", share(replace(known, model=wrapped)))


def failing_in_an_attempt() -> tuple[Tensor, str]:
    """On the last rank the loss fails where the step leads: no rank moves."""
    problem = SHELF["mlp"]().problem
    is_last = dist.get_rank() == dist.get_world_size() - 1
    start = problem.model[0].weight.detach().clone()

    def loss(z: Tensor, y: Tensor) -> Tensor:
        if is_last and not torch.equal(problem.model[0].weight, start):
            raise OSError("the disk is full")
        return F.mse_loss(z, y)

    shared = share(replace(problem, loss=loss, num_terms=lambda batch: float(batch[1].numel())))
    try:
        descent("trust region", shared)
        said = ""
    except ThalwegError as error:
        said = str(error)
    return problem.model[0].weight.detach() - start, said


def agreeing_to_the_bit() -> Tensor:
    """What ranks decide by: every number of the Krylov methods."""
    H = Surface(share(SHELF["mlp"]().problem)).here().hessian()
    pairs = eigenpairs(H, k=3, generator=seeded())
    spectrum = density(H, num_probes=2, num_steps=6, generator=seeded())
    return torch.cat([pairs.vectors.reshape(-1), pairs.values, pairs.residuals, spectrum.density])


CHECKS: dict[str, Callable[[], object]] = {
    check.__name__: check
    for check in (
        collectives,
        rows,
        other_draws,
        other_draws_later,
        other_signs,
        other_parameters,
        other_places,
        other_training,
        other_names,
        other_statistics,
        other_routes,
        nan_on_the_last,
        failing_in_a_product,
        no_second_derivative,
        jacobian_with_an_empty_rank,
        no_data_at_all,
        an_unknown_mean,
        of_outputs,
        data_parallel,
        sharded,
        of_a_group,
        probed,
        data_parallel_descent,
        failing_in_an_attempt,
        agreeing_to_the_bit,
    )
}


def all_checks() -> dict[str, Callable[[], object]]:
    checks = dict(CHECKS)
    for name, reading in compared():
        read, known = READINGS[reading], SHELF[name]()
        checks[f"{name}: {reading}"] = lambda read=read, p=known.problem: read(share(p), seeded())
    for name, reading in compared_with_an_empty_share():
        read, known = READINGS[reading], SHELF[name]()
        checks[f"{name}, an empty share: {reading}"] = lambda read=read, p=known.problem: read(
            share(p, WITH_AN_EMPTY_ONE), seeded()
        )
    for name, of in DESCENTS:
        known = SHELF[of]()
        checks[f"{name} down {of}"] = lambda name=name, p=known.problem: descent(name, share(p))
    checks["an empty share: descent"] = lambda: descent(
        "trust region", share(SHELF["mlp"]().problem, WITH_AN_EMPTY_ONE)
    )
    checks["card"] = lambda: card(share(SHELF["mlp"]().problem))
    for what, read in ONE_PROCESS.items():
        checks[f"one process: {what}"] = lambda read=read: read(share(SHELF["mlp"]().problem))
    return checks


def work(rank: int, size: int, folder: str) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store-{size}",
        rank=rank,
        world_size=size,
        timeout=timedelta(seconds=60),
    )
    outcomes = {}
    for name, check in all_checks().items():
        try:
            outcomes[name] = check()
        except ThalwegError as error:
            outcomes[name] = type(error).__name__, str(error)
    torch.save(outcomes, f"{folder}/{size}-{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    with Collectives():
        torch.ones(2) + 1  # what this imports, every fork would import again
    for world in SIZES:
        torch.multiprocessing.start_processes(
            work, (world, sys.argv[1]), nprocs=world, start_method="fork"
        )
