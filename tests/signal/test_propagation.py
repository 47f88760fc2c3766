"""propagation: it holds what its parts say, its bands hold, and what it lacks is said."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thalweg
from browser import check_page
from thalweg import Pass, Problem, ProblemError, RandomModelError, propagation
from thalweg.problems import deep_sigmoid_digits, vanishing_tanh_digits
from thalweg.report import Tone
from thalweg.signal import (
    InterruptedPropagation,
    Signal,
    edge_initialisation,
    jacobians,
    rank,
    underflow,
)


def generator():
    return torch.Generator().manual_seed(0)


def read(problem, **how):
    return propagation(problem, generator=generator(), **how)


def chain(activation=nn.Tanh, depth=5, width=30):
    torch.manual_seed(0)
    layers = [nn.Linear(8, width), activation()]
    for _ in range(depth - 2):
        layers += [nn.Linear(width, width), activation()]
    model = nn.Sequential(*layers, nn.Linear(width, 3))
    data = (torch.randn(20, 8), torch.randint(3, (20,)))
    return Problem(model, F.cross_entropy, data, name="a chain")


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.RNN(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x):
        return self.out(self.rnn(x)[0][:, -1])


class Root(nn.Module):
    def forward(self, x):
        return x.sqrt()


def recurrent():
    torch.manual_seed(0)
    data = (torch.randn(6, 7, 3), torch.randint(2, (6,)))
    return Problem(Recurrent(), F.cross_entropy, data)


def linear():
    """[[1, 2], [2, 4]] and then the identity."""
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
        nn.init.eye_(model[1].weight)
    return Problem(model, F.mse_loss, (torch.ones(5, 2), torch.ones(5, 2)))


def broken():
    model = nn.Sequential(nn.Linear(2, 1, bias=False), Root())
    nn.init.constant_(model[0].weight, -1)
    return Problem(model, F.mse_loss, (torch.ones(3, 2), torch.ones(3, 1)))


def infinite_slope():
    """The loss is finite, and its gradient is not: √ at 0."""
    problem = broken()
    nn.init.zeros_(problem.model[0].weight)
    return problem


def convolutional():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2)
    )
    data = (torch.randn(6, 1, 4, 4), torch.randint(2, (6,)))
    return Problem(model.eval(), F.cross_entropy, data)


def test_it_holds_what_its_parts_say():
    problem = chain()
    found = read(problem)
    assert found.signal == Signal.of(Pass.of(problem))
    assert str(found.rank) == str(rank(problem))
    assert str(found.jacobians) == str(jacobians(problem, generator=generator()))
    halves = (torch.float16, torch.bfloat16)
    assert found.underflows == tuple(underflow(problem, dtype) for dtype in halves)
    assert str(found.edge) == str(edge_initialisation(problem))
    assert found.omissions == {}
    assert (found.title, found.num_samples, found.seed) == ("a chain", 20, 0)
    assert found.num_products == sum(
        row.singular.num_products for row in (*found.jacobians.layers, found.jacobians.end_to_end)
    )
    assert all(edge.is_stable for edge in found.critical_line)


@pytest.mark.parametrize("times", [1, 16], ids=["tried on all", "tried on a part"])
def test_it_counts_its_gradients_as_they_are(times):
    """Samples that go forward and back, but for the one of the Jacobians."""
    forward, backward = [], []
    problem = chain()
    model, (x, y) = problem.model, problem.data
    data = x.repeat(times, 1), y.repeat(times)

    def loss(output, target):
        if len(output) > 1:
            forward.append(len(output))
            if output.requires_grad:
                output.register_hook(lambda g: backward.append(len(g)))
        return F.cross_entropy(output, target)

    found = read(Problem(model, loss, data))
    # A gradient counts as three forward passes: one forward, two back.
    counted = (sum(forward) + 2 * sum(backward)) / 3 / len(data[0])
    assert found.num_gradients == pytest.approx(counted)


@pytest.mark.parametrize(
    ("make", "said", "tone"),
    [
        (vanishing_tanh_digits, "The gradient vanishes", Tone.BAD),
        (deep_sigmoid_digits, "The gradient vanishes", Tone.BAD),
        (broken, "Not finite: sqrt in layer '1' (Root), forward pass", Tone.BAD),
        (infinite_slope, "Not finite: SqrtBackward0", Tone.BAD),
        (chain, "The gradient reaches every layer, times", Tone.GOOD),
        (lambda: chain(depth=2), "The gradient reaches every layer", Tone.GOOD),
        (convolutional, "The gradient reaches every layer", Tone.GOOD),
    ],
)
def test_the_verdict(make, said, tone):
    found = read(make())
    assert said in found.headline
    assert found.page().tone is tone
    assert found.headline in str(found)


def test_a_network_that_normalises_is_not_accused_outright():
    """Small early gradients where theory does not speak are told, and no more."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 30), nn.LayerNorm(30), nn.Tanh(), nn.Linear(30, 3))
    with torch.no_grad():
        model[1].weight.mul_(1e-6)
    found = read(Problem(model, F.cross_entropy, chain().data))
    assert found.headline.startswith("The gradient vanishes")
    assert found.page().tone is Tone.UNSURE
    assert "Measured only" in found.page().lead


def test_recurrent_layers_are_read_along_time():
    found = read(recurrent())
    (one,) = found.along_time
    assert (one.name, len(one.steps)) == ("rnn", 7)
    assert "Along time: rnn (RNN)" in [section.title for section in found.page().sections]


