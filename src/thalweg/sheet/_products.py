"""Products of vectors and matrices, and what only puts entries elsewhere.

A vector is a column; its transpose, a row, is kept as the same entries with the operation saying on
which side they stand.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label


@dataclass(frozen=True)
class Sides:
    """A product of two factors by the shapes that they have.

    Args:
        title: in a sentence.
        indices: of the entries, as einsum takes them.
        of: the formula.
        rules: how δ goes back to either factor.
        pulls: the same for einsum, from δ and the other factor.
    """

    title: str
    indices: str
    of: Label
    rules: tuple[Label, Label]
    pulls: tuple[str, str]


class Shapes(Enum):
    """Which product it is."""

    MATRIX_VECTOR = Sides(
        "matrix times vector", "ij,j->i", Label("$a $b", r"$a\, $b"),
        (Label("$d $bᵀ", r"$d\, {$b}^{\top}"), Label("$aᵀ $d", r"{$a}^{\top} $d")),
        ("i,j->ij", "i,ij->j"),
    )  # fmt: skip
    MATRIX_MATRIX = Sides(
        "matrix times matrix", "ij,jk->ik", Label("$a $b", r"$a\, $b"),
        (Label("$d $bᵀ", r"$d\, {$b}^{\top}"), Label("$aᵀ $d", r"{$a}^{\top} $d")),
        ("ik,jk->ij", "ik,ij->jk"),
    )  # fmt: skip
    ROW_MATRIX = Sides(
        "row times matrix", "i,ij->j", Label("$aᵀ $b", r"{$a}^{\top} $b"),
        (Label("$b $d", r"$b\, $d"), Label("$a $dᵀ", r"$a\, {$d}^{\top}")),
        ("j,ij->i", "j,i->ij"),
    )  # fmt: skip
    ROW_COLUMN = Sides(
        "scalar product", "i,i->", Label("$aᵀ $b", r"{$a}^{\top} $b"),
        (Label("$d · $b", r"$d \cdot $b"), Label("$d · $a", r"$d \cdot $a")),
        (",i->i", ",i->i"),
    )  # fmt: skip
    COLUMN_ROW = Sides(
        "outer product", "i,j->ij", Label("$a $bᵀ", r"$a\, {$b}^{\top}"),
        (Label("$d $b", r"$d\, $b"), Label("$dᵀ $a", r"{$d}^{\top} $a")),
        ("ij,j->i", "ij,i->j"),
    )  # fmt: skip
    ROWS = Sides(
        "layer, each row a sample", "ni,oi->no", Label("$a $bᵀ", r"$a\, {$b}^{\top}"),
        (Label("$d $b", r"$d\, $b"), Label("$dᵀ $a", r"{$d}^{\top} $a")),
        ("no,oi->ni", "no,ni->oi"),
    )  # fmt: skip


@dataclass(frozen=True)
class Product(Operation):
    """A product of two factors.

    Args:
        shapes: which one.
    """

    shapes: Shapes

    @property
    def title(self) -> str:  # type: ignore[override]
        """Its name."""
        return self.shapes.value.title

    def value(self, *inputs: Tensor) -> Tensor:
        """Sums of products of entries."""
        return torch.einsum(self.shapes.value.indices, *inputs)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch's own products."""
        a, b = inputs
        match self.shapes:
            case Shapes.COLUMN_ROW:
                return torch.outer(a, b)
            case Shapes.ROWS:
                return torch.nn.functional.linear(a, b)
        return torch.matmul(a, b)

    def form(self, slot: int) -> Form:
        """By the other factor; a scalar product is one number."""
        return Form.WHOLE if self.shapes is Shapes.ROW_COLUMN else Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The other factor."""
        return inputs[1 - slot]

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """By the rule."""
        return torch.einsum(self.shapes.value.pulls[slot], delta, inputs[1 - slot])

    def formula(self) -> Label:
        """As on paper."""
        return self.shapes.value.of

    def local_formula(self, slot: int) -> Label:
        """The other factor's name."""
        return (Label("$b", "$b"), Label("$a", "$a"))[slot]

    def rule(self, slot: int) -> Label:
        """On which side δ stands."""
        return self.shapes.value.rules[slot]


@dataclass(frozen=True)
class Moved(Operation):
    """Entries put elsewhere: transposed, flattened.

    Args:
        title: in a sentence.
        shape: of the result; None for the transpose of a matrix.
    """

    title: str
    shape: tuple[int, ...] | None = None

    def value(self, *inputs: Tensor) -> Tensor:
        """The entries in their new places."""
        (a,) = inputs
        return a.T.contiguous() if self.shape is None else a.reshape(self.shape)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        (a,) = inputs
        return torch.transpose(a, 0, 1) if self.shape is None else a.contiguous().view(self.shape)

    def form(self, slot: int) -> Form:
        """By its own rule."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Each entry goes where it came from, unchanged."""
        return torch.ones((), dtype=output.dtype)

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Back to the old places."""
        return delta.T.contiguous() if self.shape is None else delta.reshape(inputs[0].shape)

    def formula(self) -> Label:
        """As on paper."""
        if self.shape is None:
            return Label("$aᵀ", r"{$a}^{\top}")
        return Label(f"{self.title} $a", f"\\operatorname{{{self.title}}} $a")

    def local_formula(self, slot: int) -> Label:
        """Nothing is changed."""
        return Label("1", "1")

    def rule(self, slot: int) -> Label:
        """Back to the old places."""
        if self.shape is None:
            return Label("$dᵀ", r"{$d}^{\top}")
        return Label("$d in the old shape", r"$d \text{ in the old shape}")


@dataclass(frozen=True)
class Stack(Operation):
    """A vector of numbers, or a matrix of rows, each worked out by itself.

    Args:
        num_items: how many.
    """

    num_items: int
    title = "vector of its entries"

    def value(self, *inputs: Tensor) -> Tensor:
        """The entries one after another."""
        return torch.stack([a.reshape(inputs[0].shape) for a in inputs])

    def peer(self, *inputs: Tensor) -> Tensor:
        """By concatenation."""
        return torch.cat([a.reshape(1, *inputs[0].shape) for a in inputs])

    def form(self, slot: int) -> Form:
        """By its own rule."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The unit vector of its place."""
        unit = torch.zeros(self.num_items, dtype=output.dtype)
        unit[slot] = 1
        return unit

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The entry of δ at its place."""
        return delta[slot].reshape(inputs[slot].shape).clone()

    def formula(self) -> Label:
        """All entries; their letters stand for the inputs."""
        letters = [f"$i{n}" for n in range(self.num_items)]
        rows = r" \\ ".join(letters)
        return Label(f"[{', '.join(letters)}]", f"\\begin{{pmatrix}} {rows} \\end{{pmatrix}}")

    def local_formula(self, slot: int) -> Label:
        """The unit vector."""
        subscript = str(slot + 1).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
        return Label(f"e{subscript}", f"e_{{{slot + 1}}}")

    def rule(self, slot: int) -> Label:
        """The entry at its place."""
        return Label(f"entry {slot + 1} of $d", f"\\left[$d\\right]_{{{slot + 1}}}")
