"""Draft: a computation while it is built, then its backward pass, by our own rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

import torch
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg.sheet._graph import Graph, Local, Node, Path
from thalweg.sheet._operation import Form, Operation
from thalweg.sheet._proof import Proof, prove
from thalweg.symbolic import Label

MAX_NODES = 500
MAX_ENTRIES = 100_000
"""Of one value: what is written out has to be small."""


_ODOT, _CDOT = r"\odot", r"\cdot"
_DELTA = Label("$d", "$d")
"""Left open: a chain of rules puts one into another."""


@dataclass
class Step:
    """A node of the draft.

    Args:
        name: in the one spelling.
        label: as it is set.
        value: in float64.
        operation: None where it is given.
        inputs: places of the inputs.
        written: what is given, as typed.
        line: in the text.
        is_constant: towards which nothing is derived.
        is_named: by the text.
        is_data: given, and nothing that is learnt.
        is_whole: of whole numbers, towards which nothing is derived.
        origin: of it in a module.
    """

    name: str
    label: Label
    value: Tensor
    operation: Operation | None = None
    inputs: tuple[int, ...] = ()
    written: Label = field(default_factory=lambda: Label("", ""))
    line: int | None = None
    is_constant: bool = False
    is_named: bool = True
    is_data: bool = False
    is_whole: bool = False
    origin: str = ""

    @property
    def takes_gradient(self) -> bool:
        """Whether anything is derived towards it."""
        return not (self.is_constant or self.is_whole)

    @property
    def formula(self) -> Label:
        """What stands right of the equals sign, with the letters of the operation for inputs."""
        return self.written if self.operation is None else self.operation.formula()


class Draft:
    """Steps in the order of computing.

    Args:
        taken: names that are none to give.
        max_nodes: steps that it may have.
    """

    def __init__(self, taken: frozenset[str] = frozenset(), max_nodes: int = MAX_NODES) -> None:
        self.steps: list[Step] = []
        self.max_nodes = max_nodes
        self._taken = taken
        self._numbers = count(1)

    def give(self, name: str, value: Tensor, written: Label, line: int | None = None) -> int:
        """A quantity that comes from nowhere."""
        step = Step(name, Label.of_name(name), value.double(), written=written, line=line)
        return self._add(step)

    def constant(self, value: Tensor, written: Label) -> int:
        """A number within a formula."""
        step = Step("", written, value.double(), written=written)
        step.is_constant, step.is_named = True, False
        return self._add(step)

    def apply(
        self,
        operation: Operation,
        inputs: tuple[int, ...],
        name: str | None = None,
        line: int | None = None,
    ) -> int:
        """An operation of earlier steps; without a name it gets one.

        Raises:
            FormulaError: if the value is not finite or the computation too large.
        """
        with torch.no_grad():
            value = operation.value(*(self.steps[i].value for i in inputs))
        shown = name or self._free_name()
        step = Step(shown, Label.of_name(shown), value, operation, inputs, line=line)
        step.is_named = name is not None
        if not self._is_defined(step):
            raise FormulaError(self._said_not_finite(step))
        return self._add(step)

    def _is_defined(self, step: Step) -> bool:
        """Whether its values are finite; a mask puts −∞ where a softmax takes nothing."""
        is_finite = torch.isfinite(step.value)
        if bool(is_finite.all()):
            return True
        may_mask = getattr(step.operation, "may_mask", False) or any(
            bool(torch.isneginf(self.steps[i].value).any()) for i in step.inputs
        )
        return may_mask and bool((is_finite | torch.isneginf(step.value)).all())

    def rename(self, place: int, name: str) -> None:
        """Gives the text's name to what had none."""
        step = self.steps[place]
        step.name, step.label, step.is_named = name, Label.of_name(name), True

    def replayed(self, other: Callable[[Operation], Operation]) -> Draft:
        """The same computation with other operations in the places of some.

        Raises:
            FormulaError: if a value is not finite then.
        """
        draft = Draft(self._taken, self.max_nodes)
        for step in self.steps:
            copy = replace(step)
            if copy.operation is not None:
                copy.operation = other(copy.operation)
                copy.value = copy.operation.value(*(draft.steps[i].value for i in copy.inputs))
                if not draft._is_defined(copy):
                    raise FormulaError(draft._said_not_finite(copy))
            draft._add(copy)
        return draft

    def pruned(self, loss: int) -> tuple[Draft, dict[int, int]]:
        """Without operations that do not enter the loss, and the new place of each that is kept."""
        wanted = {loss}
        for place in reversed(range(loss + 1)):
            if place in wanted:
                wanted |= set(self.steps[place].inputs)
        draft = Draft(self._taken, self.max_nodes)
        places: dict[int, int] = {}
        for place, step in enumerate(self.steps):
            is_given = step.operation is None and not step.is_constant
            if place in wanted or is_given:
                inputs = tuple(places[i] for i in step.inputs)
                places[place] = draft._add(replace(step, inputs=inputs))
        return draft, places

    def formula(self, step: Step) -> Label:
        """The step's operation with the names of its inputs."""
        return step.formula.filled(**self._letters(step)) if step.operation else step.written

    def finished(self, loss: int) -> Graph:
        """Goes backward from the loss, proves every number by autograd, and hands it over.

        Raises:
            FormulaError: if the loss is no number, or a gradient is not finite.
        """
        self._number_unnamed()
        if self.steps[loss].value.numel() != 1:
            step = self.steps[loss]
            shape = "×".join(map(str, step.value.shape))
            raise FormulaError(
                f"{step.label.text} is no single number but has shape {shape}; the last line "
                f"has to be the loss, such as L = 1/2 norm({step.label.text} - y)^2"
            )
        with torch.no_grad():
            gradients, locals_, paths = self._backward(loss)
        proof = prove(self.steps, loss, gradients, locals_)
        nodes = tuple(
            self._node(place, gradients[place], locals_[place], paths[place])
            for place in range(len(self.steps))
        )
        return self._graph(nodes, loss, proof)

    def _graph(self, nodes: tuple[Node, ...], loss: int, proof: Proof) -> Graph:
        return Graph(
            nodes, self.steps[loss].name, proof.num_checked, proof.num_rounded, proof.deviation
        )

    def _backward(
        self, loss: int
    ) -> tuple[list[Tensor], list[tuple[Local, ...]], list[tuple[Path, ...]]]:
        steps = self.steps
        gradients = [torch.zeros_like(step.value) for step in steps]
        gradients[loss] = torch.ones_like(steps[loss].value)
        locals_: list[tuple[Local, ...]] = [()] * len(steps)
        paths: list[tuple[Path, ...]] = [()] * len(steps)
        for place in reversed(range(len(steps))):
            step = steps[place]
            if step.operation is None:
                continue
            found = []
            values = tuple(steps[i].value for i in step.inputs)
            letters = self._letters(step) | {"y": step.label, "d": _DELTA}
            for slot, source in enumerate(step.inputs):
                if not steps[source].takes_gradient:
                    continue
                pulled = step.operation.pull(slot, gradients[place], values, step.value)
                formula = step.operation.local_formula(slot).filled(**letters)
                form, rule = step.operation.form(slot), step.operation.rule(slot)
                local = Local(
                    steps[source].name,
                    step.operation.local(slot, values, step.value),
                    form,
                    formula,
                    rule.filled(**letters) if rule else _chained(form, formula, step, values[slot]),
                    pulled,
                )
                self._check_finite(local, step)
                gradients[source] = gradients[source] + pulled
                paths[source] = (Path(step.name, pulled), *paths[source])
                found.append(local)
            locals_[place] = tuple(found)
        return gradients, locals_, paths

    def _check_finite(self, local: Local, step: Step) -> None:
        if not bool(torch.isfinite(local.gradient).all() and torch.isfinite(local.value).all()):
            raise FormulaError(
                f"{self._where(step)}∂{step.label.text}/∂{Label.of_name(local.towards).text} = "
                f"{local.formula.text} is not finite here; move the values away from that point"
            )

    def _node(
        self, place: int, gradient: Tensor, found: tuple[Local, ...], paths: tuple[Path, ...]
    ) -> Node:
        step = self.steps[place]
        is_given = step.operation is None and not step.is_constant
        values = tuple(self.steps[i].value for i in step.inputs)
        return Node(
            name=step.name,
            label=step.label,
            operation=step.operation.title if step.operation else "",
            formula=self.formula(step),
            pattern=step.formula,
            inputs=tuple(self.steps[i].name for i in step.inputs),
            value=step.value,
            locals=found,
            gradient=gradient,
            paths=paths,
            line=step.line,
            is_given=is_given,
            is_constant=step.is_constant,
            is_named=step.is_named,
            is_data=step.is_data,
            is_whole=step.is_whole,
            note=step.operation.kink(values) if step.operation else "",
            origin=step.origin,
        )

    def _letters(self, step: Step) -> dict[str, Label]:
        labels = [self.steps[i].label for i in step.inputs]
        letters = dict(zip("ab", labels, strict=False))
        return letters | {f"i{n}": label for n, label in enumerate(labels)}

    def _free_name(self) -> str:
        return next(n for n in (f"v_{i}" for i in self._numbers) if n not in self._taken)

    def _number_unnamed(self) -> None:
        """v₁, v₂, … in the order of the sheet, and constants by where they stand."""
        self._numbers = count(1)
        for place, step in enumerate(self.steps):
            if step.is_constant:
                step.name = f"constant_{place}"
            elif not step.is_named:
                step.name = self._free_name()
                step.label = Label.of_name(step.name)

    def _add(self, step: Step) -> int:
        if step.value.numel() > MAX_ENTRIES:
            raise FormulaError(
                f"{self._where(step)}{step.label.text or 'a value'} has {step.value.numel():,} "
                f"entries; what is written out may have {MAX_ENTRIES:,}, so take smaller sizes"
            )
        if len(self.steps) >= self.max_nodes:
            raise FormulaError(
                f"the computation has more than {self.max_nodes:,} operations; thalweg writes out "
                f"small ones, so leave some away"
            )
        self.steps.append(step)
        return len(self.steps) - 1

    def _where(self, step: Step) -> str:
        return "" if step.line is None else f"line {step.line}: "

    def _said_not_finite(self, step: Step) -> str:
        parts = [
            f"{s.label.text} = {float(s.value):.6g}"
            for s in (self.steps[i] for i in step.inputs)
            if s.value.numel() == 1 and s.label.text
        ]
        at = f" at {', '.join(parts)}" if parts else ""
        kind = "no real number" if bool(torch.isnan(step.value).any()) else "beyond float64"
        return (
            f"{self._where(step)}{self.formula(step).text}{at} is {kind}; give values for which it "
            f"is defined and below 1.8e308"
        )


def _chained(form: Form, formula: Label, step: Step, source: Tensor) -> Label:
    """δ times the local derivative, as the shapes have it."""
    if formula.text in ("1", "−1"):
        sign = formula.text.removesuffix("1")
        text, latex = f"{sign}$d", f"{sign and '-'}$d"
    else:
        is_sum = any(sign in formula.text for sign in (" + ", " − ", " where ", ", "))
        is_sum = is_sum and not formula.text.startswith("[")
        J = Label(f"({formula.text})", f"\\left({formula.latex}\\right)") if is_sum else formula
        is_each = form is Form.EACH and step.value.ndim > 0
        text = f"$d {'⊙' if is_each else '·'} {J.text}"
        latex = f"$d {_ODOT if is_each else _CDOT} {J.latex}"
    if form is Form.EACH and step.value.shape != source.shape and step.value.ndim > 0:
        return Label(f"Σ ({text})", f"\\textstyle\\sum \\left({latex}\\right)")
    return Label(text, latex)
