"""Searches: kept on disk, in several processes, interrupted, refused, shown."""

import json

import pytest
import torch

from browser import check_page
from thalweg import ThalwegError, find_critical, problems
from thalweg.critical import (
    GradientTrustRegion,
    Initialisations,
    NewtonMR,
    Trajectories,
    index_against_error,
)
from thalweg.critical._figures import index_figure, low_middle_high, spectra_figure
from thalweg.critical._page import rank_correlation

FEW = Trajectories(max_steps=20)


def tiny():
    return problems.linear_autoencoder((3.0, 2.0, 1.0), 1)


def numbers(search):
    return [(p.number, p.params.tolist(), p.orbit, p.status, p.reason) for p in search.points]


def search(problem=None, n=3, **settings):
    return find_critical(problem or tiny(), n, starts=FEW, **settings)


def test_several_processes_find_the_same():
    assert numbers(search(n=11, num_processes=2)) == numbers(search(n=11))


def test_the_generator_decides():
    once = search(generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    assert numbers(search(generator=torch.Generator().manual_seed(1))) == numbers(once)
    assert numbers(search(generator=torch.Generator().manual_seed(2))) != numbers(once)


def test_a_search_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    from thalweg.critical._walks import Walks

    kept = tmp_path / "walks.npz"
    take, taken = Walks.take, []

    def interrupted(self, number, start, deflation):
        if len(taken) == 4:
            raise KeyboardInterrupt
        taken.append(number)
        return take(self, number, start, deflation)

    monkeypatch.setattr(Walks, "take", interrupted)
    part = search(n=11, resume=kept)
    assert part.is_partial
    assert [point.number for point in part.points] == [0, 1, 2, 3]
    assert "partial: 7 of 11 walks are missing" in part.headline
    assert "partial" in part.page().verdict
    monkeypatch.setattr(Walks, "take", lambda *a: (taken.append(a[1]), take(*a))[1])
    whole = search(n=11, resume=kept)
    assert taken == list(range(11))
    assert numbers(whole) == numbers(search(n=11))
    # And once more from the file alone, to the last bit.
    monkeypatch.setattr(Walks, "take", interrupted)
    again = search(n=11, resume=kept)
    assert numbers(again) == numbers(whole)
    for a, b in zip(again.points, whole.points, strict=True):
        assert a.certificate == b.certificate
        assert torch.equal(a.inertia.eigenvalues, b.inertia.eigenvalues)
        assert (a.inertia.interval, a.num_gradients) == (b.inertia.interval, b.num_gradients)


def test_nothing_finished_is_an_interruption(monkeypatch):
    from thalweg.critical._walks import Walks

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Walks, "take", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search()


def test_a_file_of_another_search_is_refused(tmp_path):
    kept = tmp_path / "walks.npz"
    search(n=2, resume=kept)
    with pytest.raises(ThalwegError, match="keeps another search"):
        search(n=2, resume=kept, solver=NewtonMR())
    other = tmp_path / "other.npz"
    other.write_bytes(b"nothing of ours")
    with pytest.raises(ThalwegError, match="no search that thalweg kept"):
        search(n=2, resume=other)
    assert other.read_bytes() == b"nothing of ours"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n": 0}, "at least one of each"),
        ({"num_processes": 0}, "at least one of each"),
        ({"tol": 0.0}, "give positive numbers"),
        ({"max_gradients": -1.0}, "give positive numbers"),
        ({"resume": "walks.txt"}, "ends in .npz"),
        ({"resume": "no/such/walks.npz"}, "create it"),
    ],
)
def test_arguments_that_cannot_be_used(settings, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ThalwegError, match=said):
        search(**settings)
    assert list(tmp_path.iterdir()) == []


def test_settings_out_of_range():
    with pytest.raises(ThalwegError, match="positive share"):
        GradientTrustRegion(radius=0.0)
    with pytest.raises(ThalwegError, match="noise is a share"):
        Trajectories(noise=-1.0)
    with pytest.raises(ThalwegError, match="at least one trajectory"):
        Trajectories(num_trajectories=0)


