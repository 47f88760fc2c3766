"""What holds for everything public in this room."""

import dataclasses

import pytest
import torch
from spectra import F64, Diagonal, generator, join, rotated_operator

import thalweg.linalg
from thalweg.linalg import (
    conjugate_gradient,
    density,
    diagonal,
    effective_rank,
    eigenpairs,
    extremes,
    follow,
    frobenius_norm,
    from_products,
    inertia,
    lanczos,
    least_residual,
    log_determinant,
    nearest,
    singular_values,
    trace,
)
from thalweg.linalg._sphere import unit_vectors

EIGENVALUES = join([30.0, 20.0, -10.0], torch.linspace(0.5, 2.0, 97))

READINGS = {
    "lanczos": lambda op, g, b: lanczos(op, b, 10),
    "eigenpairs": lambda op, g, b: eigenpairs(op, 2, generator=g),
    "extremes": lambda op, g, b: extremes(op, 2, generator=g),
    "density": lambda op, g, b: density(op, generator=g, num_probes=2, num_steps=10),
    "trace": lambda op, g, b: trace(op, generator=g),
    "conjugate_gradient": lambda op, g, b: conjugate_gradient(op, b),
    "least_residual": lambda op, g, b: least_residual(op, b, num_steps=20),
    "inertia": lambda op, g, b: inertia(op),
    "nearest": lambda op, g, b: nearest(op, 18.0, generator=g),
    "diagonal": lambda op, g, b: diagonal(op, generator=g),
    "frobenius_norm": lambda op, g, b: frobenius_norm(op, generator=g),
    "log_determinant": lambda op, g, b: log_determinant(
        op.shifted(11.0), 1.0, generator=g, num_probes=2, num_steps=8
    ),
    "follow": lambda op, g, b: follow(op, b, 20.0),
    "singular_values": lambda op, g, b: singular_values(as_rectangle(op), 2, generator=g),
    "effective_rank": lambda op, g, b: effective_rank(op.shifted(11.0), generator=g),
}


def as_rectangle(op):
    """The same matrix, with its transpose as a product of its own."""
    return from_products(op.__matmul__, op.__matmul__, (op.size, op.size), dtype=op.dtype)


def leaves(result):
    """Every number of a result, as tensors, results within results included."""
    found = []
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if dataclasses.is_dataclass(value):
            found += leaves(value)
        elif value is not None and not isinstance(value, str):
            found.append(torch.as_tensor(value))
    return found


def read(name, op, seed=0, requires_grad=False):
    b = torch.ones(op.size, dtype=op.dtype, requires_grad=requires_grad)
    return READINGS[name](op, generator(seed), b)


@pytest.fixture(params=READINGS)
def name(request):
    return request.param


# They make an operator, keep a result, or read one: none of them multiplies.
NO_PRODUCTS = {
    "alignment",
    "check_savable",
    "from_curvlinops",
    "from_matvec",
    "from_products",
    "load",
    "save",
}


def test_every_reading_is_listed():
    functions = {n for n in thalweg.linalg.__all__ if n[0].islower()}
    assert functions == set(READINGS) | NO_PRODUCTS


def test_one_seed_is_one_result_and_the_global_state_stands(name):
    op = rotated_operator(EIGENVALUES)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first, second = read(name, op), read(name, op)
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(leaves(first), leaves(second), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "name", ["eigenpairs", "extremes", "density", "trace", "nearest", "diagonal"]
)
def test_another_seed_is_another_result(name):
    op = rotated_operator(EIGENVALUES)
    pairs = zip(leaves(read(name, op, 0)), leaves(read(name, op, 1)), strict=True)
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_grad_mode_of_the_caller_does_not_matter(name, mode):
    op = rotated_operator(EIGENVALUES)
    plain = leaves(read(name, op))
    with mode():
        inside = leaves(read(name, op, requires_grad=True))
    for a, b in zip(plain, inside, strict=True):
        assert torch.equal(a, b)
        assert not b.requires_grad


def test_float32_stays_float32_on_its_device_and_agrees(name):
    single = rotated_operator(EIGENVALUES, dtype=torch.float32)
    double = rotated_operator(EIGENVALUES)
    result = read(name, single)
    for field in ("values", "vectors", "residuals", "bounds", "x", "alphas", "basis"):
        value = getattr(result, field, None)
        if isinstance(value, torch.Tensor):
            assert value.dtype == torch.float32
            assert value.device == single.device
    tell = {
        "lanczos": lambda r: r.alphas[:5],
        "eigenpairs": lambda r: r.values,
        "extremes": lambda r: r.bottom.values[0],
        "density": lambda r: torch.as_tensor(float(r.weights.sum())),
        "trace": lambda r: torch.as_tensor(r.value > 0),
        "conjugate_gradient": lambda r: torch.as_tensor(r.curvature is None),
        "least_residual": lambda r: r.x,
        "inertia": lambda r: torch.as_tensor(r.negative),
        "follow": lambda r: torch.as_tensor(r.value),
        "nearest": lambda r: r.values,
        "diagonal": lambda r: r.values.sum() > 0,
        "frobenius_norm": lambda r: torch.as_tensor(r.value > 0),
        "log_determinant": lambda r: torch.as_tensor(r.value > 0),
        "effective_rank": lambda r: torch.as_tensor(r.value > 1),
        "singular_values": lambda r: r.largest.values,
    }[name]
    if name in ("lanczos", "least_residual"):
        a, b = tell(result).double(), tell(read(name, double)).double()
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)
    else:
        # Other draws in another dtype: the numbers that do not depend on them.
        a, b = tell(result).double(), tell(read(name, double)).double()
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-3)


def test_products_reported_are_products_taken(name):
    op = Diagonal(EIGENVALUES)
    assert read(name, op).num_products == op.calls > 0


def test_results_are_frozen(name):
    result = read(name, Diagonal(EIGENVALUES))
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.num_products = 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probes_lie_uniformly_on_the_sphere(dtype):
    op = Diagonal(torch.ones(3, dtype=dtype))
    u = unit_vectors(op, 4000, generator()).double()
    torch.testing.assert_close(u.norm(dim=0), torch.ones(4000, dtype=F64), atol=1e-6, rtol=0)
    # Archimedes: every coordinate on the sphere in three dimensions is uniform on [−1, 1], with
    # moments 0, 1/3, 0, 1/5. Their deviations over 4000 draws are below 0.01.
    for power, true in [(1, 0.0), (2, 1 / 3), (3, 0.0), (4, 1 / 5)]:
        assert float((u[0] ** power).mean()) == pytest.approx(true, abs=0.04)


def test_face_is_sorted_and_complete():
    face = thalweg.linalg.__all__
    assert list(face) == sorted(face)
    assert all(getattr(thalweg.linalg, one).__doc__ for one in face)
    assert EIGENVALUES.dtype == F64
