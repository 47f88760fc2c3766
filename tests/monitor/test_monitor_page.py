"""The page of a watched training in a browser: a healthy one, one that breaks, none at all."""

import pytest
import torch.nn.functional as F
from loops import batches, network, sgd, watched
from torch import nn

from browser import check_page
from thalweg import Monitor

pytestmark = pytest.mark.usefixtures("unchecked")


def test_a_healthy_training():
    model = network()
    page = watched(model, sgd(model), batches(6)).page()
    assert page.verdict == "No alert"
    titles = [section.title for section in page.sections]
    assert titles == [
        "Alerts",
        "Loss",
        "Gradient by layer",
        "Update by layer",
        "Sharpness against the stability limit",
        "Noise and units",
        "Spectrum",
        "What the monitor cost, and what it could not read",
    ]


def test_a_training_that_breaks(tmp_path):
    model = network()
    given = batches(6)
    given[3] = (given[3][0] * float("nan"), given[3][1])
    watch = watched(model, sgd(model), given)
    page = watch.page()
    check_page(watch.save(tmp_path / "monitor.html"))
    assert page.verdict.startswith("Not finite at step 4")
    assert watch.alerts[0].sentence in page.html()
    figures = [b for s in page.sections for b in s.blocks if hasattr(b, "layout")]
    assert all(figure.layout["shapes"][0]["x0"] == 4 for figure in figures)


def test_many_layers_and_nothing_read(tmp_path):
    layers = [nn.Linear(4, 4) for _ in range(30)]
    model = nn.Sequential(*layers, nn.Linear(4, 3)).double()
    page = watched(model, sgd(model), batches(8)).page()
    check_page(page.save(tmp_path / "many.html"))
    idle = network()
    with Monitor(idle, F.cross_entropy, sgd(idle)) as watch:
        pass
    check_page(watch.save(tmp_path / "nothing.html"))
    assert watch.page().verdict == "Nothing was read"
