"""The kinds of fault: what the twin is drawn from, what is broken, what it may be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from benchmarks.faults.healthy import Draw, dense, ordinary
from benchmarks.faults.recipe import Recipe


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Args:
        twin: draws the healthy recipe.
        fault: breaks it.
        names: of the ailments that name it rightly (`thalweg.doctor.Ailment`).
        is_repairable: whether a change of the training can mend it.
    """

    twin: Draw
    fault: Callable[[Recipe, Random], Recipe]
    names: tuple[str, ...]
    is_repairable: bool = True


CLASSES = ("circles", "blobs", "digits", "cancer")


def _sgd(*tasks: str) -> Draw:
    def draw(random: Random) -> Recipe:
        recipe = dense(random, *tasks) if tasks else dense(random, *CLASSES)
        lr = random.choice((0.02, 0.05, 0.1)) / (4 if recipe.task == "diabetes" else 1)
        return replace(recipe, optimizer="SGD", lr=lr)

    return draw


def _adam(*tasks: str) -> Draw:
    def draw(random: Random) -> Recipe:
        recipe = dense(random, *tasks) if tasks else ordinary(random)
        scale = 4 if recipe.task == "diabetes" else 1
        return replace(recipe, optimizer="Adam", lr=random.choice((2e-3, 5e-3)) / scale)

    return draw


def _on(*tasks: str, families: tuple[str, ...] = ("dense", "convolutional", "recurrent")) -> Draw:
    def draw(random: Random) -> Recipe:
        while True:
            recipe = ordinary(random)
            if recipe.task in tasks and recipe.family in families:
                return recipe

    return draw


def _slow(*tasks: str) -> Draw:
    """Just fast enough: what halves the gradient shows. Its epochs are few, or its step small."""

    def draw(random: Random) -> Recipe:
        recipe = _on(*tasks)(random)
        if recipe.task == "curves":
            return recipe
        epochs = random.choice((2, 3, 5))
        if recipe.family == "dense":
            lr = random.choice((0.005, 0.01, 0.02))
            return replace(
                recipe, optimizer="SGD", lr=lr, depth=3, epochs=3 * epochs, norm="", dropout=0.0
            )
        return replace(recipe, epochs=epochs)

    return draw


def _deep(random: Random) -> Recipe:
    recipe = dense(random, *CLASSES, depth=random.choice((8, 10, 12)))
    activation = random.choice(("Tanh", "ReLU"))
    if random.random() < 0.5:
        return replace(recipe, activation=activation, optimizer="Adam", lr=1e-3)
    return replace(recipe, activation=activation, optimizer="SGD", lr=0.01)


def _bounded(random: Random) -> Recipe:
    return replace(dense(random, *CLASSES, depth=2), activation="Tanh")


def _rectified(random: Random) -> Recipe:
    recipe = dense(random, *CLASSES)
    return replace(recipe, activation="ReLU", lr=min(recipe.lr, 0.05))


def _normed(random: Random) -> Recipe:
    recipe = dense(random, *CLASSES, depth=random.choice((3, 5, 7)))
    return replace(recipe, norm="batch", activation=random.choice(("ReLU", "Tanh")))


def _normed_wild(random: Random) -> Recipe:
    """Inputs far from zero, which batch normalisation takes and running statistics do not know."""
    return replace(
        _normed(random), gain=random.choice((6.0, 0.05)), depth=random.choice((5, 7)),
        is_residual=False,
    )  # fmt: skip


def _narrow(random: Random) -> Recipe:
    """Few units, all of which are needed."""
    families = ("dense", "recurrent")
    recipe = _on("circles", "digits", "curves", families=families)(random)
    if recipe.task == "curves":
        return replace(recipe, epochs=15)
    if recipe.family == "recurrent":
        return replace(recipe, width=12)
    return replace(recipe, width=8, norm="", dropout=0.0)


def _wide_code(random: Random) -> Recipe:
    return replace(dense(random, "digits", "curves", "blobs", depth=3), width=32, code=32)


def _vanishing(recipe: Recipe, random: Random) -> Recipe:
    if random.random() < 0.5:
        return replace(recipe, activation="Sigmoid")
    return replace(recipe, gain=random.choice((0.1, 0.2, 0.3)))


def _exploding(recipe: Recipe, random: Random) -> Recipe:
    return replace(recipe, activation="ReLU", gain=random.choice((3.0, 5.0, 8.0)))


def _lr(*factors: float) -> Callable[[Recipe, Random], Recipe]:
    return lambda recipe, random: replace(recipe, lr=recipe.lr * random.choice(factors))


def _outliers(recipe: Recipe, random: Random) -> Recipe:
    return replace(
        recipe, outliers=random.choice((0.02, 0.05)), outlier_size=random.choice((1e3, 1e4, 1e5))
    )


def _not_finite(recipe: Recipe, random: Random) -> Recipe:
    value = random.choice((float("nan"), float("inf"), float("-inf")))
    return replace(recipe, not_finite=random.choice((0.005, 0.02, 0.1)), not_finite_value=value)


def _frozen(recipe: Recipe, random: Random) -> Recipe:
    return replace(recipe, num_frozen=_some(recipe, random))


def _forgotten(recipe: Recipe, random: Random) -> Recipe:
    return replace(recipe, num_forgotten=_some(recipe, random))


