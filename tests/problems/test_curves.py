"""CURVES against the figures that it was calibrated on, and its losses against plain sums."""

import math

import pytest
import torch

from thalweg import ProblemError, Surface, problems


@pytest.fixture(scope="module")
def images(large):
    return large.data, large.test


def test_the_shape_of_the_benchmark(images):
    train, test = images
    assert train.shape == (20_000, 784)
    assert test.shape == (10_000, 784)
    for x in images:
        assert x.dtype == torch.float32
        assert float(x.min()) >= 0
        assert 0.9 < float(x.max()) <= 1


def test_it_is_calibrated_on_published_figures(images):
    """Total variance 16, error of 18 principal components 5.90."""
    for x in images:
        centred = x - x.mean(0)
        spectrum = torch.linalg.eigvalsh((centred.T @ centred).double() / len(x))
        assert 16.2 < float(spectrum.sum()) < 16.3
        assert 5.87 < float(spectrum[:-18].sum()) < 5.94
        assert abs(problems.mean_image_loss(x) - 93.8) < 0.15
        assert abs(problems.entropy_floor(x) - 29.9) < 0.05


def test_a_pixel_is_the_pen_at_the_nearest_place_of_the_curve():
    """By hand, one pixel after the other, from the same points."""
    (image,), _ = problems.curves(num_train=1, num_test=0, seed=7)
    generator = torch.Generator().manual_seed(7)
    points = (4.5 + 18 * torch.rand((3, 2), generator=generator)).double().tolist()
    nearest = [math.inf] * 784
    for k in range(64):
        t = k / 63
        y, x = (
            (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
            for a, b, c in zip(*points, strict=True)
        )
        for i in range(784):
            nearest[i] = min(nearest[i], (i // 28 - y) ** 2 + (i % 28 - x) ** 2)
    expected = torch.tensor([math.exp(-d / (2 * 0.8**2)) for d in nearest])
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-6)


def test_held_out_images_are_others():
    train, test = problems.curves(num_train=300, num_test=200)
    assert torch.cdist(train, test).min() > 0.1


def test_the_seed_decides():
    once, again = (problems.curves(300, 10)[0] for _ in range(2))
    assert torch.equal(once, again)
    assert not torch.equal(once, problems.curves(300, 10, seed=1)[0])


@pytest.mark.parametrize("numbers", [(-1, 5), (5, -1)])
def test_no_negative_number_of_images(numbers):
    with pytest.raises(ProblemError, match="0 or more"):
        problems.curves(*numbers)


def test_no_held_out_images_are_none():
    train, test = problems.curves(3, 0)
    assert train.shape == (3, 784)
    assert test.shape == (0, 784)


def test_a_perfect_reconstruction_costs_the_floor_and_the_mean_image_what_it_says():
    x = problems.curves(100, 0)[0].double()
    loss = problems.small_curves_autoencoder().to(dtype=torch.float64).loss
    # The loss of the small problem sums over 196 pixels: four times 196 make up 784. Where a pixel
    # is 0 its logit is −∞; at −37 it costs 1e-16 nats.
    pieces = torch.logit(x, eps=1e-16).chunk(4, 1), x.chunk(4, 1)
    exact = sum(float(loss(z, y)) for z, y in zip(*pieces, strict=True))
    assert math.isclose(exact, problems.entropy_floor(x), rel_tol=1e-9)
    mean = torch.logit(x.mean(0)).expand_as(x)
    at_mean = sum(float(loss(z, y)) for z, y in zip(mean.chunk(4, 1), x.chunk(4, 1), strict=True))
    assert math.isclose(at_mean, problems.mean_image_loss(x), rel_tol=1e-9)


def test_the_squared_error_is_the_total_variance_at_the_mean_image():
    x = problems.curves(100, 0)[0].double()
    logits = torch.logit(x.mean(0)).expand_as(x)
    variance = float(x.var(0, unbiased=False).sum())
    assert math.isclose(problems.squared_error(logits, x), variance, rel_tol=1e-9)


def test_the_loss_sums_over_pixels_and_averages_over_images():
    """Also of uneven minibatches."""
    problem = problems.small_curves_autoencoder().to(dtype=torch.float64)
    x = problem.data[0][:7]
    z = problem.model(x).detach()
    q = torch.sigmoid(z)
    expected = float(-(x * q.log() + (1 - x) * (1 - q).log()).sum()) / 7
    for batches in ([x], [x[:5], x[5:]]):
        value = Surface(problem.with_data(batches)).here().value
        assert math.isclose(value, expected, rel_tol=1e-9)


@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_each_unit_listens_to_fifteen_inputs_at_most(scale):
    kept = []
    for layer in problems.small_curves_autoencoder(scale=scale).model:
        if isinstance(layer, torch.nn.Linear):
            assert not layer.bias.any()
            weight = layer.weight.detach()
            assert ((weight != 0).sum(1) == min(15, layer.in_features)).all()
            kept.append(weight[weight != 0] / scale)
    kept = torch.cat(kept)
    # Standard normal: five standard errors of mean and deviation.
    assert abs(float(kept.mean())) < 5 / len(kept) ** 0.5
    assert abs(float(kept.std()) - 1) < 5 / (2 * len(kept)) ** 0.5


def test_the_code_is_linear(large):
    """The layers of 784-…-6 and back, a logistic function after all but code and logits."""
    kinds = "".join(type(m).__name__[0] for m in large.model)
    assert kinds == "LSLSLSLSLSL" + "LSLSLSLSLSL"
    widths = [m.out_features for m in large.model if isinstance(m, torch.nn.Linear)]
    assert widths == [400, 200, 100, 50, 25, 6, 25, 50, 100, 200, 400, 784]
