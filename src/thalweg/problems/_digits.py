"""Handwritten digits, and classifiers on them that train and that do not."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.problems._draws import as_torch
from thalweg.problems._network import network


def digits(seed: int = 0) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Handwritten digits as ((x, y), (x_test, y_test)): 1,437 to train on and 360 held out.

    x are 8×8 grey values, scaled to [0, 1] and flattened to 64 float32; y are classes 0..9. They
    come with scikit-learn, without a download.

    Args:
        seed: of the split.

    Source: E. Alpaydin, C. Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine
    Learning Repository (its test part).

    Example:
        >>> (x, y), (x_test, y_test) = digits()
        >>> x.shape, y_test.shape
        (torch.Size([1437, 64]), torch.Size([360]))
    """
    # scikit-learn takes longer to load than thalweg does.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = torch.tensor(bunch.data / 16.0, dtype=torch.float32)
    y = torch.tensor(bunch.target, dtype=torch.int64)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    held_out = len(x) // 5 + 1
    train, test = order[held_out:], order[:held_out]
    return (x[train], y[train]), (x[test], y[test])


def standardised_digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """`digits` with the mean of all training pixels taken off, and divided by their deviation."""
    (x, y), (x_test, y_test) = digits()
    mean, std = x.mean(), x.std()
    return ((x - mean) / std, y), ((x_test - mean) / std, y_test)


def deep_sigmoid_digits(depth: int = 10, width: int = 128, seed: int = 0) -> Problem:
    """A sigmoid classifier of ten layers at torch's default initialisation: it does not train.

    Trained as people would: stochastic gradient descent, lr 0.1, momentum 0.9, minibatches of 64.

    Args:
        depth: weight layers.
        width: units in a hidden layer.
        seed: of the initialisation.

    Example:
        >>> problem = deep_sigmoid_digits()
        >>> sum(isinstance(layer, torch.nn.Linear) for layer in problem.model)
        10
    """
    return _classifier(nn.Sigmoid, depth, width, seed, "deep sigmoid digits")


def relu_digits(depth: int = 3, width: int = 64, seed: int = 0) -> Problem:
    """A ReLU classifier of three layers: it trains; a healthy network to compare with.

    Args:
        depth: weight layers.
        width: units in a hidden layer.
        seed: of the initialisation.

    Example:
        >>> relu_digits().name
        'ReLU digits'
    """
    return _classifier(nn.ReLU, depth, width, seed, "ReLU digits")


def _classifier(
    activation: type[nn.Module], depth: int, width: int, seed: int, name: str
) -> Problem:
    train, test = digits()
    sizes = (64, *[width] * (depth - 1), 10)
    return Problem(
        network(sizes, activation, as_torch, torch.Generator().manual_seed(seed)),
        nn.functional.cross_entropy,
        train,
        test=test,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
        batch_size=64,
        name=name,
    )
