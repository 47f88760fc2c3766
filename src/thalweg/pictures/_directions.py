"""Directions: what may be chosen as the axes of a picture; passed as objects."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import LayoutError, ThalwegError
from thalweg._layout import Params
from thalweg.linalg import EigenPairs, eigenpairs, extremes
from thalweg.pictures._axis import Axis
from thalweg.pictures._path import Path
from thalweg.pictures._principal import principal
from thalweg.pictures._words import shown
from thalweg.surface import Point

_ORDINALS = ("", "2nd ", "3rd ")


class Direction(ABC):
    """One axis of a picture, or several."""

    @abstractmethod
    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:
        """The axes at a point."""


def _refuse_number(k: int, what: str) -> None:
    if not 1 <= k <= 3:
        raise ThalwegError(f"{what}({k}); a picture has one, two or three axes: give 1, 2 or 3")


@dataclass(frozen=True)
class TopEigenvectors(Direction):
    """The eigenvectors of the largest Hessian eigenvalues: the sharpest directions.

    Args:
        k: how many.

    Example:
        >>> TopEigenvectors(2)
        TopEigenvectors(k=2)
    """

    k: int = 1

    def __post_init__(self) -> None:
        _refuse_number(self.k, "TopEigenvectors")

    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:
        """By Lanczos; each points downhill.

        Args:
            point: where.
            generator: of the random start.
        """
        k = min(self.k, point.layout.size)
        pairs = eigenpairs(point.hessian(), k, generator=generator)
        return _eigen_axes(point, pairs, "sharpest")


@dataclass(frozen=True)
class BottomEigenvectors(Direction):
    """The eigenvectors of the smallest Hessian eigenvalues: the most negative curvature.

    Args:
        k: how many.

    Example:
        >>> BottomEigenvectors()
        BottomEigenvectors(k=1)
    """

    k: int = 1

    def __post_init__(self) -> None:
        _refuse_number(self.k, "BottomEigenvectors")

    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:
        """By Lanczos; each points downhill.

        Args:
            point: where.
            generator: of the random start.
        """
        k = min(self.k, point.layout.size)
        pairs = extremes(point.hessian(), k, generator=generator).bottom
        is_negative = float(pairs.values[0]) < 0
        return _eigen_axes(point, pairs, "most negative" if is_negative else "flattest")


def _eigen_axes(point: Point, pairs: EigenPairs, kind: str) -> tuple[Axis, ...]:
    axes = []
    for i, value in enumerate(pairs.values.tolist()):
        vector = pairs.vectors[:, i]
        low, high = pairs.bounds[i].tolist()
        # Both signs are eigenvectors: the one that goes down; at a critical point by its entries.
        slope = float(vector @ point.gradient_vector.to(vector))
        if slope == 0:
            slope = -float(vector[vector.abs().argmax()])
        name = f"{_ORDINALS[i]}{kind} direction"
        if kind == "sharpest" and value <= 0:
            name = f"direction of curvature {shown(value, 3)}"
        said = (
            f"eigenvector of λ = {shown(value)}, in [{shown(low, 6)}, {shown(high, 6)}], residual "
            f"{float(pairs.residuals[i]):.1e}"
        )
        spent = pairs.num_products if i == 0 else 0  # one run found them all
        axes.append(Axis(name, -vector if slope > 0 else vector, said, num_products=spent))
    return tuple(axes)


@dataclass(frozen=True)
class Gradient(Direction):
    """The way of steepest descent, −∇L/‖∇L‖.

    Example:
        >>> Gradient()
        Gradient()
    """

    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:  # noqa: ARG002
        """One axis.

        Args:
            point: where.
            generator: not used.

        Raises:
            ThalwegError: if the gradient is zero.
        """
        slope = point.gradient_vector
        length = float(torch.linalg.vector_norm(slope))
        if length == 0:
            raise ThalwegError(
                "Gradient(): the gradient is zero here, so that it has no direction; choose "
                "TopEigenvectors() or BottomEigenvectors()"
            )
        return (Axis("steepest descent", -slope / length, f"−∇L, ‖∇L‖ = {length:.4g}"),)


@dataclass(frozen=True)
class FilterNormalised(Direction):
    """Random directions in which every filter moves by its own norm.

        d_j ← d_j / ‖d_j‖ · ‖θ_j‖,   d ~ N(0, I)

    A filter θ_j is what makes one output: a row of a weight, of any number of dimensions, along its
    first one. Biases and the parameters of normalisation layers (vectors and numbers) stay where
    they are. Axes are used as drawn, not made orthogonal: in n dimensions their cosine is about
    1/√n, and is told.

    Args:
        k: how many.

    Source: Li, Xu, Taylor, Studer and Goldstein 2018, "Visualizing the loss landscape of neural
    nets", sec. 4; biases and normalisation are left out as in their program (`biasbn`).

    Example:
        >>> FilterNormalised(2)
        FilterNormalised(k=2)
    """

    k: int = 1

    def __post_init__(self) -> None:
        _refuse_number(self.k, "FilterNormalised")

    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:
        """Draws them.

        Args:
            point: whose parameters give the norms.
            generator: draws.

        Raises:
            ThalwegError: if no parameter has rows.
        """
        if not any(tensor.ndim >= 2 for tensor in point.params.values()):
            raise ThalwegError(
                "FilterNormalised(): no parameter has rows (all are vectors), so that there are no "
                "filters; choose TopEigenvectors(), or Along(vector)"
            )
        said = "drawn from N(0, I), each filter scaled to its own norm, biases and norms held"
        return tuple(
            Axis(
                f"{_ORDINALS[i]}random direction",
                point.layout.flatten(
                    {name: _normalised(t, generator) for name, t in point.params.items()}
                ),
                said,
                unit="filter norms",
                is_exact=True,
                limits=(-1.0, 1.0),
            )
            for i in range(self.k)
        )


def _normalised(parameter: Tensor, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float64).to(parameter)
    if parameter.ndim < 2:
        return torch.zeros_like(parameter)
    rows, own = drawn.flatten(1), parameter.flatten(1)
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
    scaled = rows * (torch.linalg.vector_norm(own, dim=1, keepdim=True) / lengths)
    reshaped: Tensor = scaled.reshape(parameter.shape)
    return reshaped


@dataclass(frozen=True, eq=False)
class Principal(Direction):
    """The principal components of a path, or of several together: where it moved most.

    Args:
        paths: one path or more, on the same parameters.
        k: how many components.

    Source: Li et al. 2018, sec. 7.2, who take the last place for the centre; we take the mean, so
    that shares are of the variance. Antognini and Sohl-Dickstein 2018, "PCA of high dimensional
    random walks with comparison to neural network training", for what such shares are worth.

    Example:
        >>> import torch
        >>> path = Path.of([torch.tensor([0.0, 0.0]), torch.tensor([2.0, 0.0])])
        >>> Principal(path, k=1).k
        1
    """

    paths: Path | tuple[Path, ...]
    k: int = 2

    def __post_init__(self) -> None:
        _refuse_number(self.k, "Principal")

    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:  # noqa: ARG002
        """By the Gram matrix of the places.

        Args:
            point: whose parameters the paths are of.
            generator: not used.

        Raises:
            ThalwegError: if the paths have fewer components, or are of other parameters.
        """
        paths = (self.paths,) if isinstance(self.paths, Path) else tuple(self.paths)
        for path in paths:
            path.check_fits(point)
        found = principal(paths, self.k)
        return tuple(
            Axis(
                f"{('1st', '2nd', '3rd')[i]} principal component of the path",
                found.vectors[:, i].to(point.vector),
                f"{100 * found.shares[i]:.3g} % of the variance of {found.num_places} places",
            )
            for i in range(self.k)
        )


@dataclass(frozen=True, eq=False)
class Towards(Direction):
    """The straight way to another point, at coordinate 1.

    Args:
        other: its parameters by name, as one vector (n,), or a `Point`.
        name: of the other point.

    Source: Goodfellow, Vinyals and Saxe 2015, "Qualitatively characterizing neural network
    optimization problems", sec. 2.

    Example:
        >>> Towards(torch.tensor([1.0, 2.0]), name="the minimum").name
        'the minimum'
    """

    other: Params | Float[Tensor, " n"] | Point
    name: str = "the other point"

    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:  # noqa: ARG002
        """One axis, of the length of the way.

        Args:
            point: where the way starts.
            generator: not used.

        Raises:
            LayoutError: if the parameters do not fit.
        """
        other = self.other.vector if isinstance(self.other, Point) else self.other
        vector = other if isinstance(other, Tensor) else point.layout.flatten(other)
        if vector.shape != point.vector.shape:
            raise LayoutError(
                f"Towards(other): {tuple(vector.shape)} numbers do not fit "
                f"{point.layout.size} parameters; give the same parameters as the point's"
            )
        way = vector.detach().to(point.vector) - point.vector
        length = float(torch.linalg.vector_norm(way))
        return (
            Axis(
                f"towards {self.name}",
                way,
                f"the straight way to {self.name}, {length:.4g} long",
                unit=f"1 is {self.name}",
                is_exact=True,
                limits=(-0.25, 1.25),
            ),
        )


@dataclass(frozen=True, eq=False)
class Along(Direction):
    """A direction of your own.

    Args:
        vector: by name, or as one vector (n,); its length does not matter.
        name: for the picture.

    Example:
        >>> Along(torch.tensor([1.0, 0.0]), name="first parameter").name
        'first parameter'
    """

    vector: Params | Float[Tensor, " n"]
    name: str = "given direction"

    def read(self, point: Point, generator: torch.Generator) -> tuple[Axis, ...]:  # noqa: ARG002
        """One axis, of length 1.

        Args:
            point: whose parameters it is of.
            generator: not used.

        Raises:
            LayoutError: if it does not fit.
        """
        given = self.vector
        vector = given if isinstance(given, Tensor) else point.layout.flatten(given)
        if vector.shape != point.vector.shape:
            raise LayoutError(
                f"Along(vector): a vector of shape {tuple(vector.shape)} does not fit "
                f"{point.layout.size} parameters; pass one of shape ({point.layout.size},)"
            )
        return (Axis(self.name, vector.detach().to(point.vector), "as given"),)