def test_a_linear_network_comes_with_its_witness():
    found = read(linear())
    assert found.rank.network.rank == 1
    assert found.rank.witness.difference == 0
    assert "of rank 1, and not invertible" in found.page().text()


def test_what_is_left_out_is_said():
    """Softplus has no edge; the singular values of large layers take long."""
    found = read(chain(nn.Softplus))
    assert found.edge is None
    assert "choose another activation" in found.omissions["initialisation at the edge"]
    assert "choose another activation" in found.page().text(400)
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Linear(8, 1500), nn.Tanh(), nn.Linear(1500, 1500), nn.Linear(1500, 3))
    found = read(Problem(wide, F.cross_entropy, chain().data))
    assert found.rank is None
    assert "thalweg.signal.rank(problem)" in found.omissions["ranks"]


def test_what_cannot_be_read():
    with pytest.raises(ProblemError, match="from 0 to 19"):
        read(chain(), sample=20)
    model = nn.Sequential(nn.Linear(8, 4), nn.Dropout(0.5), nn.Linear(4, 3))
    with pytest.raises(RandomModelError, match="Dropout"):
        read(Problem(model, F.cross_entropy, chain().data))


def test_another_sample_in_another_batch():
    problem = chain()
    x, y = problem.data
    parts = problem.with_data([(x[:15], y[:15]), (x[15:], y[15:])])
    one, other = read(problem, sample=17), read(parts, sample=17)
    assert str(one.jacobians) == str(other.jacobians)
    assert one.jacobians.sample == 17
    assert str(read(problem).jacobians) != str(one.jacobians)


@pytest.mark.parametrize("make", [chain, broken, recurrent, linear, convolutional])
def test_json_is_strict_and_whole(make):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    found = read(make())
    told = json.loads(found.to_json(), parse_constant=refuse)
    assert told["schema"] == "thalweg/propagation/1"
    assert told["headline"] == found.headline
    assert told["omissions"] == found.omissions
    if found.signal is not None:
        rows = told["signal"]["rows"]
        assert [row["gradient_norm"] for row in rows] == [
            row.gradient_norm for row in found.signal.rows
        ]
        whole = found.jacobians.end_to_end
        if whole is not None:
            values = told["jacobians"]["end_to_end"]["singular"]["largest"]["values"]
            assert values == whole.singular.largest.values.tolist()


@pytest.mark.parametrize(
    "make", [chain, vanishing_tanh_digits, broken, recurrent, linear, convolutional]
)
def test_the_page_in_a_browser(make, tmp_path):
    found = read(make())
    path = found.save(tmp_path / "signal.html")
    check_page(path)
    assert found._repr_html_().startswith("<iframe")


def test_the_bands_of_theory_hold_what_is_measured():
    """Width 200, one input: of draws × layers 95 % of the ratios lie within ± 1.96 of their errors,
    and as many scales and gradients. Layers of a draw are not independent, so ± 6 % is allowed."""
    width, inside = 200, {"ratio": [], "scale": [], "gradient": []}
    for seed in range(24):
        g = torch.Generator().manual_seed(seed)
        layers = []
        for k in range(7):
            layer = nn.Linear(width, width).double()
            with torch.no_grad():
                drawn = torch.randn(width, width, generator=g, dtype=torch.float64)
                layer.weight.copy_(drawn * math.sqrt(1.5 / width))
                layer.bias.zero_()
            layers += [layer, nn.Tanh()] if k < 6 else [layer]
        x, y = (torch.randn(1, width, generator=g, dtype=torch.float64) for _ in range(2))
        problem = Problem(nn.Sequential(*layers), lambda out, target: (out * target).mean(), (x, y))
        for row in Signal.of(Pass.of(problem)).rows[1:-1]:
            gap = row.gradient_ratio - row.predicted_gradient_ratio
            inside["ratio"].append(abs(gap) < 1.96 * row.predicted_ratio_stderr)
            for kind, measured, predicted, doubt in (
                ("scale", row.scale, row.predicted_scale, row.predicted_scale_log_stderr),
                (
                    "gradient", row.gradient_norm, row.predicted_gradient_norm,
                    row.predicted_gradient_log_stderr,
                ),
            ):  # fmt: skip
                inside[kind].append(abs(math.log(measured / predicted)) < 1.96 * doubt)
    for kind, held in inside.items():
        assert sum(held) / len(held) == pytest.approx(0.95, abs=0.06), kind


def test_it_is_at_hand():
    assert thalweg.propagation is thalweg.signal.propagation


@pytest.mark.parametrize(
    ("stage", "field"),
    [("underflow", "underflows"), ("edge_initialisation", "edge"), ("rank", "rank")],
)
def test_ctrl_c_leaves_the_layers_and_what_was_read(stage, field, tmp_path, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    whole = read(chain())
    monkeypatch.setattr(f"thalweg.signal._propagation.{stage}", interrupted)
    with pytest.raises(InterruptedPropagation) as caught:
        read(chain())
    found = caught.value.found
    assert found.is_partial
    assert found.signal == whole.signal
    assert not getattr(found, field)
    assert found.jacobians is None
    assert found.omissions["singular values of the Jacobians"] == "interrupted before it"
    assert found.num_gradients < whole.num_gradients
    assert found.headline.startswith("Interrupted: ")
    check_page(found.save(tmp_path / "partial.html"))
