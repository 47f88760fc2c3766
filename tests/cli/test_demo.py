"""The demo from end to end: a network that does not train, its ailment, and a proved remedy."""

import json
from statistics import fmean

from typer.testing import CliRunner

from thalweg.cli._app import app

TARGET = "thalweg.problems:deep_sigmoid_digits"


def test_the_demo_finds_the_vanishing_gradient_and_proves_a_remedy(tmp_path):
    out = tmp_path / "report.html"
    arguments = ["examine", TARGET, "--budget", "240g", "--json", "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    told = json.loads(result.stdout)

    vanishing = told["findings"][0]
    assert vanishing["ailment"] == "vanishing gradient"
    assert vanishing["layers"][0] == "0"
    measured = vanishing["evidence"]["factor per layer"]
    predicted = vanishing["evidence"]["factor per layer, predicted"]
    assert abs(measured / predicted - 1) < 0.1
    # σ_w² = 1/3 and σ'(0) = 1/4 at torch's default initialisation.
    assert abs(predicted - (1 / 3) ** 0.5 / 4) < 0.01

    best = told["remedies"][0]
    assert best["outcome"] == "proved to help"
    assert best["gain"]["low"] > 0
    accuracies = [run["after"]["accuracy"] for run in best["runs"]]
    as_it_is = [run["after"]["accuracy"] for run in told["control"]]
    assert fmean(accuracies) > 0.9
    assert max(as_it_is) < 0.2
    assert [run["seed"] for run in best["runs"]] == [run["seed"] for run in told["control"]]

    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "The gradient vanishes: from " in page
    assert best["name"].split(",")[0].split(" (")[0] in page
