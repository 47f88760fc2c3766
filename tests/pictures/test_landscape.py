"""Landscapes against closed forms, dense evaluation, and numpy's SVD."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import SHELF, cut, draw, initialised
from thalweg import LayoutError, Problem, Surface, ThalwegError, landscape
from thalweg.pictures import (
    Along,
    BottomEigenvectors,
    FilterNormalised,
    Gradient,
    InterruptedLandscape,
    Path,
    Principal,
    TopEigenvectors,
    Towards,
    record_path,
)
from thalweg.pictures._evaluate import Evaluator
from thalweg.problems import from_function, quadratic, strict_saddle, two_spirals

F64 = torch.float64
EIGENVALUES = (5.0, 2.0, 1.0, -3.0)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def bowl():
    """A quadratic, off its critical point: exact everywhere."""
    problem = quadratic(EIGENVALUES)
    return problem, Surface(problem).at(draw(4, seed=3))


def by_hand(problem, theta):
    A, b = problem.model.A, problem.data[0]
    return 0.5 * theta @ A @ theta - b @ theta


@pytest.mark.parametrize("k", [1, 2, 3])
def test_a_quadratic_is_exact_in_every_cell_and_is_its_own_model(k):
    problem, point = bowl()
    seen = landscape(point, TopEigenvectors(k), generator=seeded(), num_cells=7, limits=2.0)
    D = torch.stack([axis.vector for axis in seen.axes], dim=1)
    for index in np.ndindex(*seen.values.shape):
        c = torch.stack([tick[i] for tick, i in zip(seen.ticks, index, strict=True)])
        assert float(seen.values[index]) == pytest.approx(
            float(by_hand(problem, point.vector + D @ c)), abs=1e-12
        )
    torch.testing.assert_close(
        torch.diag(seen.bend), torch.tensor(EIGENVALUES[:k], dtype=F64), rtol=1e-9, atol=1e-9
    )
    for piece in seen.slices:
        torch.testing.assert_close(piece.model, piece.losses, rtol=1e-11, atol=1e-11)
        assert piece.reach == 2.0
    assert seen.skew < 1e-12
    assert seen.num_nonfinite == 0


def test_directions_are_what_they_are_called():
    problem, point = bowl()
    A = problem.model.A
    g = A @ point.vector - problem.data[0]
    top, bottom, down = (
        direction.read(point, seeded())[0].vector
        for direction in (TopEigenvectors(), BottomEigenvectors(), Gradient())
    )
    torch.testing.assert_close(A @ top, 5.0 * top, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(A @ bottom, -3.0 * bottom, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(down, -g / g.norm())
    assert g @ top <= 0
    assert g @ bottom <= 0


def test_axes_that_are_not_orthogonal_are_made_so_and_say_it():
    _, point = bowl()
    first, second = (
        torch.tensor(v, dtype=F64) for v in ([1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0])
    )
    seen = landscape(
        point, (Along(first, "a"), Along(second, "b")), generator=seeded(), num_cells=3, limits=1.0
    )
    torch.testing.assert_close(seen.axes[1].vector, torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=F64))
    assert seen.axes[1].name == "b, less the other axes"


def test_filters_are_moved_by_their_own_norm_and_biases_are_not():
    model = initialised(
        nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))
    ).eval()
    problem = Problem(model, F.mse_loss, (draw(5, 2, 3, 3), draw(5, 2, seed=1)))
    point = Surface(problem).here()
    first, second = FilterNormalised(2).read(point, seeded())
    for axis in (first, second):
        moved = point.layout.unflatten(axis.vector)
        for name, parameter in point.params.items():
            if parameter.ndim == 1:
                assert not moved[name].any(), name
            else:
                torch.testing.assert_close(
                    moved[name].flatten(1).norm(dim=1), parameter.flatten(1).norm(dim=1)
                )
    assert not torch.equal(first.vector, second.vector)


def test_between_two_points_both_ends_are_met():
    problem, point = bowl()
    other = draw(4, seed=8)
    seen = landscape(point, Towards(other, "B"), generator=seeded(), limits=[(0.0, 1.0)])
    assert float(seen.values[0]) == pytest.approx(point.value, abs=1e-12)
    assert float(seen.values[-1]) == pytest.approx(float(by_hand(problem, other)), abs=1e-12)


@pytest.mark.parametrize("name", sorted(SHELF))
def test_many_at_a_time_are_the_same_numbers_as_one_by_one(name):
    problem = SHELF[name]().problem
    sizes = (5, 2) if name not in {"weighted", "padded"} else (2, 2, 2, 1)
    point = Surface(problem.with_data(cut(problem.data, *sizes))).here()
    places = point.vector + 0.1 * draw(6, point.layout.size, seed=2)
    together = Evaluator(point)
    losses = together.totals(places)
    alone = torch.tensor([Surface(problem).at(place).value for place in places], dtype=F64)
    torch.testing.assert_close(losses, alone, rtol=1e-10, atol=1e-12)
    assert together.num_evaluations == 6


def test_most_networks_are_read_many_at_a_time():
    for name in ("mlp", "conv", "softmax", "transformer", "tied", "next_token"):
        evaluator = Evaluator(Surface(SHELF[name]().problem).here())
        evaluator(evaluator.point.vector.repeat(3, 1))
        assert evaluator.way.endswith("by vmap"), (name, evaluator.way)
    lstm = Evaluator(Surface(SHELF["lstm"]().problem).here())
    lstm(lstm.point.vector.repeat(3, 1))
    assert lstm.way.startswith("one by one, since vmap fails")


# -- paths ----------------------------------------------------------------------------------


def random_path(places=30, n=50, dtype=F64):
    return Path.of(list(draw(places, n, seed=5).cumsum(0).to(dtype)), name="walk")


def test_the_share_of_the_variance_is_that_of_numpys_svd():
    path = random_path()
    problem = from_function(lambda θ: (θ**2).sum(), path.end)
    seen = landscape(
        Surface(problem).here(), Principal(path, 3), paths=[path], generator=seeded(), num_cells=2
    )
    X = path.places().numpy()
    X = X - X.mean(0)
    _, s, Vt = np.linalg.svd(X)
    track = seen.tracks[0]
    # Offsets are kept in float32.
    np.testing.assert_allclose(track.shares, (s**2 / (s**2).sum())[:3], rtol=1e-6)
    assert track.share == pytest.approx((s[:3] ** 2).sum() / (s**2).sum(), rel=1e-6)
    for axis, v in zip(seen.axes, Vt, strict=False):
        assert abs(float(axis.vector @ torch.from_numpy(v))) == pytest.approx(1, abs=1e-6)


def test_a_random_walk_fills_two_components_by_six_over_pi_squared():
    """The claim that the page warns with: (6/π²)(1 + 1/4) = 76 %."""
    steps, n = 300, 3000
    walk = torch.randn(steps, n, generator=seeded()).cumsum(0)
    path = Path.of(list(walk))
    problem = from_function(lambda θ: (θ**2).sum(), path.end)
    axes = Principal(path, 2).read(Surface(problem).here(), seeded())
    held = sum(float(axis.said.split(" %")[0]) for axis in axes)
    assert held == pytest.approx(100 * 6 / math.pi**2 * 1.25, abs=4)


def test_a_track_is_the_nearest_place_and_both_losses_are_read():
    """In a skewed frame too: least squares, not dot products."""
    path = random_path(places=6, n=4)
    problem, _ = bowl()
    point = Surface(problem).at(path.places()[2])
    u, v = draw(2, 4, seed=9)
    seen = landscape(
        point, (Towards(point.vector + u), Towards(point.vector + v)), paths=[path],
        generator=seeded(), num_cells=2,
    )  # fmt: skip
    assert seen.skew > 0.05
    track = seen.tracks[0]
    D = torch.stack([u, v], dim=1).numpy()
    for i, place in enumerate(path.places()):
        offset = (place - point.vector).numpy()
        c, *_ = np.linalg.lstsq(D, offset, rcond=None)
        flat = point.vector + torch.from_numpy(D @ c)
        np.testing.assert_allclose(track.coordinates[i].numpy(), c, rtol=1e-9, atol=1e-9)
        assert float(track.distances[i]) == pytest.approx(np.linalg.norm(offset - D @ c), abs=1e-9)
        assert float(track.losses[i]) == pytest.approx(float(by_hand(problem, place)), rel=1e-9)
        assert float(track.shown_losses[i]) == pytest.approx(
            float(by_hand(problem, flat)), rel=1e-9
        )


def test_a_path_within_the_plane_is_shown_without_error():
    """θ = 0 stays 0 in three of five coordinates: two components hold all."""

    def valley(θ):
        return θ[0] ** 2 + 10 * θ[1] ** 2 + (θ[2:] ** 2).sum()

    start = torch.tensor([2.0, 1.0, 0.0, 0.0, 0.0], dtype=F64)
    problem = from_function(valley, start)
    path = record_path(problem, lambda p: torch.optim.SGD(p, lr=0.03), num_steps=50)
    seen = landscape(Surface(problem).at(path.end), paths=[path], generator=seeded(), num_cells=5)
    track = seen.tracks[0]
    assert track.share == pytest.approx(1, abs=1e-9)
    assert track.error < 1e-6
    assert "100 %" in seen.headline
    low, high = (torch.stack([tick[i] for tick in seen.ticks]) for i in (0, -1))
    assert bool(((track.coordinates >= low) & (track.coordinates <= high)).all())


def test_recording_is_the_training_and_leaves_the_problem_alone():
    problem = two_spirals()
    before = {name: p.detach().clone() for name, p in problem.parameters.items()}
    path = record_path(
        problem, lambda p: torch.optim.SGD(p, lr=0.1), num_steps=7, batch_size=10_000, max_places=4
    )
    assert path.steps == (0, 3, 6, 7)
    assert all(torch.equal(p, before[name]) for name, p in problem.parameters.items())
    surface = Surface(problem)
    θ = surface.here().vector
    for _ in range(7):
        θ = θ - 0.1 * surface.at(θ).gradient_vector
    torch.testing.assert_close(path.end, θ, rtol=1e-5, atol=1e-6)


def test_our_own_optimizers_are_recorded_too():
    from thalweg.optim import Newton

    problem, _ = bowl()
    path = record_path(problem, Newton, num_steps=2)
    critical = torch.linalg.solve(problem.model.A, problem.data[0])
    torch.testing.assert_close(path.end, critical, rtol=1e-6, atol=1e-6)
    assert path.name == "Newton"


def test_a_recording_that_diverges_says_where():
    problem = from_function(lambda θ: (θ**4).sum(), torch.tensor([3.0, 2.0]))
    path = record_path(problem, lambda p: torch.optim.SGD(p, lr=1.0), num_steps=50)
    assert path.ending.startswith("ended in step")
    assert bool(path.places().isfinite().all())
    assert path.steps[-1] < 50


def test_memory_is_bounded_and_what_is_needed_is_said():
    problem = two_spirals()
    n = sum(p.numel() for p in problem.parameters.values())
    with pytest.raises(ThalwegError, match=rf"give max_places=5, or max_bytes={4 * n * 101}"):
        record_path(problem, num_steps=100, max_bytes=4 * n * 5)
    path = record_path(problem, num_steps=12, max_places=5, max_bytes=4 * n * 5)
    assert path.offsets.dtype == torch.float32
    assert path.num_places <= 5


# -- doubt ----------------------------------------------------------------------------------


def test_cells_that_are_not_finite_are_counted_and_drawn_as_gaps():
    problem = from_function(lambda θ: (θ.sum() + 0.5).log(), torch.zeros(2, dtype=F64))
    along = Along(torch.ones(2, dtype=F64))
    seen = landscape(Surface(problem).here(), along, generator=seeded(), limits=2.0, num_cells=41)
    outside = int((math.sqrt(2) * seen.ticks[0] + 0.5 <= 0).sum())
    assert seen.num_nonfinite == outside > 5
    assert math.isfinite(seen.range[0])
    assert '"values": [\n    "NaN"' in seen.to_json()


def test_the_error_of_a_part_of_the_data_is_the_one_it_makes():
    """Over many draws, the spread of heights and of the centre is the standard error told."""
    generator = seeded(1)
    x = torch.randn(400, 3, generator=generator, dtype=F64)
    y = torch.randn(400, 1, generator=generator, dtype=F64)
    problem = Problem(initialised(nn.Linear(3, 1)), F.mse_loss, (x, y))
    point = Surface(problem).here()
    along = Along(draw(4, seed=4))
    full = landscape(point, along, generator=seeded(), limits=1.0, num_cells=3)
    pulls, centres = [], []
    for seed in range(30):
        part = landscape(
            point, along, generator=seeded(seed), limits=1.0, num_cells=3, num_samples=80
        )
        off = (part.values - part.centre) - (full.values - full.centre)
        pulls.append(float(off[0] / part.stderr[0]))
        centres.append((part.centre - full.centre) / part.centre_stderr)
    for pull in (pulls, centres):
        # Student's t of 7 degrees has variance 7/5; a spread over 30 draws is right to an eighth.
        assert 0.7 < float(np.std(pull)) < 1.9
        assert abs(np.mean(pull)) < 4 * 1.2 / math.sqrt(30)


def test_an_interrupted_picture_keeps_what_was_read(monkeypatch):
    point = Surface(strict_saddle()).here()
    original = Evaluator.__call__

    def interrupted(self, places):
        if self.num_evaluations > 700:
            raise KeyboardInterrupt
        return original(self, places)

    monkeypatch.setattr(Evaluator, "__call__", interrupted)
    with pytest.raises(InterruptedLandscape) as caught:
        landscape(point, generator=seeded())
    seen = caught.value.found
    assert 0 < seen.num_unread < seen.values.numel()
    assert seen.is_partial
    assert seen.num_nonfinite == 0
    assert seen.headline.startswith("Interrupted with")
    # The coarse grid came first.
    assert bool(seen.values[::8, ::8].isfinite().all())


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda p: landscape(p, TopEigenvectors(2), generator=seeded(), num_cells=1), ThalwegError,
         "give a number from 2 to 301"),
        (lambda p: landscape(p, (TopEigenvectors(2), BottomEigenvectors(2)), generator=seeded()),
         ThalwegError, "4 axes were chosen"),
        (lambda p: landscape(p, (TopEigenvectors(), TopEigenvectors()), generator=seeded()),
         ThalwegError, "lies in the span of the others"),
        (lambda p: landscape(p, TopEigenvectors(), generator=seeded(), limits=[(1.0, 0.0)]),
         ThalwegError, "low < high"),
        (lambda p: landscape(p, TopEigenvectors(), generator=seeded(), num_samples=3),
         ThalwegError, "a sampling error takes 16"),
        (lambda p: landscape(p, FilterNormalised(), generator=seeded()), ThalwegError,
         "no parameter has rows"),
        (lambda p: landscape(p, Towards(torch.ones(3, dtype=F64)), generator=seeded()),
         LayoutError, "do not fit"),
        (lambda p: landscape(p, paths=[random_path()], generator=seeded()), LayoutError,
         "record it on the same problem"),
        (lambda p: TopEigenvectors(4), ThalwegError, "give 1, 2 or 3"),
        (lambda p: Principal(Path.of([p.vector, p.vector + 1]), 2).read(p, seeded()), ThalwegError,
         "span 1 dimension; give k=1"),
        (lambda p: Path.of([]), LayoutError, "give one or more"),
        (lambda p: record_path(strict_saddle(), num_steps=0), ThalwegError, "num_steps=0"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_with_the_way_out(call, error, said):
    _, point = bowl()
    with pytest.raises(error, match=said):
        call(point)


def test_at_a_critical_point_the_gradient_is_refused():
    point = Surface(strict_saddle()).at(torch.zeros(2, dtype=F64))
    with pytest.raises(ThalwegError, match="the gradient is zero here"):
        landscape(point, Gradient(), generator=seeded())
