"""The probe of a route: a run that something disturbs does not decide."""

import pytest
import torch
import torch.nn.functional as F

import thalweg
from problems import draw, draw_classes, initialised, mlp_model
from thalweg.surface import RetainedGraph, Taped, _choice
from thalweg.surface._hessian import HESSIAN


def chosen(monkeypatch, of_graph, of_tape, is_part=False):
    """The choice where runs take these seconds, and how many runs of each there were."""
    counts = {"graph": 0, "tape": 0}
    timed, seconds = _choice._timed, {"graph": of_graph, "tape": of_tape}
    of = {}

    def told(product, v):
        who = of.setdefault(id(product), "tape" if of else "graph")
        counts[who] += 1
        return timed(product, v)[0], seconds[who][counts[who] - 1]

    monkeypatch.setattr(_choice, "_timed", told)
    data = draw(7, 3), draw_classes(2, 7, seed=1)
    problem = thalweg.Problem(initialised(mlp_model(), 0), F.cross_entropy, data)
    point = thalweg.Surface(problem).here()
    with torch.enable_grad():
        choice = _choice.choose(point._task(HESSIAN, problem.part, "batch 0"), is_part)
    return choice, counts


@pytest.mark.parametrize(
    ("of_graph", "of_tape", "route", "runs"),
    [
        ([1e-3], [5e-4], Taped, 1),  # far apart
        ([1e-3] * 4, [5e-3, 6e-4, 1, 1], Taped, 2),  # disturbed once
        ([1e-3] * 4, [5e-3, 2e-3, 9e-4, 9e-4], Taped, 4),  # and twice
        ([1e-3] * 4, [2e-3] * 4, RetainedGraph, 4),
        ([1.0] * 2, [2.0] * 2, RetainedGraph, 2),  # long runs are not so easily disturbed
    ],
)
def test_the_shortest_of_several_runs_decides(monkeypatch, of_graph, of_tape, route, runs):
    choice, counts = chosen(monkeypatch, of_graph, of_tape)
    assert isinstance(choice.route, route)
    assert counts == {"graph": runs, "tape": runs}


@pytest.mark.parametrize(
    ("is_part", "of_tape", "route"),
    [(False, 1.05, RetainedGraph), (True, 1.05, Taped), (True, 1.15, RetainedGraph)],
)
def test_a_tape_that_is_even_on_a_part_is_taken_for_the_whole(monkeypatch, is_part, of_tape, route):
    choice, _ = chosen(monkeypatch, [1.0] * 2, [of_tape] * 2, is_part)
    assert isinstance(choice.route, route)
    assert ("even on a part" in choice.reason) == (route is Taped)
