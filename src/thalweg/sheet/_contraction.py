"""Sums of products of entries in any number of dimensions: matmul of batches, einsum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label


@dataclass(frozen=True, eq=False)
class Contraction(Operation):
    """y_out = Σ a_{…} b_{…} …, the sum over indices that the output has not.

    Args:
        title: in a sentence.
        indices: of each factor.
        out: of the output.
        of: the formula.
        rules: how δ goes back to each factor.
        call: the same by torch.
    """

    title: str
    indices: tuple[str, ...]
    out: str
    of: Label
    rules: tuple[Label, ...]
    call: Callable[..., Tensor]

    def value(self, *inputs: Tensor) -> Tensor:
        """Products of entries, summed."""
        return torch.einsum(f"{','.join(self.indices)}->{self.out}", *inputs)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return self.call(*inputs)

    def form(self, slot: int) -> Form:
        """By the other factors."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The other factor, where there is one."""
        return inputs[1 - slot] if len(inputs) == 2 else torch.ones((), dtype=output.dtype)

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """∂L/∂a = Σ δ times the other factors, over the indices that a has not."""
        sizes: dict[str, int] = dict(zip(self.out, delta.shape, strict=True))
        for letters, factor in zip(self.indices, inputs, strict=True):
            for letter, size in zip(letters, factor.shape, strict=True):
                sizes[letter] = max(sizes.get(letter, 1), size)
        mine = self.indices[slot]
        others = [
            (i, t) for k, (i, t) in enumerate(zip(self.indices, inputs, strict=True)) if k != slot
        ]
        # An index that only this factor has was summed over: δ is the same along it.
        ones = torch.ones([sizes[letter] for letter in mine], dtype=delta.dtype)
        left = ",".join([self.out, *(letters for letters, _ in others), mine])
        pulled = torch.einsum(f"{left}->{mine}", delta, *(t for _, t in others), ones)
        return pulled.sum_to_size(inputs[slot].shape)

    def formula(self) -> Label:
        """As on paper."""
        return self.of

    def local_formula(self, slot: int) -> Label:
        """The other factor's name."""
        if len(self.indices) == 2:
            return (Label("$b", "$b"), Label("$a", "$a"))[slot]
        others = [k for k in range(len(self.indices)) if k != slot]
        return Label(
            " · ".join(f"$i{k}" for k in others) or "1",
            r" \cdot ".join(f"$i{k}" for k in others) or "1",
        )

    def rule(self, slot: int) -> Label:
        """On which side δ stands."""
        return self.rules[slot]


def product_of(call: Callable[..., Tensor], a: Tensor, b: Tensor) -> Contraction:
    """A @ b as torch reads it: the last two dimensions are matrices, those before them a batch."""
    batch = "cdefgh"
    first = "i" if a.ndim > 1 else ""
    last = "k" if b.ndim > 1 else ""
    left = batch[len(batch) - max(a.ndim - 2, 0) :] + f"{first}j"
    right = batch[len(batch) - max(b.ndim - 2, 0) :] + f"j{last}"
    rows = max(left[:-2], right[:-2], key=len) if a.ndim > 1 and b.ndim > 1 else (left + right)
    shared = "".join(letter for letter in batch if letter in rows)
    title = "matrices times matrices, one pair after another" if shared else "product"
    return Contraction(
        title, (left, right), f"{shared}{first}{last}", Label("$a $b", r"$a\, $b"),
        (Label("$d $bᵀ", r"$d\, {$b}^{\top}"), Label("$aᵀ $d", r"{$a}^{\top} $d")), call,
    )  # fmt: skip


def layer_of(call: Callable[..., Tensor], x: Tensor) -> Contraction:
    """X Wᵀ, where the last dimension of x is that of W and those before are samples."""
    rows = "cdefgh"[: x.ndim - 1]
    return Contraction(
        "layer, each row a sample", (f"{rows}i", "oi"), f"{rows}o",
        Label("$a $bᵀ", r"$a\, {$b}^{\top}"),
        (Label("$d $b", r"$d\, $b"), Label("Σ $dᵀ $a", r"\textstyle\sum {$d}^{\top} $a")), call,
    )  # fmt: skip


def without_dots(equation: str, num_dims: tuple[int, ...]) -> str:
    """An equation of einsum with letters for "..."; as it is where they are not known."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    parts = left.split(",")
    if "..." not in equation or not arrow or len(parts) != len(num_dims):
        return equation
    counts = [
        n - len(p.replace("...", "")) for n, p in zip(num_dims, parts, strict=True) if "..." in p
    ]
    most = max(counts, default=0)
    free = [c for c in "ABCDEFGH" if c not in equation][:most]
    if len(free) < most:
        return equation
    letters = "".join(free)
    found = [
        p.replace("...", letters[most - (n - len(p.replace("...", ""))) :]) if "..." in p else p
        for n, p in zip(num_dims, parts, strict=True)
    ]
    return f"{','.join(found)}->{out.replace('...', letters)}"


def summed(
    equation: str, call: Callable[..., Tensor], num_dims: tuple[int, ...]
) -> Contraction | None:
    """An equation of einsum; None where a factor has an index twice or dots stand in it."""
    left, arrow, out = equation.replace(" ", "").partition("->")
    indices = tuple(left.split(","))
    if "." in equation or any(len(set(i)) < len(i) for i in indices):
        return None
    if tuple(map(len, indices)) != num_dims:
        return None
    if not arrow:
        out = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    factors = [Label(f"$i{k}[{i}]", f"{{[$i{k}]}}_{{{i}}}") for k, i in enumerate(indices)]
    delta = Label(f"$d[{out}]" if out else "$d", f"{{[$d]}}_{{{out}}}" if out else "$d")

    def total(over: str, parts: list[Label]) -> Label:
        text, latex = " · ".join(p.text for p in parts), r"\, ".join(p.latex for p in parts)
        if not over:
            return Label(text, latex)
        return Label(f"Σ_{over} {text}", f"\\textstyle\\sum_{{{over}}} {latex}")

    def missing(kept: str, used: list[str]) -> str:
        return "".join(sorted(set("".join(used)) - set(kept)))

    rules = []
    for k, mine in enumerate(indices):
        others = [i for j, i in enumerate(indices) if j != k]
        parts = [delta, *(f for j, f in enumerate(factors) if j != k)]
        rules.append(total(missing(mine, [out, *others]), parts))
    formula = total(missing(out, list(indices)), factors)
    return Contraction("sum of products", indices, out, formula, tuple(rules), call)
