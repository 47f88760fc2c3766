"""The page of a flow, opened in a browser: finished with methods over it, and not finished."""

import torch

import thalweg
from browser import check_page
from thalweg.gradient_flow import GradientBelow, SharpnessCrosses, adam, gradient_descent, momentum
from thalweg.problems import from_function
from thalweg.report import Table


def valley():
    start = torch.tensor([1.5, -1.0], dtype=torch.float64)
    return from_function(lambda x: (x**4).sum() + 20 * (x[0] - x[1]) ** 2, start, "a valley")


def test_a_flow_with_everything_on_it(tmp_path):
    flow = thalweg.flow(
        valley(),
        5.0,
        events=[GradientBelow(0.05), SharpnessCrosses(0.03)],
        discrete=[gradient_descent(0.03), momentum(0.003), adam(0.01), gradient_descent(0.2)],
    )
    assert flow.occurrences
    page = flow.page()
    titles = [section.title for section in page.sections]
    assert titles == [
        "Loss", "Sharpness", "Events", "Energy identity", "What it cost", "Numbers and doubt",
    ]  # fmt: skip
    tables = [block for s in page.sections for block in s.blocks if isinstance(block, Table)]
    assert [row[0] for row in tables[0].rows] == [path.said for path in flow.discrete]
    costs = tables[-1].rows
    assert costs[0][3] == f"{flow.cost.gradient_equivalents:,.0f}"
    check_page(flow.save(tmp_path / "flow.html"))


def test_a_flow_that_is_not_finished_and_of_a_negative_loss(tmp_path):
    start = torch.tensor([1.5, -1.0], dtype=torch.float64)
    problem = from_function(lambda x: (x**4).sum() - 100, start)
    flow = thalweg.flow(problem, 9.0, max_gradients=30, reads_sharpness=False)
    assert "Not finished" in flow.page().verdict
    check_page(flow.save(tmp_path / "flow.html"))


def test_a_flow_that_stays(tmp_path):
    problem = from_function(lambda x: (x**2).sum(), torch.zeros(2, dtype=torch.float64))
    check_page(thalweg.flow(problem, 1.0).save(tmp_path / "flow.html"))
