"""Worked: the forward and backward pass of a small computation, put on paper."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from thalweg._errors import FormulaError
from thalweg._progress import Progress
from thalweg.report import Page, PagedResult
from thalweg.sheet._build import draft_of
from thalweg.sheet._draft import Draft
from thalweg.sheet._graph import Graph
from thalweg.sheet._module import Input, draft_of_module
from thalweg.sheet._numbers import DIGITS
from thalweg.sheet._remarks import Alternative, alternatives_of, remarks_of
from thalweg.sheet._worked_json import WorkedRecord, record_of
from thalweg.symbolic import Label, parse_program

Loss = Callable[..., Any] | str | None


@dataclass(frozen=True)
class WorkedPass(PagedResult):
    """A forward and backward pass written out, every number proved by autograd.

    Args:
        title: what was worked.
        text: the text, or the module as it prints itself.
        graph: every quantity with value, local derivatives and gradient.
        remarks: what made the smallest gradient small, what another activation would have given,
            where there is no derivative, where digits are lost.
        alternatives: the same run with other activations.

    Example:
        >>> import thalweg
        >>> sheet = thalweg.worked("x = 1.5; w = 4; y = 1; h = sigmoid(w * x); L = 1/2 (h - y)^2")
        >>> sheet.graph["h"].value
        tensor(0.9975, dtype=torch.float64)
        >>> print(sheet.remarks[0].text)
        ∂L/∂w = -9.148e-06 is small, since ∂h/∂v₁ = h · (1 − h) = 0.002467: it is flat there, at \
v₁ = 6.
    """

    schema = "thalweg/worked/1"
    _max_items = 1_000_000

    title: str
    text: str
    graph: Graph
    remarks: tuple[Label, ...]
    alternatives: tuple[Alternative, ...]

    @property
    def proof(self) -> str:
        """What was compared with autograd, in a sentence."""
        graph = self.graph
        said = f"{graph.num_checked:,} numbers were compared with autograd in float64"
        if not graph.num_rounded:
            return f"{said}; the largest relative difference is {graph.deviation:.1e}."
        return (
            f"{said}: the largest relative difference is {graph.deviation:.1e}, but for "
            f"{graph.num_rounded:,} whose digits cancel, which agree within rounding."
        )

    def page(self, digits: int = DIGITS) -> Page:
        """The page: graph, tables, chains, curves.

        Args:
            digits: shown of each number.
        """
        from thalweg.sheet._worked_page import page_of

        return page_of(self, digits)

    def to_latex(self, digits: int = DIGITS, *, is_document: bool = True) -> str:
        """LaTeX that compiles.

        Args:
            digits: shown of each number.
            is_document: a whole document; otherwise its body, which needs amsmath.
        """
        from thalweg.sheet._worked_latex import body_of, document_of

        return (document_of if is_document else body_of)(self, digits)

    def to_markdown(self, digits: int = DIGITS) -> str:
        """Markdown with formulas in LaTeX.

        Args:
            digits: shown of each number.
        """
        from thalweg.sheet._worked_markdown import markdown_of

        return markdown_of(self, digits)

    def __str__(self) -> str:
        from thalweg.sheet._worked_page import page_of

        return page_of(self, DIGITS).text()

    def _repr_latex_(self) -> str:
        from thalweg.sheet._lines import backward_lines, forward_lines

        lines = [*forward_lines(self.graph, 6), *backward_lines(self.graph, 6)]
        rows = r" \\ ".join(line.latex.replace(" = ", " &= ", 1) for line in lines)
        return f"$$\\begin{{aligned}} {rows} \\end{{aligned}}$$"

    def _told(self) -> WorkedRecord:
        """All numbers in full."""
        return record_of(self)


def worked(
    source: str | nn.Module,
    input: Input | None = None,
    target: Tensor | None = None,
    loss: Loss = None,
    *,
    progress: Progress | None = None,
) -> WorkedPass:
    r"""Writes out the forward and backward pass of a small computation.

    Args:
        source: a text, one statement a line (`h = sigmoid(theta1 * x)`; `x = 1.5` for what is
            given), or a module.
        input: of the module: a tensor, a tuple of tensors, or a dict of them by name.
        target: what the loss compares the module's output with.
        loss: of a text the name of its loss, L or the last line where none is given; of a module
            a function of output and target, or a module, such as torch's `mse_loss`. None where
            the module returns one number.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        The worked pass.

    Raises:
        FormulaError: where the text cannot be read or worked out, with the line; or a module draws
            random numbers, is complex or too large, with the name of the part and the way out.
        ThalwegError: if a number differs from autograd's.

    A module is run once, in float64 on a copy, and each function of torch that it calls is a step:
    recurrent layers time step by time step, attention head by head. What has no rule written down
    here is shown by its Jacobian. Operations that do not enter the loss are left out.

    Cost: a few passes over the operations, and the same for each other activation.

    Example:
        >>> import torch, thalweg
        >>> sheet = thalweg.worked("x = 3; y = x^2")
        >>> print(sheet.to_markdown().split("## Backward")[1].split("##")[0].strip())
        $$
        \frac{\partial y}{\partial y} = 1
        $$
        <BLANKLINE>
        $$
        \frac{\partial y}{\partial x} = \frac{\partial y}{\partial y} \cdot 2 x = 1 \cdot 6 = 6
        $$

    Source: Rumelhart, Hinton and Williams 1986, eqs. 4–7.
    """
    progress = progress or (lambda stage, share: None)
    progress("reading", 0.0)
    if isinstance(source, str):
        if input is not None or target is not None:
            raise FormulaError(
                "worked(text, input=…): a text gives its own values; write them as lines, x = 1.5"
            )
        if not (loss is None or isinstance(loss, str)):
            raise FormulaError("worked(text, loss=…): give the name of the loss, such as loss='L'")
        draft, place = draft_of(parse_program(source), loss)
        return _written("a worked pass", source.strip("\n"), draft, place, False, progress)
    if isinstance(loss, str):
        raise FormulaError(
            f"worked(module, loss={loss!r}): give a function, such as "
            f"loss=torch.nn.functional.mse_loss"
        )
    draft, place, is_frozen = draft_of_module(source, input, target, loss)
    title = f"a worked pass of {type(source).__name__}"
    return _written(title, str(source), draft, place, is_frozen, progress)


def _written(
    title: str, text: str, draft: Draft, place: int, is_frozen: bool, progress: Progress
) -> WorkedPass:
    progress("forward, backward and proof", 0.1)
    graph = draft.finished(place)
    # Where the program looked at a value, another activation could have led it elsewhere.
    others = () if is_frozen else alternatives_of(draft, place, graph, progress)
    progress("done", 1.0)
    return WorkedPass(title, text, graph, remarks_of(graph, others), others)
