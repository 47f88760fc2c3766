"""A page with every kind of block, as an examination of a deep sigmoid network would fill it.

.venv/bin/python tests/report/sample.py OUT.html
"""

import sys
from math import cos, exp, inf, log10, nan, sin
from typing import Any

from thalweg.report import (
    Code,
    Fact,
    Facts,
    Figure,
    Ink,
    Page,
    Section,
    Table,
    Text,
    Tone,
    band,
    line,
)

LAYERS = list(range(1, 11))
STEPS = list(range(5, 301, 5))


def sample_page() -> Page:
    """The page."""
    return Page(
        title="deep sigmoid digits",
        verdict="This network does not train: its gradient vanishes",
        tone=Tone.BAD,
        lead="Each layer back from the loss shrinks the gradient to about a quarter; after ten "
        "layers 1 part in 290,000 is left. Another initialisation with `ReLU` raised test accuracy "
        "from 10 % to 96 % in a trial.",
        sections=(
            _vanishing(),
            _saturation(),
            _remedy(),
            _critical_point(),
            _facts(),
            _cost(),
            _not_measured(),
            _all_layers(),
        ),
        footer="thalweg 0.1.0 · torch 2.13.0+cpu · seed 0 · float32 · 2 × Intel Xeon, Linux "
        "· thalweg examine thalweg.problems:deep_sigmoid_digits --seed 0",
    )


def _vanishing() -> Section:
    factor = 0.248
    measured = [3.1e-2 * factor ** (10 - k) * exp(0.18 * sin(2.1 * k)) for k in LAYERS]
    predicted = [3.1e-2 * factor ** (10 - k) for k in LAYERS]
    return Section(
        "The gradient vanishes",
        "From layer `blocks.9.linear` back to `blocks.0.linear` the gradient norm falls by a "
        "factor of 0.248 ± 0.006 per layer; mean-field theory predicts √χ = 0.246 for this "
        "initialisation.",
        (
            Figure(
                data=[
                    band(
                        LAYERS,
                        [m * 0.7 for m in measured],
                        [m * 1.4 for m in measured],
                        name="measured",
                    ),
                    line(LAYERS, measured, name="measured", has_markers=True),
                    line(
                        LAYERS,
                        predicted,
                        name="predicted by √χ",
                        ink=Ink.PREDICTED,
                        is_dashed=True,
                    ),
                ],
                layout={
                    "xaxis": {"title": {"text": "layer, from input to output"}, "dtick": 1},
                    "yaxis": {
                        "title": {"text": "gradient norm ‖∂L/∂z‖ [loss/output], all samples"},
                        "type": "log",
                        "dtick": 1,
                    },
                },
                caption="The gradient falls along a straight line on a log axis, as predicted.",
                alt="Gradient norm per layer on a log axis: it rises from 1e-7 at layer 1 to 3e-2 "
                "at layer 10; the measured points lie on the predicted dashed line.",
            ),
            Facts(
                (
                    Fact("factor per layer, measured", "0.248", "± 0.006", "slope of log norm"),
                    Fact("factor per layer, predicted", "0.246", "", "√χ at q* = 0.27"),
                    Fact("depth scale ξ", "0.71", "± 0.02", "layers until 1/e is left"),
                )
            ),
        ),
        Tone.BAD,
    )


def _saturation() -> Section:
    data = [
        {
            "type": "bar",
            "x": [f"blocks.{k}" for k in range(10)],
            "y": [0.1 + 1.4 * exp(-k / 3) for k in range(10)],
            "name": "saturated units",
            "marker": {"color": Ink.ORANGE},
        }
    ]
    return Section(
        "Units are not saturated",
        "At most 1.5 % of units have a slope under 1 % of its maximum, so saturation is not the "
        "cause.",
        (
            Figure(
                data,
                {"yaxis": {"title": {"text": "share of saturated units [%]"}}},
                "Saturation is low everywhere and falls with depth.",
                "Bars of the share of saturated units for ten blocks, from 1.5 % down to 0.1 %.",
                height=240,
            ),
        ),
        Tone.GOOD,
    )


