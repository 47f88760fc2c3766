"""The page of a spectrum, opened in a browser: exact and estimated, indefinite and not, flat."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from browser import check_page
from thalweg import Problem, Surface, spectrum
from thalweg.curvature import InterruptedSpectrum
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


@pytest.mark.parametrize(
    ("stage", "missing"),
    [
        ("density", ["density and counts", "trace", "Frobenius norm", "effective rank"]),
        ("trace", ["trace", "Frobenius norm", "effective rank"]),
        ("frobenius_norm", ["Frobenius norm", "effective rank"]),
        ("effective_rank", ["effective rank"]),
    ],
)
def test_ctrl_c_leaves_what_was_found_and_counts_that_hold(stage, missing, tmp_path, monkeypatch):
    def interrupted(*arguments, **settings):
        raise KeyboardInterrupt

    point = digits()
    ggn = point.ggn()
    values = torch.linalg.eigvalsh(ggn.to_dense().double())
    monkeypatch.setattr(f"thalweg.curvature._read_spectrum.{stage}", interrupted)
    with pytest.raises(InterruptedSpectrum) as caught:
        read(point, ggn, dense_up_to=0)
    found = caught.value.found
    assert found.is_partial
    assert [name for name in found.omissions if name in missing] == missing
    assert found.headline.startswith("Interrupted: ")
    for x in (float(values[-3]), 0.1 * float(values[-1]), 2 * float(values[-1])):
        above, below = found.above(x * 0.999), found.below(x * 0.999)
        assert above.low <= int((values > x * 0.999).sum()) <= above.high
        assert below.low <= int((values < x * 0.999).sum()) <= below.high
    text = found.page().text()
    assert "interrupted before it" in text
    check_page(found.save(tmp_path / "partial.html"))


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
