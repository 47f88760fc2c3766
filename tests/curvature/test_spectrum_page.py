"""The page of a spectrum, opened in a browser: exact and estimated, indefinite and not, flat."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from browser import check_page
from thalweg import Problem, Surface, spectrum
from thalweg.problems import relu_digits


def read(point, operator, **settings):
    return spectrum(point, operator, generator=torch.Generator().manual_seed(0), **settings)


def digits():
    part = relu_digits(depth=2, width=4).subsampled(100, torch.Generator().manual_seed(0))
    return Surface(part).here()


def flat():
    x = torch.zeros(2, 1)
    return Surface(Problem(nn.Linear(1, 1, bias=False), F.mse_loss, (x, x))).here()


CASES = {
    "all eigenvalues": (digits, "hessian", {}, "curve down"),
    "a density": (digits, "hessian", {"dense_up_to": 0}, "curve down"),
    "a flat surface": (flat, "hessian", {"k": 1}, "the gradient is zero"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_page(name, tmp_path):
    make, kind, settings, said = CASES[name]
    point = make()
    found = read(point, getattr(point, kind)(), **settings)
    assert said in found.headline
    path = found.save(tmp_path / "spectrum.html")
    assert found.headline in path.read_text(encoding="utf-8")
    check_page(path)


def test_every_pair_stands_in_the_table_once():
    point = digits()
    found = read(point, point.ggn(), k=4)
    (table,) = [s.blocks[0] for s in found.page().sections if s.title.startswith("The outermost")]
    n = found.num_parameters
    ranks = [row[0] for row in table.rows]
    assert ranks == [f"{i:,}" for i in (1, 2, 3, 4, n - 3, n - 2, n - 1, n)]
    shown = [float(row[1].replace("−", "-")) for row in table.rows]
    assert shown[:4] == pytest.approx(found.extremes.top.values.tolist(), rel=1e-4)
    assert shown[:3:-1] == pytest.approx(found.extremes.bottom.values.tolist(), rel=1e-4, abs=1e-12)


def test_what_is_not_known_is_said():
    point = digits()
    found = read(point, point.hessian(), dense_up_to=0)
    (section,) = [s for s in found.page().sections if s.title == "What is not known"]
    told = dict(section.blocks[0].rows)
    assert "positive semidefinite" in told["effective rank"]
    assert "99 %" in told["eigenvalues outside those found"]
