"""What a tape holds: counted in arrays of m samples × 64 units, on a network of such layers."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from benchmarks.allocations import allocated
from torch import nn

import thalweg
from thalweg.surface import Taped
from thalweg.tape import _multiply

SAMPLES, UNITS, CLASSES = 512, 64, 8
ARRAY = SAMPLES * UNITS * 4


@pytest.fixture(params=[True, False], ids=["oneDNN", "torch"])
def is_onednn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Either library for all products, however small."""
    if request.param and not _multiply.has_onednn():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(_multiply, "onednn_is_faster", lambda _: request.param)
    monkeypatch.setattr(_multiply, "_LEAST_MULTIPLICATIONS", 1)
    return request.param


def network() -> thalweg.Point:
    torch.manual_seed(0)
    layers = [nn.Linear(UNITS, UNITS), nn.Sigmoid(), nn.Linear(UNITS, UNITS), nn.Sigmoid()]
    model = nn.Sequential(*layers, nn.Linear(UNITS, CLASSES))
    x, y = torch.randn(SAMPLES, UNITS), torch.arange(SAMPLES) % CLASSES
    return thalweg.Surface(thalweg.Problem(model, nn.functional.cross_entropy, (x, y))).here()


def arrays(call: Callable[[], Any]) -> tuple[float, float]:
    """(Most that torch held at once during a call, what is left of it after), beyond before."""
    most, left = allocated(call)
    return most / ARRAY, left / ARRAY


def test_a_second_product_leaves_nothing_behind(is_onednn: bool) -> None:
    op = network().hessian(Taped())
    v = torch.randn(op.size)
    op @ v
    _, left = arrays(lambda: op @ v)
    # The product itself.
    assert left <= op.size * 4 / ARRAY + 0.01


def test_a_tape_keeps_what_products_read_and_no_more(is_onednn: bool) -> None:
    op = network().hessian(Taped())
    v = torch.randn(op.size)
    _, left = arrays(lambda: op @ v)
    # Outputs, slopes and bends of two layers of units; the adjoint of one that products read.
    wanted = 2 + 2 + 2 + 1
    if is_onednn:
        # The inputs of three layers, and that adjoint, laid out to stand on the left.
        wanted += 3 + 1
    # Five arrays of the logits' size, the gradient and a product.
    assert left <= wanted + 5 * CLASSES / UNITS + 2 * op.size * 4 / ARRAY + 0.01


def test_a_product_frees_tangents_and_adjoints_on_its_way_back(is_onednn: bool) -> None:
    op = network().hessian(Taped())
    v = torch.randn(op.size)
    op @ v
    most, _ = arrays(lambda: op @ v)
    # Tangents before and after the nonlinearity of two layers; then an adjoint takes the place of
    # a tangent, and two terms stand beside each other until they are added.
    assert most <= 4 + 1 + 1 + 4 * op.size * 4 / ARRAY + 4 * CLASSES / UNITS


def test_a_run_holds_no_more_than_its_basis_and_the_pass(is_onednn: bool) -> None:
    v = torch.randn(network().hessian().size)
    vector = len(v) * 4 / ARRAY
    of_pass, _ = arrays(lambda: network().hessian(Taped()) @ v)

    def run() -> Any:
        op = network().hessian(Taped())
        return thalweg.eigenpairs(op, k=2, generator=torch.Generator().manual_seed(0))

    num_products = run().num_products
    most, _ = arrays(run)
    # Basis, result, and two vectors; the basis grows by blocks of three vectors here.
    assert most <= of_pass + (num_products + 2 + 2 + 2) * vector
