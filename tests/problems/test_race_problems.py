"""The problems of the optimizers' races are what their names say."""

import math

import pytest
import torch

from thalweg import Surface, problems

SEEDS = (0, 1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_strict_saddle(seed):
    """All curvature of zero weights sits between the layers: W₂ᵀ times W₁, so λ comes in ± pairs.

    ∂²L/∂W₂ₖⱼ∂W₁ⱼᵢ = E[(p_k − y_k) x_i] = C_ki for each of 25 units j: eigenvalues are ± the
    singular values of C, 25 times, next to those of the last bias, diag(p) − ppᵀ.
    """
    problem = problems.tanh_digits_at_the_saddle(seed)
    x, y = problem.data
    with torch.no_grad():
        for p in problem.model.parameters():
            p.zero_()
        problem.model[2].bias.copy_((torch.bincount(y) / len(y)).log())
    point = Surface(problem.to(dtype=torch.float64)).here()
    assert point.gradient_vector.norm() < 1e-6
    share = torch.bincount(y).double() / len(y)
    assert math.isclose(point.value, float(torch.special.entr(share).sum()), rel_tol=1e-7)
    v = torch.zeros(1885, dtype=torch.float64)
    C = (share - torch.eye(10, dtype=torch.float64)[y]).T @ _with_one(x.double()) / len(x)
    left, sizes, right = torch.linalg.svd(C)
    # Unit 0: W₁ row 0 is 0:64, b₁ entry 0 is 1600, W₂ column 0 is 1625::25.
    v[:64], v[1600], v[1625:1875:25] = right[0, :64], right[0, 64], -left[:, 0]
    product = point.hessian() @ v
    torch.testing.assert_close(product, -sizes[0] * v, rtol=1e-5, atol=1e-6)


def _with_one(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], 1)


def test_the_start_is_at_the_saddle():
    weights = problems.tanh_digits_at_the_saddle().model[0].weight.detach()
    assert 0.9e-5 < weights.std() < 1.1e-5
    assert not problems.tanh_digits_at_the_saddle().model[0].bias.any()


@pytest.mark.parametrize("seed", SEEDS)
def test_three_labels_in_ten_are_drawn_anew(seed):
    noisy, clean = problems.noisy_digits(seed), problems.tanh_digits(seed)
    changed = (noisy.data[1] != clean.data[1]).sum()
    # 431 are drawn anew; Binomial(431, 0.9) has a deviation of 6.2, five of which are allowed.
    assert abs(changed - 0.9 * 431) < 31
    assert torch.equal(noisy.data[0], clean.data[0])
    assert torch.equal(noisy.test[1], clean.test[1])
    assert noisy.data[1].min() == 0
    assert noisy.data[1].max() == 9


def test_pixels_are_standardised_by_those_to_train_on():
    x, _ = problems.tanh_digits().data
    assert abs(float(x.mean())) < 1e-5
    assert abs(float(x.std()) - 1) < 1e-5
    grey, _ = problems.digits()[0]
    held_out, _ = problems.digits()[1]
    torch.testing.assert_close(
        problems.tanh_digits().test[0], (held_out - grey.mean()) / grey.std(), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("factory", "scale"),
    [(problems.deep_tanh_digits, 0.5), (problems.vanishing_tanh_digits, 0.25)],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_deep_layers_shrink_signal_and_gradient(factory, scale, seed):
    problem = factory(seed)
    layers = [m for m in problem.model if isinstance(m, torch.nn.Linear)]
    assert len(layers) == 11
    assert sum(isinstance(m, torch.nn.Tanh) for m in problem.model) == 10
    for layer in layers:
        # An estimate of a deviation from n draws has a relative error of 1/√2n: five of them.
        n = layer.weight.numel()
        std = scale / layer.in_features**0.5
        assert abs(float(layer.weight.detach().std()) / std - 1) < 5 / (2 * n) ** 0.5
        assert not layer.bias.any()
    point = Surface(problem).here()
    assert abs(point.value - math.log(10)) < 2e-3
    first = float(point.gradient["0.weight"].norm())
    low, high = (5e-4, 2e-3) if scale == 0.5 else (6e-7, 2e-6)
    assert low < first < high
