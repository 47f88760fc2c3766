"""Matrix products by either library are the same to rounding, however the factors lie in memory."""

import pytest
import torch

from thalweg.tape import _multiply

E32 = torch.finfo(torch.float32).eps


def factors(layout: str) -> tuple[torch.Tensor, torch.Tensor]:
    """(96, 128) and (128, 112), above the size from which oneDNN is asked."""
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(96, 128, generator=generator)
    B = torch.randn(128, 112, generator=generator)
    if layout == "transposed":
        return A.T.contiguous().T, B.T.contiguous().T
    if layout == "strided":
        return torch.stack([A, A], dim=2)[:, :, 0], torch.stack([B, B], dim=2)[:, :, 0]
    if layout == "expanded":
        return A[:, :1].expand(96, 128), B[:1].expand(128, 112)
    return A, B


@pytest.fixture(params=[True, False], ids=["oneDNN", "torch"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Either library, whatever was measured."""
    if request.param and not _multiply.has_onednn():
        pytest.skip("this torch was built without oneDNN")
    monkeypatch.setattr(_multiply, "onednn_is_faster", lambda _: request.param)


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("layout", ["plain", "transposed", "strided", "expanded"])
def test_a_product_is_that_of_double_precision_to_rounding(layout: str) -> None:
    A, B = factors(layout)
    exact = A.double() @ B.double()
    # Each entry sums 128 products: at most 128 roundings of Σ|a b|, in any order of summation.
    allowed = 128 * E32 * (A.double().abs() @ B.double().abs())
    assert bool(((_multiply.product(A, B) - exact).abs() <= allowed).all())


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("layout", ["plain", "transposed", "strided", "expanded"])
def test_a_sum_grows_in_place(layout: str) -> None:
    A, B = factors(layout)
    total = torch.ones(96, 112)
    exact = 1 + A.double() @ B.double()
    allowed = 129 * E32 * (1 + A.double().abs() @ B.double().abs())
    assert _multiply.add_product(total, A, B) is total
    assert bool(((total - exact).abs() <= allowed).all())


def test_double_precision_and_small_products_are_left_to_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_multiply, "onednn_is_faster", lambda _: True)
    A, B = factors("plain")
    for left, right in ((A.double(), B.double()), (A[:2], B)):
        assert torch.equal(_multiply.product(left, right), left @ right)


def test_what_was_measured_is_kept() -> None:
    first = _multiply.onednn_is_faster(torch.get_num_threads())
    assert _multiply.onednn_is_faster(torch.get_num_threads()) is first
