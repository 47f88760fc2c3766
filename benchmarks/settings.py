"""Settings: for each neighbour the least work at which it reaches the accuracy wanted.

Found once per network, in float32, on the retained graph; threads do not change the count of steps.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg
import torch
from torch import Tensor

from benchmarks.exact import Exact, RetainedGraph, join
from benchmarks.line import complaint
from benchmarks.networks import Network
from benchmarks.peers import own_copy, pyhessian_computer

K = 5
TOL = 1e-3
# What a restart may cost before it is no longer a setting to look at.
MOST_PRODUCTS = 400


def find(network: Network, exact: Exact, seconds: float) -> dict[str, Any]:
    """All settings of one network, and the eigenvalues that they must find.

    Args:
        network: in float32.
        exact: in float64.
        seconds: what the search for PyHessian, the slowest, may take.
    """
    product = RetainedGraph(network).hessian
    settings = _lanczos(network, product)
    top = torch.tensor(settings["top"])
    settings["eigsh"] = _eigsh(network, product, exact, top, settings)
    settings["pyhessian"] = _pyhessian(network, exact, settings, seconds)
    return settings


def _lanczos(network: Network, product: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """Steps of a Lanczos run whose five outermost Ritz pairs have residuals below TOL."""
    steps = 0
    alphas: list[float] = []
    betas: list[float] = []
    v = torch.randn(network.num_params, generator=torch.Generator().manual_seed(0))
    basis = [v / v.norm()]
    enough: int | None = None
    # A quarter more than enough, so that the eigenvalues themselves are known better than TOL.
    while steps < 300 and (enough is None or steps < enough + max(8, enough // 4)):
        w = product(basis[-1])
        Q = torch.stack(basis)
        projection = Q @ w
        alphas.append(float(projection[-1]))
        w = w - projection @ Q
        w = w - (Q @ w) @ Q
        betas.append(float(w.norm()))
        basis.append(w / betas[-1])
        steps += 1
        theta, s = np.linalg.eigh(
            np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1)
        )
        if steps > K and enough is None:
            residuals = betas[-1] * np.abs(s[-1, -K:])
            if residuals.max() <= 0.95 * TOL * np.abs(theta).max():
                enough = steps
    by_size = theta[np.argsort(-np.abs(theta))]
    return {
        "lanczos_steps": enough,
        "top": theta[::-1][:K].tolist(),
        "top_by_size": by_size[:K].tolist(),
        "largest": float(np.abs(theta).max()),
    }


def _eigsh(
    network: Network,
    product: Callable[[Tensor], Tensor],
    exact: Exact,
    top: Tensor,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """(ncv, tol) of SciPy's eigsh with the fewest products."""
    steps = settings["lanczos_steps"] or 40
    found: list[dict[str, Any]] = []
    # A basis as long as Lanczos needs does it without a restart.
    for ncv, tol in ((steps, TOL), (steps + 2, TOL), (20, 10 * TOL), (20, TOL), (30, TOL)):
        if any(f["error"] <= TOL and f["products"] <= steps + 4 for f in found):
            break
        try:
            values, vectors, products = eigsh(network, product, ncv, tol)
        except Exception as error:
            found.append({"error": float("inf"), "products": 10**9, "note": complaint(error)})
            continue
        error = accuracy(exact, values, vectors, top, settings["largest"])
        found.append({"ncv": ncv, "tol": tol, "products": products, "error": error})
    right = [f for f in found if f["error"] <= TOL]
    return (
        min(right, key=lambda f: f["products"]) if right else min(found, key=lambda f: f["error"])
    )


def eigsh(
    network: Network, product: Callable[[Tensor], Tensor], ncv: int, tol: float
) -> tuple[Tensor, Tensor, int]:
    """SciPy's five largest, and the products that it took."""
    n, dtype = network.num_params, network.dtype
    count = 0

    def matvec(x: np.ndarray) -> np.ndarray:
        nonlocal count
        count += 1
        if count > MOST_PRODUCTS:
            raise RuntimeError(f"not converged after {MOST_PRODUCTS} products")
        return product(torch.from_numpy(np.ascontiguousarray(x.ravel())).to(dtype)).numpy()

    kind = np.dtype(str(dtype).removeprefix("torch."))
    op = scipy.sparse.linalg.LinearOperator((n, n), matvec=matvec, dtype=kind)
    start = np.random.default_rng(0).standard_normal(n).astype(kind)
    values, vectors = scipy.sparse.linalg.eigsh(op, k=K, which="LA", ncv=ncv, tol=tol, v0=start)
    order = np.argsort(-values)
    return torch.tensor(values[order]), torch.tensor(vectors[:, order]), count


def accuracy(exact: Exact, values: Tensor, vectors: Tensor, right: Tensor, largest: float) -> float:
    """The worst of ‖Ay − θy‖ and |θ − λ| over the five, over max|λ|."""
    off = (values.double().sort().values - right.double().sort().values).abs().max()
    return max(exact.residual(values, vectors), float(off)) / largest


class OutOfTimeError(RuntimeError):
    """A run that was cut."""


def pyhessian_pairs(
    network: Network, most_steps: int, tol: float, seconds: float = float("inf")
) -> tuple[Tensor, Tensor, int]:
    """PyHessian's five eigenvalues largest in size, and the products that it took."""
    # Its package hides the module behind the class of the same name.
    importlib.import_module("pyhessian")
    module: Any = sys.modules["pyhessian.hessian"]
    computer = pyhessian_computer(own_copy(network))
    original = module.hessian_vector_product
    count, start = 0, time.perf_counter()

    def counted(*args: Any) -> Any:
        nonlocal count
        count += 1
        if time.perf_counter() - start > seconds:
            raise OutOfTimeError(f"cut after {count} products")
        return original(*args)

    module.hessian_vector_product = counted
    try:
        values, vectors = computer.eigenvalues(maxIter=most_steps, tol=tol, top_n=K)
    finally:
        module.hessian_vector_product = original
    return torch.tensor(values), torch.stack([join(v) for v in vectors], dim=1), count


def _pyhessian(
    network: Network, exact: Exact, settings: dict[str, Any], seconds: float
) -> dict[str, Any]:
    """(maxIter, tol) of its power iteration; its defaults, if nothing in time is accurate."""
    right = torch.tensor(settings["top_by_size"])
    best: dict[str, Any] = {"maxIter": 100, "tol": 1e-3, "is_accurate": False}
    start = time.perf_counter()
    for most_steps, tol in ((100, 1e-3), (400, 1e-5), (2000, 1e-7)):
        left = seconds - (time.perf_counter() - start)
        if left <= 0:
            return {**best, "note": "no time to try a tighter setting"}
        try:
            torch.manual_seed(0)
            values, vectors, products = pyhessian_pairs(network, most_steps, tol, left)
        except OutOfTimeError as error:
            return {**best, "note": f"maxIter={most_steps}, tol={tol:g}: {error}"}
        except Exception as error:
            return {**best, "note": complaint(error)}
        error = accuracy(exact, values, vectors, right, settings["largest"])
        if error <= TOL:
            return {
                "maxIter": most_steps,
                "tol": tol,
                "products": products,
                "error": error,
                "is_accurate": True,
            }
        best.setdefault("products", products)
        best.setdefault("error", error)
    return {**best, "note": "no setting tried reaches it"}
