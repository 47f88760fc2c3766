"""Recipe: a training in plain values, from which a problem is built; a fault changes a few."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.faults.network import network
from benchmarks.faults.tasks import BINARY, REGRESSION, task
from thalweg import Problem


@dataclass(frozen=True)
class Recipe:
    """A whole training. The defaults are those of a healthy one.

    Args:
        task: one of `TASKS`.
        data_seed: decides the samples and their division.
        family: "dense", "convolutional" or "recurrent".
        width: units of a hidden layer, channels, or hidden state.
        depth: hidden layers.
        activation: name of a module of torch.nn.
        cell: "RNN", "GRU" or "LSTM".
        norm: "", "batch" or "layer".
        is_residual: whether hidden layers of equal width add their input.
        dropout: after every hidden layer.
        gain: factor of the hidden weights over the initialisation that suits the activation.
        gain_last: the same for the last layer.
        constant: every weight and bias has this value; None draws them.
        bias: of the hidden layers.
        code: width of the middle layer; None for `width`.
        head: module of torch.nn behind the last layer.
        loss: "usual", or how it differs.
        optimizer: name in torch.optim.
        lr: learning rate.
        momentum: of SGD, β₁ of Adam.
        eps: of Adam.
        weight_decay: of the optimizer.
        batch_size: samples a step.
        epochs: passes over the data.
        clip_norm: None for no clipping.
        mode: what `train()` is called with.
        num_frozen: parameters from the first on that have no gradient; negative: from the last on.
        num_forgotten: the same, not given to the optimizer.
        zeroes_grad: whether a step begins with zero_grad().
        input_scale: factor of all inputs.
        input_shift: added to them.
        outliers: share of samples with a wild feature.
        outlier_size: how wild.
        constants: features appended that hold `outlier_size` everywhere.
        not_finite: share of samples with a NaN or infinite feature.
        not_finite_value: which.
        target_scale: factor of the targets.
        target_shift: added to them.
        flat_targets: whether targets have lost their second dimension.
        is_shuffled: whether targets are in random order.
        fills_nan: whether the network begins by putting zero for NaN, as its owner means it to.
        on_purpose: what its owner declares.
    """

    task: str
    data_seed: int
    family: str
    width: int
    depth: int
    activation: str
    optimizer: str
    lr: float
    batch_size: int
    epochs: int
    cell: str = "GRU"
    norm: str = ""
    is_residual: bool = False
    dropout: float = 0.0
    gain: float = 1.0
    gain_last: float = 1.0
    constant: float | None = None
    bias: float = 0.0
    code: int | None = None
    head: str = ""
    loss: str = "usual"
    momentum: float = 0.9
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    mode: bool | None = True
    num_frozen: int = 0
    num_forgotten: int = 0
    zeroes_grad: bool = True
    input_scale: float = 1.0
    input_shift: float = 0.0
    outliers: float = 0.0
    outlier_size: float = 0.0
    constants: int = 0
    not_finite: float = 0.0
    not_finite_value: float = float("nan")
    target_scale: float = 1.0
    target_shift: float = 0.0
    flat_targets: bool = False
    is_shuffled: bool = False
    fills_nan: bool = False
    on_purpose: tuple[str, ...] = ()

    def differs(self, twin: Recipe) -> dict[str, Any]:
        """The fields in which it differs from another one."""
        other = asdict(twin)
        return {k: v for k, v in asdict(self).items() if repr(v) != repr(other[k])}


def built(recipe: Recipe, seed: int) -> Problem:
    """The problem of a recipe; the seed decides the initial weights. Fresh at every call."""
    data = task(recipe.task, recipe.data_seed)
    generator = torch.Generator().manual_seed(recipe.data_seed)
    x, y = _data(recipe, data.x, data.y, generator)
    held_x, held_y = _data(recipe, data.held_x, data.held_y, generator)
    model = network(recipe, x.shape[1], data.num_outputs, seed)
    parameters = list(model.parameters())
    for parameter in _first(parameters, recipe.num_frozen):
        parameter.requires_grad_(False)
    return Problem(
        model,
        _loss(recipe),
        (x, y),
        test=(held_x, held_y),
        optimizer=partial(_optimizer, recipe),
        batch_size=recipe.batch_size,
        epochs=recipe.epochs,
        step=None if recipe.zeroes_grad else partial(_step_that_forgets, _loss(recipe)),
        clip_norm=recipe.clip_norm,
        mode=recipe.mode,
        on_purpose=recipe.on_purpose,
        name=f"{recipe.family} network on {recipe.task}",
    )


def _first(things: list[nn.Parameter], number: int) -> list[nn.Parameter]:
    return things[:number] if number >= 0 else things[number:]


def _data(
    recipe: Recipe, x: Tensor, y: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    x, y = x.clone(), y.clone()
    rows = torch.randperm(len(x), generator=generator)
    columns = torch.randint(x.shape[1], (len(x),), generator=generator)
    wild = rows[: round(recipe.outliers * len(x))]
    x[wild, columns[wild]] = recipe.outlier_size
    x = x * recipe.input_scale + recipe.input_shift
    if recipe.constants:
        x = torch.cat([x, torch.full((len(x), recipe.constants), recipe.outlier_size)], 1)
    bad = rows[: round(recipe.not_finite * len(x))]
    x[bad, columns[bad]] = recipe.not_finite_value
    if recipe.is_shuffled:
        y = y[torch.randperm(len(y), generator=generator)]
    if recipe.target_scale != 1 or recipe.target_shift:
        y = y * recipe.target_scale + recipe.target_shift
    return x, y.flatten() if recipe.flat_targets else y


def _loss(recipe: Recipe) -> Any:
    usual: Any = F.cross_entropy
    if recipe.task in REGRESSION:
        usual = F.mse_loss
    elif recipe.task in BINARY or recipe.task == "curves":
        usual = F.binary_cross_entropy_with_logits
    if recipe.loss == "sum":
        return partial(usual, reduction="sum")
    if recipe.loss == "probabilities":
        return F.binary_cross_entropy
    if recipe.loss == "by hand":
        return _squares_by_hand
    return usual


def _squares_by_hand(output: Tensor, target: Tensor) -> Tensor:
    return ((output - target) ** 2).mean()


def _step_that_forgets(loss: Any, model: nn.Module, batch: Any, optimizer: Any) -> Tensor:
    """A step without zero_grad()."""
    x, y = batch
    value: Tensor = loss(model(x), y)
    value.backward()
    optimizer.step()
    return value.detach()


def _optimizer(recipe: Recipe, params: Any) -> torch.optim.Optimizer:
    given = list(params)
    if recipe.num_forgotten > 0:
        given = given[recipe.num_forgotten :]
    elif recipe.num_forgotten < 0:
        given = given[: recipe.num_forgotten]
    kind = getattr(torch.optim, recipe.optimizer)
    settings: dict[str, Any] = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "SGD":
        settings["momentum"] = recipe.momentum
    else:
        settings |= {"betas": (recipe.momentum, 0.999), "eps": recipe.eps}
    made: torch.optim.Optimizer = kind(given, **settings)
    return made
