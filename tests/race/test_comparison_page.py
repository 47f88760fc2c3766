"""The page of a comparison in a browser: a winner, a wreck, our own records, many contenders."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import thalweg
from browser import check_page
from thalweg.race import GradientContender, compare


def regression(seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.linspace(-2, 2, 60, dtype=torch.float64).unsqueeze(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    test = torch.rand(20, 1, generator=generator, dtype=torch.float64)
    return thalweg.Problem(model, F.mse_loss, (x, x.sin()), test=(test, test.sin()), name="a sine")


def wild():
    return GradientContender("x", lambda params, lr: torch.optim.SGD(params, lr=lr), [{"lr": 1e9}])


@pytest.fixture(scope="module")
def race():
    names = ["newton-cg", "heavy-ball", "adam", "lbfgs", "sgd", "saddle-free-dense"]
    contenders = {name: thalweg.race.SHELF[name] for name in names} | {"wild": wild()}
    return compare(regression, contenders, budget="120g", trials=1, seeds=2, target=1e-3)


def test_the_page_holds_in_a_browser(race, tmp_path):
    path = race.save(tmp_path / "compare.html")
    text = path.read_text(encoding="utf-8")
    for heading in ("Results", "Training loss", "Sharpness against", "Step by step: newton-cg"):
        assert heading in text
    assert path.stat().st_size < 6e6
    check_page(path)


def test_everybody_is_on_it(race):
    page = race.page()
    tables = [b for s in page.sections for b in s.blocks if isinstance(b, thalweg.report.Table)]
    results = tables[1]
    assert [row[0] for row in results.rows] == [entry.name for entry in race.entries]
    assert race.entries[0].name == race.recommendation.name
    assert "∞" in next(row for row in results.rows if row[0] == "wild")[1]
    titles = [section.title for section in page.sections]
    assert "Runs that broke off" in titles
    assert race.recommendation.sentence in page.lead


def test_records_show_what_was_predicted(race):
    records = race.entry("newton-cg").trials[0].records
    assert records
    assert all(record.gradient_equivalents > 1 for record in records)
    spent = sum(record.gradient_equivalents for record in records)
    assert spent == pytest.approx(race.entry("newton-cg").trials[0].marks[-1].gradients)
    assert race.entry("adam").trials[0].records == ()


def test_a_race_of_one_has_a_page_too(tmp_path):
    alone = compare(regression, ["adam"], budget="3g", trials=1, seeds=1)
    assert "ran alone" in alone.page().verdict
    wreck = compare(regression, {"wild": wild()}, budget="60g", trials=1, seeds=1)
    assert "no optimizer trains this" in wreck.page().verdict
    assert wreck.recommendation.name == ""
    check_page(wreck.save(tmp_path / "wreck.html"))