def _remedy() -> Section:
    rows = (
        ("ReLU with He initialisation", "10.1 → 96.2", "± 0.4", "2.303 → 0.131", "300", "helped"),
        ("tanh at the edge of chaos", "10.1 → 94.8", "± 0.7", "2.303 → 0.178", "300", "helped"),
        ("layer norm before sigmoid", "10.1 → 88.9", "± 5.1", "2.303 → 0.402", "300", "helped"),
        ("Adam, network as it is", "10.1 → 18.6", "± 6.0", "2.303 → 2.106", "300", "unclear"),
        ("learning rate × 10", "10.1 → 10.3", "± 0.6", "2.303 → 2.302", "300", "no help"),
        ("learning rate × 100", "10.1 → –", "–", "2.303 → ∞", "41", "broke off"),
    )
    return Section(
        "What was tried, and what helped",
        "Six remedies ran on copies of the network, three seeds each, same data order, 300 steps; "
        "three of them train it.",
        (
            Table(
                ("remedy", "accuracy [%]", "spread", "loss", "steps", "verdict"),
                rows,
                "Test accuracy before → after, mean and spread over three seeds.",
            ),
            _curves(),
            Code(
                "import torch\n\n"
                "def remedy(model: torch.nn.Module) -> torch.nn.Module:\n"
                "    for block in model.blocks:\n"
                "        block.activation = torch.nn.ReLU()\n"
                "        torch.nn.init.kaiming_normal_(block.linear.weight, nonlinearity='relu')"
                "  # He et al. 2015, eq. 10\n"
                "        torch.nn.init.zeros_(block.linear.bias)\n"
                "    return model\n",
                "The remedy that helped most, to paste.",
            ),
        ),
        Tone.GOOD,
    )


def _curves() -> Figure:
    plain = [2.303 + 0.004 * cos(s / 9) for s in STEPS]
    relu = [0.13 + 2.17 * exp(-s / 40) for s in STEPS]
    tanh = [0.18 + 2.12 * exp(-s / 60) for s in STEPS]
    broken = [2.3 * 1.05 ** (s / 5) if s < 40 else (inf if s < 45 else nan) for s in STEPS]
    return Figure(
        data=[
            *_banded(plain, 0.99, 1.01, "as it is", Ink.BEFORE),
            *_banded(relu, 0.8, 1.25, "ReLU, He", Ink.AFTER),
            *_banded(tanh, 0.85, 1.2, "tanh, edge of chaos", Ink.GREEN),
            line(STEPS, broken, name="learning rate × 100", ink=Ink.PURPLE, is_dashed=True),
        ],
        layout={
            "xaxis": {"title": {"text": "optimizer step"}},
            "yaxis": {"title": {"text": "training loss [nats]"}, "range": [0, 3.2]},
        },
        caption="With the remedy the loss falls within a hundred steps; without it, not at all.",
        alt="Training loss against step: flat at 2.3 as it is, down to 0.13 with ReLU and 0.18 "
        "with tanh; with a hundredfold learning rate the line rises and ends at step 40.",
        height=360,
    )


def _banded(y: list[float], low: float, high: float, name: str, ink: Ink) -> list[dict[str, Any]]:
    edges = [v * low for v in y], [v * high for v in y]
    return [band(STEPS, *edges, name=name, ink=ink), line(STEPS, y, name=name, ink=ink)]


