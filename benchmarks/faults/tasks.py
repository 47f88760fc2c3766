"""The data of the suite: six tasks, standardised, drawn and divided by a seed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from sklearn import datasets
from torch import Tensor

from thalweg.problems import small_curves_autoencoder


@dataclass(frozen=True)
class Task:
    """Data to train on and to hold out.

    Args:
        x: inputs, (b, features), of mean 0 and variance 1 by feature; images of CURVES as they are.
        y: classes (long), values (b, 1) of mean 0 and variance 1, or the inputs themselves.
        held_x: inputs held out.
        held_y: their targets.
        num_outputs: of a network for it.
        needed: points that a healthy training reaches (see `points`).
    """

    x: Tensor
    y: Tensor
    held_x: Tensor
    held_y: Tensor
    num_outputs: int
    needed: float


REGRESSION, BINARY, IMAGES, AUTOENCODER = {"diabetes"}, {"circles", "cancer"}, {"digits"}, "curves"

TASKS = ("circles", "blobs", "digits", "cancer", "diabetes", "curves")


@cache
def task(name: str, seed: int) -> Task:
    """One of `TASKS`, its samples and their division drawn by the seed."""
    if name == "curves":
        return _curves()
    x, y, num_train, needed = {
        "circles": lambda: (*datasets.make_circles(1000, noise=0.1, factor=0.5,
                                                   random_state=seed), 700, 93.0),
        "blobs": lambda: (*datasets.make_blobs(1000, centers=3, n_features=2, cluster_std=2.0,
                                               random_state=2), 700, 78.0),
        "digits": lambda: (*datasets.load_digits(return_X_y=True), 1200, 90.0),
        "cancer": lambda: (*datasets.load_breast_cancer(return_X_y=True), 400, 92.0),
        "diabetes": lambda: (*datasets.load_diabetes(return_X_y=True), 330, 30.0),
    }[name]()  # fmt: skip
    inputs = torch.as_tensor(x, dtype=torch.float32)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(seed))
    train, held = order[:num_train], order[num_train:]
    spread = inputs[train].std(0)
    # Pixels that are always black in the training data have no variance, and stay as they are: a
    # single grey one that was held out would outweigh all else.
    spread = torch.where(spread > 1e-3, spread, 1.0)
    inputs = (inputs - inputs[train].mean(0)) / spread
    if name in REGRESSION:
        values = torch.as_tensor(y, dtype=torch.float32)[:, None]
        targets = (values - values[train].mean()) / values[train].std()
        num_outputs = 1
    else:
        targets = torch.as_tensor(y).long()
        num_outputs = 1 if name in BINARY else int(targets.max()) + 1
        if name in BINARY:
            targets = targets.float()[:, None]
    return Task(inputs[train], targets[train], inputs[held], targets[held], num_outputs, needed)


def _curves() -> Task:
    problem = small_curves_autoencoder()
    (x,), (held,) = problem.batches, problem.test_batches
    assert isinstance(x, Tensor)
    assert isinstance(held, Tensor)
    return Task(x[:1000], x[:1000], held[:300], held[:300], x.shape[1], 45.0)