def test_starts_are_uniform_in_the_loss_between_the_ends_of_a_training():
    from thalweg.critical._ground import Ground

    ground = Ground(tiny())
    drawing = Trajectories(num_trajectories=1, max_steps=250, noise=0.0)
    starts = drawing.draw(ground, 100, torch.Generator().manual_seed(0), lambda share: None)
    values = torch.tensor([start.value for start in starts]).sort().values
    low, high = 1.5, ground.here().value
    shares = (values - low) / (high - low)
    # Kolmogorov–Smirnov: of 100 uniform draws 1.95/√100 is exceeded once in a thousand times.
    expected = (torch.arange(100) + 0.5) / 100
    assert float((shares - expected).abs().max()) < 1.95 / 100**0.5
    noisy = Trajectories(num_trajectories=1, max_steps=30)
    sources = [s.source for s in noisy.draw(ground, 4, torch.Generator(), lambda share: None)]
    assert [source.endswith("with noise") for source in sources] == [False, True, False, True]


def test_starts_at_random():
    found = find_critical(tiny(), 3, starts=Initialisations())
    assert all(point.start.source == "drawn at random" for point in found.points)


def test_work_that_is_spent_is_said():
    found = search(n=1, max_gradients=5, solver=NewtonMR(max_products=2))
    assert "the work allowed, 5 gradients, was spent" in found.points[0].reason
    assert not found.points[0].is_certified


def test_a_large_network_by_a_krylov_space():
    """Where only a part of the Hessian is read, the gradient can vanish but no index is certain."""
    found = search(n=2, dense_up_to=1)
    assert all(point.gradient_square < 1e-20 for point in found.points)
    assert not any(p.is_certified and p.inertia.eigenvalues is None for p in found.points)


def test_the_page(tmp_path):
    found = search(problems.linear_autoencoder(range(1, 5), 2), 6)
    path = found.save(tmp_path / "critical.html")
    assert found.headline in path.read_text(encoding="utf-8")
    values = [row[0] for row in found.page().sections[2].blocks[0].rows]
    assert [float(value) for value in values] == sorted(p.value for p in found.orbits)
    told = json.loads(found.to_json())
    assert told["schema"] == "thalweg/critical/1"
    assert len(told["points"]) == 6
    assert str(found).startswith(found.headline)


def test_the_figure_of_several_networks(tmp_path):
    """The index against the error, small: digits by networks of one and two hidden units."""
    searches = [
        find_critical(
            problems.pooled_classifier(h, 30), 2, starts=FEW, max_gradients=600, num_processes=2
        )
        for h in (1, 2)
    ]
    page = index_against_error(searches)
    assert "4 walks" in page.verdict
    check_page(page.save(tmp_path / "figure.html"))
    marks = sum(len(trace["x"]) for trace in index_figure(searches).data)
    assert marks == 4
    for search in searches:
        chosen = [point.value for _, point in low_middle_high(search.points)]
        assert chosen == sorted(chosen)
        assert search.points[0].inertia.eigenvalues is not None


def test_the_histograms_hold_every_eigenvalue_on_its_side():
    found = search(n=4)
    chosen = low_middle_high(found.points)
    for trace, (_, point) in zip(spectra_figure(chosen).data, chosen, strict=True):
        values = point.inertia.eigenvalues
        null = 1e-8 * float(values.abs().max())
        left, right = (
            sum(y for x, y in zip(trace["x"], trace["y"], strict=True) if x * side > 0.2)
            for side in (-1, 1)
        )
        assert left == pytest.approx(100 * float((values < -null).double().mean()), abs=1e-3)
        assert right == pytest.approx(100 * float((values > null).double().mean()), abs=1e-3)
        assert sum(trace["y"]) == pytest.approx(100, abs=1e-3)


def test_rank_correlation_against_scipy():
    from dataclasses import replace

    from scipy.stats import spearmanr

    found = search(n=4)
    values = [3.0, 1.0, 1.0, 2.0]
    indices = [2, 1, 0, 0]
    points = [
        replace(p, data_loss=v, inertia=replace(p.inertia, negative=i))
        for p, v, i in zip(found.points, values, indices, strict=True)
    ]
    assert rank_correlation(points) == pytest.approx(spearmanr(indices, values).statistic)
