"""Matrix products, by the library that is the faster one where this runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from time import thread_time

import torch
from torch import Tensor

# Below so many multiplications the setting up of an oneDNN product costs more than it saves.
_LEAST_MULTIPLICATIONS = 2**19
# A sum of so few products is soon formed: then it decides that MKL adds it in place.
_FEW_SUMMED = 16
# A gain that is worth other last digits.
_WORTHWHILE = 1.25


def product(A: Tensor, B: Tensor) -> Tensor:
    """A B, for matrices or stacks of them.

    Args:
        A: a matrix (m, n), or a stack.
        B: a matrix (n, k), or a stack.

    Example:
        >>> product(torch.eye(2), torch.ones(2, 1))
        tensor([[1.],
                [1.]])
    """
    if is_faster_by_onednn(A, B.shape[-1]):
        return _by_onednn(A, B)
    # Of small stacks the dispatch takes longer than the product: this is half of what @ takes.
    is_stack = A.ndim == B.ndim == 3 and len(A) == len(B)
    return torch.bmm(A, B) if is_stack else A @ B


def add_product(total: Tensor, A: Tensor, B: Tensor) -> Tensor:
    """Total += A B, in place."""
    if A.ndim != 2:
        return total.baddbmm_(A, B)
    if A.shape[1] > _FEW_SUMMED and is_faster_by_onednn(A, B.shape[-1]):
        return total.add_(_by_onednn(A, B))
    return total.addmm_(A, B)


def laid_out(A: Tensor, num_columns: int) -> Tensor:
    """A in the layout in which it is multiplied fastest by matrices of so many columns.

    oneDNN copies a transposed left factor each time; MKL does not mind.
    """
    return A.contiguous() if is_faster_by_onednn(A, num_columns) else A


def library_of(like: Tensor) -> str:
    """Whose large products of such matrices are, in words; "" where torch's own choice stands.

    Args:
        like: a tensor of the dtype and on the device of the matrices.

    Example:
        >>> library_of(torch.zeros(1, dtype=torch.float64))
        ''
    """
    is_kind = like.dtype == torch.float32 and like.is_cpu
    is_taken = is_kind and onednn_is_faster(torch.get_num_threads())
    return "large matrix products by oneDNN" if is_taken else ""


@cache
def onednn_is_faster(num_threads: int) -> bool:  # noqa: ARG001
    """Whether oneDNN multiplies float32 matrices faster than torch's own choice, as exactly.

    torch hands them to MKL, which on processors of other makers than its own leaves half of their
    vector units idle; oneDNN, which torch has for convolutions, does not. Measured once a process
    for each number of threads, on a product of 33 million multiplications, in 2 ms.

    Args:
        num_threads: that torch uses now.
    """
    if not has_onednn():
        return False
    generator = torch.Generator().manual_seed(0)
    A, B = (
        torch.randn(256, 256, generator=generator, dtype=torch.float32, device="cpu")
        for _ in range(2)
    )
    exact = A.double() @ B.double()
    off = (_by_onednn(A, B) - exact).norm() / exact.norm()
    # Within rounding: a build that multiplies in bfloat16 is off by 1e-3.
    if not float(off) <= 16 * torch.finfo(torch.float32).eps:
        return False
    return _seconds(torch.matmul, A, B) > _WORTHWHILE * _seconds(_by_onednn, A, B)


def has_onednn() -> bool:
    """Whether this torch was built with oneDNN, and offers its product."""
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def is_faster_by_onednn(A: Tensor, num_columns: int) -> bool:
    """Whether A, or the one matrix of a stack, times so many columns is faster by oneDNN."""
    return (
        A.numel() * num_columns >= _LEAST_MULTIPLICATIONS
        and (A.ndim == 2 or len(A) == 1)
        and A.dtype == torch.float32
        and A.is_cpu
        and onednn_is_faster(torch.get_num_threads())
    )


def _by_onednn(A: Tensor, B: Tensor) -> Tensor:
    """A B by what torch.compile uses for linear layers on the CPU, which takes Bᵀ."""
    if A.ndim == 3:
        return _by_onednn(A[0], B[0])[None]
    A, B = _dense(A), _dense(B)
    result: Tensor = torch.ops.mkldnn._linear_pointwise(A, B.mT, None, "none", [], "")
    return result


def _dense(A: Tensor) -> Tensor:
    """A with its rows or columns in one piece, without which oneDNN is a hundred times slower."""
    return A if 1 in A.stride() else A.contiguous()


def _seconds(multiply: Callable[[Tensor, Tensor], Tensor], A: Tensor, B: Tensor) -> float:
    """The shortest of four runs: whatever disturbs a run makes it longer."""
    times = []
    for _ in range(4):
        start = thread_time()
        multiply(A, B)
        times.append(thread_time() - start)
    return min(times)
