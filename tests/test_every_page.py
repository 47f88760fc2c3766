"""Every kind of page that thalweg writes, opened in headless Chromium by the same rules.

The browser is Debian's: `apt-get install --no-install-recommends chromium`. Without it these tests
are skipped, aloud; where CI is set, they fail. What must hold of a page stands in browser.py; the
tests of the rooms open their own rare pages by it, too: broken off, empty, very long.
"""

import importlib
import pkgutil
from functools import cache
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thalweg
from browser import check_page, chromium  # noqa: F401
from thalweg import Monitor, Surface, problems
from thalweg.gradient_flow import GradientBelow, adam, gradient_descent
from thalweg.report import Page, Paged, PagedResult

pytestmark = pytest.mark.usefixtures("unchecked")


def seeded():
    return torch.Generator().manual_seed(0)


def problem(_seed=0):
    """A small network whose gradient vanishes: 110 parameters, 48 samples."""
    x = torch.rand(48, 4, generator=seeded(), dtype=torch.float64) - 0.5
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        hidden = [m for _ in range(5) for m in (nn.Linear(4, 4), nn.Sigmoid())]
        model = nn.Sequential(*hidden, nn.Linear(4, 2)).double()
    return thalweg.Problem(
        model, F.cross_entropy, (x, (x[:, 0] > 0).long()), batch_size=16, name="five sigmoids",
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1),
    )  # fmt: skip


def flow():
    start = torch.tensor([1.5, -1.0], dtype=torch.float64)
    valley = problems.from_function(lambda x: (x**4).sum() + 20 * (x[0] - x[1]) ** 2, start)
    return thalweg.flow(
        valley, 2.0, events=[GradientBelow(0.5)], discrete=[gradient_descent(0.02), adam(0.05)]
    )


def watched():
    given = problem()
    model, x = given.model, torch.rand(16, 4, generator=seeded(), dtype=torch.float64)
    y = (x[:, 0] > 0.5).long()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with Monitor(model, F.cross_entropy, optimizer, every=2, overhead=1e9) as watch:
        for _ in range(8):
            optimizer.zero_grad()
            watch.see((x, y))
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    return watch


@cache
def search():
    return thalweg.find_critical(
        problems.linear_autoencoder(range(1, 4), 1), 2, generator=seeded(), max_gradients=3000
    )


MAKERS = {
    "Examination": lambda: thalweg.examine(problem(), budget="430g"),
    "Comparison": lambda: thalweg.compare(
        problem, ["adam", "newton-cg", "sgd"], budget="10g", trials=1, seeds=2
    ),
    "WorkedPass": lambda: thalweg.worked("x = 2\nw = 0.5\nz = w x\na = sigmoid(z)\nL = ½ (a - 1)²"),
    "CheckedSolution": lambda: thalweg.check(Path(__file__).parent / "sheet/pages/relu_course.md"),
    "Derivation": lambda: thalweg.derive("½wᵀAw", at={"w": [1, 2], "A": [[1, 2], [3, 4]]}),
    "CriticalSearch": search,
    "Escape": lambda: thalweg.escape(
        Surface(problems.strict_saddle()).here(), distances=(1e-2, 1e-3), generator=seeded(),
        max_steps=200,
    ),
    "Flow": flow,
    "Landscape": lambda: thalweg.landscape(
        Surface(problem()).here(), generator=seeded(), num_cells=15
    ),
    "Spectrum": lambda: thalweg.spectrum(
        Surface(problem()).here(), generator=seeded(), k=3, dense_up_to=0, num_probes=4
    ),
    "Propagation": lambda: thalweg.propagation(problem(), generator=seeded()),
    "Monitor": watched,
}  # fmt: skip


@pytest.mark.usefixtures("chromium")
@pytest.mark.parametrize("name", MAKERS)
def test_a_page_of_every_kind(name, tmp_path):
    shown = MAKERS[name]()
    assert type(shown).__name__ == name
    check_page(shown.save(tmp_path / f"{name}.html"))


@pytest.mark.usefixtures("chromium")
def test_the_page_of_several_searches(tmp_path):
    page = thalweg.critical.index_against_error([search()])
    assert isinstance(page, Page)
    check_page(page.save(tmp_path / "index_against_error.html"))


def test_no_kind_of_page_is_forgotten():
    """Whatever has a page, wherever it stands, is Paged, and opened above."""
    kinds = set()
    for module in pkgutil.walk_packages(thalweg.__path__, "thalweg."):
        if module.name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(module.name)).values():
            if isinstance(kind, type) and kind.__module__ == module.name and hasattr(kind, "page"):
                kinds.add(kind)
    kinds = {
        kind for kind in kinds
        if not kind.__name__.startswith("_") and not getattr(kind, "_is_protocol", False)
    } - {Paged, PagedResult}  # fmt: skip
    assert all(issubclass(kind, Paged) for kind in kinds)
    assert {kind.__name__ for kind in kinds} == set(MAKERS)