def _critical_point() -> Section:
    grid = [i / 50 - 1 for i in range(151)]
    density = [exp(-((g / 0.06) ** 2)) * 8 + 0.4 * exp(-(((g - 0.7) / 0.3) ** 2)) for g in grid]
    landscape = [[sin(x / 4) * cos(y / 5) for x in range(40)] for y in range(40)]
    return Section(
        "Where the network stands",
        "It is on a plateau: the gradient is small, but no critical point is near "
        "(flatness r = 0.97); whether the index is above zero is undecided.",
        (
            Figure(
                [
                    band(
                        grid, [d * 0.6 for d in density], [d * 1.5 for d in density], name="density"
                    ),
                    line(
                        grid, [d if d > 1e-4 else nan for d in density], name="density ± 2 stderr"
                    ),
                ],
                {
                    "xaxis": {"title": {"text": "eigenvalue λ [loss/param²]"}},
                    "yaxis": {
                        "title": {"text": "density of eigenvalues"},
                        "type": "log",
                        "dtick": 1,
                        "range": [log10(1e-4), 1.3],
                    },
                },
                "Nearly all eigenvalues of the Hessian lie at zero.",
                "Spectral density: a sharp peak at zero and a low bump around 0.7.",
            ),
            Figure(
                [{"type": "contour", "z": landscape, "colorbar": {"title": {"text": "loss"}}}],
                {
                    "xaxis": {"title": {"text": "along λ_max [param]"}},
                    "yaxis": {"title": {"text": "along λ_min [param]"}},
                },
                "A slice of the surface through two eigenvectors.",
                "Contours of the loss over two directions: two hollows and two hills.",
                height=380,
            ),
        ),
        Tone.UNSURE,
    )


def _facts() -> Section:
    return Section(
        "Measured at the start",
        "All numbers are means over 1,437 training samples.",
        (
            Facts(
                (
                    Fact("loss L", "2.3481", "", "nats; ln 10 = 2.3026 is chance"),
                    Fact("gradient norm ‖∇L‖", "3.2 × 10⁻²", "", "loss/param"),
                    Fact("sharpness λ_max", "1.84", "[1.84, 1.85]", "loss/param²"),
                    Fact("lowest eigenvalue λ_min", "−0.012", "[−0.013, −0.011]", "loss/param²"),
                    Fact("stability limit 2/lr", "20", "", "`SGD(lr=0.1)`; 11 times above λ_max"),
                    Fact("parameters", "24,970", "", "in 22 tensors"),
                )
            ),
        ),
    )


def _cost() -> Section:
    return Section(
        "What it cost",
        "The whole examination took 58 s, most of it the trials.",
        (
            Table(
                ("reading", "gradients", "seconds"),
                (
                    ("pass and signal", "1", "0.1"),
                    ("eigenpairs and density", "948", "7.9"),
                    ("trials, 7 × 3 seeds", "6,300", "49.6"),
                ),
                "Cost in gradients of the whole data and in seconds.",
            ),
        ),
    )


def _not_measured() -> Section:
    return Section(
        "What was not measured",
        "Two readings were left out, and one thing is assumed.",
        (
            Text(
                "The index of the point was not counted exactly: that takes the dense Hessian of "
                "24,970² entries, 4.6 GiB.\n\nGeneralisation beyond the 360 held-out samples was "
                "not measured.\n\nNo optimizer was given, so `torch.optim.SGD(lr=0.1)` was assumed."
            ),
        ),
    )


def _all_layers() -> Section:
    return Section(
        "All layers in numbers",
        "The same as in the pictures above.",
        (
            Table(
                ("layer", "kind", "units", "scale [1]", "gradient [loss/output]", "saturated [%]"),
                tuple(
                    (
                        f"blocks.{k - 1}.linear",
                        "Linear",
                        "50",
                        "0.52",
                        f"{3.1e-2 * 0.248 ** (10 - k):.2e}",
                        "1.2",
                    )
                    for k in LAYERS
                ),
            ),
            Figure(
                [line(LAYERS, [0.5 + 0.02 * k for k in LAYERS], name="scale", has_markers=True)],
                {"xaxis": {"title": "layer"}, "yaxis": {"title": "activation scale [1]"}},
                "The activation scale is nearly constant.",
                "Activation scale per layer, between 0.52 and 0.70.",
                height=240,
            ),
        ),
        is_folded=True,
    )


if __name__ == "__main__":
    print(sample_page().save(sys.argv[1]))
