"""The page of a landscape, opened in a browser: one, two and three axes, paths, gaps, parts."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from browser import check_page
from thalweg import Problem, Surface, landscape
from thalweg.pictures import (
    Along,
    FilterNormalised,
    Gradient,
    InterruptedLandscape,
    TopEigenvectors,
    record_path,
)
from thalweg.pictures._evaluate import Evaluator
from thalweg.pictures._figures import Kind, Scale
from thalweg.problems import from_function, strict_saddle, two_spirals


def seeded():
    return torch.Generator().manual_seed(0)


def plane():
    """Two paths over a plane that is not finite everywhere."""
    start = torch.tensor([1.5, 1.0, 0.5], dtype=torch.float64)
    problem = from_function(lambda θ: (θ[0] + 0.5).log() ** 2 + (θ[1:] ** 2).sum(), start)
    paths = [
        record_path(problem, lambda p, lr=lr: torch.optim.SGD(p, lr=lr), num_steps=40, name=name)
        for name, lr in (("quick", 0.1), ("slow", 0.001))
    ]
    along = [Along(torch.eye(3, dtype=torch.float64)[i], f"θ{i}") for i in range(2)]
    point = Surface(problem).at(paths[0].end)
    return landscape(
        point, along, paths=paths, generator=seeded(), num_cells=21, limits=[(-2, 2), (-1, 2)]
    )


def volume():
    problem = two_spirals()
    along = (TopEigenvectors(2), Gradient())
    return landscape(Surface(problem).here(), along, generator=seeded(), num_samples=48)


def a_line():
    x = torch.randn(20, 3, generator=seeded())
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    problem = Problem(model, F.mse_loss, (x, x[:, :1]))
    return landscape(Surface(problem).here(), FilterNormalised(), generator=seeded())


CASES = {
    "two axes, two paths, gaps": (plane, "of the 2 paths' movement"),
    "three axes, a part of the data": (volume, "quadratic model"),
    "one axis": (a_line, "random direction"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_page(name, tmp_path):
    make, said = CASES[name]
    seen = make()
    assert said in seen.headline
    path = seen.save(tmp_path / "landscape.html")
    check_page(path)
    assert str(seen).startswith(seen.title)


def test_an_interrupted_page_says_what_is_missing(tmp_path, monkeypatch):
    original = Evaluator.__call__

    def interrupted(self, places):
        if self.num_evaluations > 600:
            raise KeyboardInterrupt
        return original(self, places)

    monkeypatch.setattr(Evaluator, "__call__", interrupted)
    with pytest.raises(InterruptedLandscape) as caught:
        landscape(Surface(strict_saddle()).here(), generator=seeded())
    seen = caught.value.found
    assert "Interrupted with" in seen.save(tmp_path / "p.html").read_text(encoding="utf-8")
    (section,) = [s for s in seen.page().sections if s.title == "What is not known"]
    assert f"{seen.num_unread:,} cells" in dict(section.blocks[0].rows)


def test_colours_go_there_and_back():
    cases = {
        Kind.LOG: torch.tensor([1e-4, 1e-2, 1.0]),
        Kind.DEEP: torch.tensor([-1.0, -0.99, -0.98, 0.0, 5.0]),
        Kind.PLAIN: torch.tensor([-1.0, 0.0, 1.0]),
    }
    for kind, values in cases.items():
        scale = Scale.of(values.double())
        assert scale.kind is kind
        torch.testing.assert_close(scale.back(scale(values.double())), values.double())
        assert bool((scale(values.double()).diff() > 0).all())
