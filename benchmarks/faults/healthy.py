"""Healthy recipes by rule: ordinary ones, and ones that look odd and train all the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from benchmarks.faults.recipe import Recipe
from benchmarks.faults.tasks import IMAGES, REGRESSION, TASKS

Draw = Callable[[Random], Recipe]


def ordinary(random: Random) -> Recipe:
    """A recipe as people write them. Whether it trains is checked by the suite."""
    task = random.choice(TASKS)
    family = "dense"
    if task in IMAGES:
        family = random.choice(("dense", "convolutional", "recurrent"))
    is_adam = random.random() < 0.5 or family == "recurrent" or task == "curves"
    recipe = Recipe(
        task=task,
        data_seed=random.randrange(4),
        family=family,
        width=random.choice((16, 24, 32)),
        depth=random.choice((2, 3)),
        activation=random.choice(("ReLU", "Tanh", "GELU", "ELU", "LeakyReLU")),
        optimizer="Adam" if is_adam else "SGD",
        lr=random.choice((2e-3, 5e-3) if is_adam else (0.02, 0.05, 0.1)),
        batch_size=random.choice((16, 32)),
        epochs=random.choice((15, 20)),
    )
    if task == "curves":
        recipe = replace(recipe, width=64, depth=3, code=random.choice((12, 16)), epochs=25)
    elif family == "convolutional":
        width = random.choice((6, 8))
        recipe = replace(recipe, width=width, depth=2, batch_size=32, epochs=8)
    elif family == "recurrent":
        cell = random.choice(("RNN", "GRU", "LSTM"))
        recipe = replace(recipe, cell=cell, depth=1, batch_size=32, epochs=15)
    elif random.random() < 0.3:
        norm = random.choice(("batch", "layer"))
        recipe = replace(recipe, norm=norm, is_residual=random.random() < 0.5)
    if family == "dense" and task == "digits":
        recipe = replace(recipe, batch_size=32, epochs=15)
    if task in REGRESSION:
        # Diabetes is overfitted soon.
        recipe = replace(recipe, lr=recipe.lr / 4, weight_decay=1e-3)
    if random.random() < 0.2 and family != "recurrent" and task not in ("diabetes", "curves"):
        recipe = replace(recipe, dropout=0.1)
    return recipe


def dense(random: Random, *tasks: str, depth: int | None = None) -> Recipe:
    """An ordinary dense recipe on one of these tasks, plain in its layers."""
    while True:
        recipe = ordinary(random)
        if recipe.family == "dense" and (not tasks or recipe.task in tasks):
            plain = replace(recipe, norm="", is_residual=False, dropout=0.0)
            return plain if depth is None else replace(plain, depth=depth)


def deep_residual(random: Random) -> Recipe:
    """Deep and residual, with small gradients early: the branches begin nearly at zero."""
    recipe = dense(random, "circles", "blobs", "digits", "cancer", depth=random.choice((10, 14)))
    return replace(
        recipe, is_residual=True, gain=random.choice((0.1, 0.2)), optimizer="Adam", lr=2e-3
    )


def many_zero_units(random: Random) -> Recipe:
    """ReLU with negative biases: most units are zero on most samples."""
    recipe = dense(random, "digits", "cancer", depth=2)
    return replace(
        recipe, activation="ReLU", width=128, bias=random.choice((-0.3, -0.5, -0.7)),
        optimizer="Adam", lr=2e-3,
    )  # fmt: skip


def edge_of_stability(random: Random) -> Recipe:
    """A learning rate above the stability limit, whose run converges all the same."""
    recipe = dense(random, "circles", "blobs", "cancer", "digits", depth=2)
    return replace(
        recipe, activation="Tanh", optimizer="SGD", momentum=0.0,
        lr=random.choice((0.5, 1.0)), batch_size=64, epochs=25,
    )  # fmt: skip


def zero_last_layer(random: Random) -> Recipe:
    """The last layer begins at zero, as is usual in residual networks and regressions."""
    return replace(dense(random, *TASKS[:4]), gain_last=0.0)


def masked_nan(random: Random) -> Recipe:
    """Some inputs are NaN, and the network masks them by itself."""
    recipe = dense(random, "circles", "blobs", "cancer", "digits")
    return replace(recipe, not_finite=random.choice((0.02, 0.05)), fills_nan=True)


def plateau_that_ends(random: Random) -> Recipe:
    """Small weights: the loss rests for a while, and then falls."""
    recipe = dense(random, "circles", "cancer", "digits", depth=2)
    return replace(
        recipe, activation="Tanh", gain=random.choice((0.05, 0.1)), gain_last=0.1,
        optimizer="SGD", momentum=0.9, lr=0.05, epochs=25,
    )  # fmt: skip


def frozen_backbone(random: Random) -> Recipe:
    """The first layer is frozen, and its owner says so."""
    recipe = dense(random, "digits", "cancer", "blobs", depth=2)
    return replace(recipe, num_frozen=2, width=64, on_purpose=("0.*",))


def unscaled_a_little(random: Random) -> Recipe:
    """Inputs three times as large as usual."""
    return replace(dense(random, *TASKS[:4]), input_scale=random.choice((0.5, 2.0, 3.0)))


def strong_dropout(random: Random) -> Recipe:
    """Half of the units are dropped, as in the paper."""
    recipe = dense(random, "digits", "cancer", "blobs", depth=2)
    return replace(recipe, width=64, dropout=0.5)


def clipped(random: Random) -> Recipe:
    """Clipping that bites in the first steps alone."""
    return replace(ordinary(random), clip_norm=random.choice((1.0, 2.0)))


def evaluation_mode(random: Random) -> Recipe:
    """Trained in evaluation mode without a module to which that matters."""
    return replace(dense(random, *TASKS[:4]), mode=False)


ODD: dict[str, Draw] = {
    "deep residual": deep_residual,
    "many zero units": many_zero_units,
    "edge of stability": edge_of_stability,
    "zero last layer": zero_last_layer,
    "masked NaN": masked_nan,
    "plateau that ends": plateau_that_ends,
    "frozen on purpose": frozen_backbone,
    "inputs of another scale": unscaled_a_little,
    "strong dropout": strong_dropout,
    "clipped": clipped,
    "evaluation mode": evaluation_mode,
}


def healthy(number: int) -> tuple[str, Draw]:
    """What the healthy case of that number is drawn from: every second one is odd."""
    # Numbers of both parities, so that both halves hold all.
    if number // 2 % 2:
        return "ordinary", ordinary
    names = list(ODD)
    name = names[(number // 4 + number % 2) % len(names)]
    return name, ODD[name]
