"""Numbers read on some of the data: within their own error of the number on all."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import SHELF, draw, draw_classes, initialised
from thalweg import Problem, ProblemError, RandomModelError, Surface, eigenpairs
from thalweg.surface import SampleEstimate, sample_estimate

N = 600


def regression():
    x = draw(N, 3)
    y = x @ draw(3, 2, seed=1) + draw(N, 2, seed=2)
    return Problem(initialised(nn.Linear(3, 2), scale=0.3), F.mse_loss, (x, y))


def classification():
    """Uneven weights: a third of the targets is padding, so that a mean is a ratio."""
    x, y = draw(N, 3), draw_classes(3, N)
    y[::3] = -100
    return Problem(initialised(nn.Linear(3, 3)), F.cross_entropy, (x, y))


def value(problem):
    return Surface(problem).here().value


def curvature(problem):
    H = Surface(problem).here().hessian()
    v = draw(H.size, seed=5)
    return float(v @ (H @ v))


def slope(problem):
    return float(Surface(problem).here().gradient_vector.norm())


def estimates(problem, reading, n, num_seeds, num_parts=8):
    return [
        sample_estimate(
            problem,
            reading,
            num_samples=n,
            num_parts=num_parts,
            generator=torch.Generator().manual_seed(seed),
        )
        for seed in range(num_seeds)
    ]


@pytest.mark.parametrize(
    ("make", "reading"),
    [(regression, slope), (classification, value), (classification, curvature)],
)
def test_the_number_is_within_its_own_error(make, reading):
    """(value − truth)/stderr over 24 seeds is t with 7 degrees of freedom: variance 7/5.

    Its mean square has a standard deviation of 1.4·√((κ−1)/24) ≈ 0.57 (κ = 5 of t₇): 4 of them.
    """
    problem = make()
    truth = reading(problem)
    found = estimates(problem, reading, 160, 24)
    t = torch.tensor([(e.value - e.bias - truth) / e.stderr for e in found])
    assert abs(float(t.mean())) < 4 * (1.4 / 24) ** 0.5
    assert 0.35 < float(t.square().mean()) < 3.7


def test_the_error_falls_with_the_samples():
    """As √((1 − n/N)/n): from 64 to 512 samples of 600 by √(0.893/0.147 · 8) = 7.0."""
    few, many = (estimates(regression(), value, n, 10) for n in (64, 512))
    ratio = sum(e.stderr for e in few) / sum(e.stderr for e in many)
    assert ratio == pytest.approx(7.0, rel=0.35)


def test_all_samples_have_no_sampling_error():
    problem = regression()
    (estimate,) = estimates(problem, curvature, N, 1)
    assert estimate.value == pytest.approx(curvature(problem), rel=1e-12)
    assert (estimate.stderr, estimate.bias) == (0.0, 0.0)


def test_the_bias_of_a_norm_is_seen():
    """At the minimum the gradient is 0 on all data and its norm on n of them is not.

    E‖g_n‖ falls as 1/√n there, not smoothly: of the bias, its estimate sees the factor
    (√K − 1)/(K − 1), 0.26 for K = 8; of ‖g_n‖², which is smooth, all of it.
    """
    problem = regression()
    x, y = problem.data
    X = torch.cat([x, torch.ones(N, 1, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(X, y).solution
    with torch.no_grad():
        problem.model.weight.copy_(solution[:3].T)
        problem.model.bias.copy_(solution[3])
    found = estimates(problem, lambda part: slope(part) ** 2, 160, 20)
    mean = sum(e.value for e in found) / 20
    bias = sum(e.bias for e in found) / 20
    assert mean > 1e-3
    assert bias == pytest.approx(mean, rel=0.3)


def test_the_largest_eigenvalue_of_a_part():
    problem = classification()

    def top(part):
        generator = torch.Generator().manual_seed(0)
        ggn = Surface(part).here().ggn()
        return float(eigenpairs(ggn, k=1, generator=generator).values[0])

    (estimate,) = estimates(problem, top, 400, 1)
    assert abs(estimate.value - estimate.bias - top(problem)) < 4 * estimate.stderr
    assert estimate.stderr < 0.1 * estimate.value


def test_parts_are_disjoint_and_as_even_as_can_be():
    seen = []

    def reading(part):
        seen.append([tuple(row.tolist()) for row in part.batches[0][0]])
        return float(len(seen))

    (estimate,) = estimates(regression(), reading, 43, 1, num_parts=5)
    whole, *parts = seen
    assert [len(part) for part in parts] == [9, 9, 9, 8, 8]
    assert sorted(row for part in parts for row in part) == sorted(whole)
    assert (estimate.num_samples, estimate.num_parts) == (43, 5)
    assert estimate.value == 1.0


def test_it_says_what_it_is():
    estimate = SampleEstimate(0.123456789, 0.0123, 0.0011, 1600, 8)
    assert str(estimate) == "0.123457 ± 0.012 (bias 0.0011, on 1,600 samples)"


def test_what_cannot_be_sampled_is_refused(generator):
    problem = regression()
    for n, k, said in [(15, 8, "from 16 to 600"), (601, 8, "from 16 to 600"), (9, 1, "2 or more")]:
        with pytest.raises(ProblemError, match=said):
            sample_estimate(problem, value, num_samples=n, num_parts=k, generator=generator)
    ragged = SHELF["next_token"]().problem
    ids = torch.ones(2, 9, dtype=torch.long)
    longer = {"input_ids": ids, "attention_mask": ids, "labels": ids}
    both = ragged.with_data([ragged.data, longer])
    with pytest.raises(ProblemError, match=r"cannot be joined .* pad them"):
        sample_estimate(both, value, num_samples=8, num_parts=2, generator=generator)
    noisy = Problem(nn.Sequential(nn.Dropout(0.5), problem.model), F.mse_loss, problem.data)
    with pytest.raises(RandomModelError, match="Dropout"):
        sample_estimate(noisy, value, num_samples=20, generator=generator)
