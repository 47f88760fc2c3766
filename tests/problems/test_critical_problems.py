"""Problems whose critical points are known: their refusals, data and derivatives."""

import pytest
import torch

from thalweg import ProblemError, Surface, problems


def test_a_linear_autoencoder_has_the_loss_of_its_formula():
    problem = problems.linear_autoencoder((3.0, 2.0, 1.0), 2, seed=4)
    W1, W2 = (layer.weight.detach() for layer in problem.model)
    rest = torch.eye(3, dtype=torch.float64) - W2 @ W1
    sigma = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    expected = 0.5 * float(torch.trace(rest @ sigma @ rest.T))
    assert Surface(problem).here().value == pytest.approx(expected, rel=1e-13)


def test_a_factorisation_approximates_a_matrix_of_these_singular_values():
    problem = problems.matrix_factorisation((5.0, 2.0), 1)
    x, y = problem.data
    torch.testing.assert_close(x, torch.eye(2, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.svdvals(y), torch.tensor([5.0, 2.0]).double())


@pytest.mark.parametrize("seed", range(3))
def test_phase_retrieval_is_the_expectation_over_gaussian_measurements(seed):
    problem = problems.phase_retrieval(3, seed)
    theta = Surface(problem).here().vector
    a = torch.randn(200_000, 3, generator=torch.Generator().manual_seed(seed)).double()
    losses = 0.25 * ((a @ theta).square() - a[:, 0].square()).square()
    error = float(losses.std()) / len(a) ** 0.5
    assert abs(float(losses.mean()) - Surface(problem).here().value) < 4 * error


def test_hessians_of_the_saddles():
    origin = {"theta": torch.zeros(2, dtype=torch.float64)}
    plain = Surface(problems.quadratic_saddle()).at(origin)
    assert plain.hessian().to_dense().tolist() == [[2.0, 0.0], [0.0, -2.0]]
    monkey = Surface(problems.monkey_saddle()).at(origin)
    assert monkey.hessian().to_dense().abs().max() == 0


def test_pooled_digits_keep_their_means():
    (x, _), _ = problems.digits()
    pooled, _ = problems.pooled_digits()
    image = x[7].double().reshape(8, 8)
    corner = image[:2, 6:].mean()
    raw = x.double().reshape(-1, 4, 2, 4, 2).mean((2, 4))
    assert pooled[7, 3] == pytest.approx(float((corner - raw.mean()) / raw.std()), rel=1e-12)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: problems.linear_autoencoder(()), "one eigenvalue or more"),
        (lambda: problems.linear_autoencoder((1.0, 0.0)), "all positive"),
        (lambda: problems.matrix_factorisation((-1.0,)), "none negative"),
        (lambda: problems.phase_retrieval(1), "two unknowns"),
        (lambda: problems.pooled_digits(0), "from 1 to"),
        (lambda: problems.pooled_classifier(0), "one hidden unit"),
        (lambda: problems.linear_classes(problems.swish_autoencoder(5)), "are not known"),
        (lambda: problems.linear_classes(problems.linear_autoencoder((2, 2, 1))), "distinct"),
    ],
)
def test_what_cannot_be_made(make, said):
    with pytest.raises(ProblemError, match=said):
        make()