def _some(recipe: Recipe, random: Random) -> int:
    """Those of the first layers; without the last ones, the others make up for it."""
    if recipe.family == "recurrent":
        return 4
    return random.choice((2 * recipe.depth - 2, 2 * recipe.depth, 2 * recipe.depth))


def _set(**choices: tuple[object, ...]) -> Callable[[Recipe, Random], Recipe]:
    """Sets fields to one of several values each."""

    def fault(recipe: Recipe, random: Random) -> Recipe:
        return replace(recipe, **{name: random.choice(v) for name, v in choices.items()})  # type: ignore[arg-type]

    return fault


KINDS: dict[str, Kind] = {
    "vanishing": Kind(_deep, _vanishing, ("VANISHING",)),
    "exploding": Kind(_deep, _exploding, ("EXPLODING",)),
    "saturation": Kind(_bounded, _set(gain=(10.0, 30.0, 100.0)), ("SATURATED",)),
    "dead units": Kind(_rectified, _set(bias=(-3.0, -6.0, -10.0)), ("DEAD",)),
    "symmetric": Kind(ordinary, _set(constant=(0.0, 0.0, 0.05, 0.1)), ("SYMMETRIC",)),
    "lr too large": Kind(ordinary, _lr(30.0, 100.0, 300.0, 1000.0), ("LR_TOO_LARGE",)),
    "lr too small": Kind(ordinary, _lr(1e-2, 3e-3, 1e-3, 1e-4), ("LR_TOO_SMALL",)),
    "saddle": Kind(
        _sgd("circles", "cancer", "digits"),
        _set(gain=(1e-3, 3e-3, 1e-2), gain_last=(1e-3, 1e-2), depth=(2, 3)),
        ("STUCK", "GRADIENT_FLAT", "VANISHING"),
    ),
    "noise": Kind(_sgd(), _set(batch_size=(1, 2)), ("NOISE",)),
    "input scale": Kind(
        _on(*CLASSES, "diabetes"), _set(input_scale=(100.0, 1000.0, 1e-3)), ("INPUT_SCALE",)
    ),
    "outliers": Kind(_on(*CLASSES, "diabetes", families=("dense",)), _outliers, ("OUTLIERS",)),
    "constant feature": Kind(
        _on(*CLASSES[:2], "cancer", "diabetes"),
        _set(constants=(1, 2), outlier_size=(100.0, 1000.0)),
        ("CONSTANT_FEATURES", "INPUT_SCALE"),
    ),
    "not finite": Kind(_on(*CLASSES, "diabetes"), _not_finite, ("DATA_NOT_FINITE",)),
    "softmax": Kind(_slow("digits", "blobs"), _set(head=("Softmax",)), ("OUTPUT_LOSS",)),
    "doubled sigmoid": Kind(_slow("circles", "cancer"), _set(head=("Sigmoid",)), ("OUTPUT_LOSS",)),
    "missing sigmoid": Kind(
        _on("circles", "cancer", "curves"), _set(loss=("probabilities",)), ("OUTPUT_LOSS",)
    ),
    "final ReLU": Kind(_on("diabetes"), _set(head=("ReLU",)), ("OUTPUT_LOSS", "TARGET_RANGE")),
    "target scale": Kind(
        _on("diabetes"),
        _set(target_scale=(100.0, 1000.0), target_shift=(0.0, 500.0)),
        ("TARGET_SCALE",),
    ),
    "target shape": Kind(
        _on("diabetes"), _set(flat_targets=(True,), loss=("usual", "by hand")), ("TARGET_SHAPE",)
    ),
    "wrong reduction": Kind(_sgd(*CLASSES, "diabetes"), _set(loss=("sum",)), ("REDUCTION",)),
    "frozen": Kind(_narrow, _frozen, ("CANNOT_LEARN",)),
    "forgotten": Kind(_narrow, _forgotten, ("CANNOT_LEARN",)),
    "no zero_grad": Kind(ordinary, _set(zeroes_grad=(False,)), ("ACCUMULATED",)),
    "weight decay": Kind(ordinary, _set(weight_decay=(0.3, 1.0, 3.0)), ("WEIGHT_DECAY",)),
    "wrong mode": Kind(_normed_wild, _set(mode=(False,)), ("WRONG_MODE",)),
    "batch of one": Kind(_normed, _set(batch_size=(1,)), ("BATCH_OF_ONE",)),
    "bottleneck": Kind(_wide_code, _set(code=(1,)), ("BOTTLENECK",)),
    "clipping": Kind(_sgd(), _set(clip_norm=(1e-4, 1e-3, 1e-2)), ("CLIPPING",)),
    "momentum": Kind(_sgd(), _set(momentum=(0.995, 0.999)), ("MOMENTUM",)),
    "epsilon": Kind(_adam(), _set(eps=(0.1, 1.0, 10.0)), ("EPSILON",)),
    "dropout": Kind(
        _on(*CLASSES, families=("dense", "convolutional")),
        _set(dropout=(0.9, 0.95)),
        ("DROPOUT",),
    ),
    "shuffled labels": Kind(
        _on(*CLASSES, "diabetes"), _set(is_shuffled=(True,)), ("NO_SIGNAL",), False
    ),
}
"""By name. A draw that does no harm is drawn again."""
