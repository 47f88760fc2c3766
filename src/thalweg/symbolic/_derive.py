"""Derive: gradient, Hessian, Taylor polynomial and Newton step of a formula, each checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg._progress import Progress
from thalweg.report import Page, PagedResult
from thalweg.symbolic._derivation_json import DerivationRecord, record_of
from thalweg.symbolic._evaluation import value_of
from thalweg.symbolic._expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Operator,
    Transpose,
)
from thalweg.symbolic._finding import Finding
from thalweg.symbolic._kinds import Kind, is_of_numbers, kinds_of
from thalweg.symbolic._label import Label
from thalweg.symbolic._of_numbers import OfNumbers
from thalweg.symbolic._of_vectors import OfVectors
from thalweg.symbolic._scalar_rules import rules_of
from thalweg.symbolic._setting import label_of
from thalweg.symbolic._spelling import FUNCTIONS, GREEK, normalised
from thalweg.symbolic._text import parse_expression
from thalweg.symbolic._written import text_of_name

MAX_SIZE = 300
"""Parts of a formula; what is longer is no formula for paper."""

MAX_ORDER = 12

_FIRST = ("w", "theta", "x", "W")
"""Towards which a formula of vectors is derived where nothing is said."""

_VARIABLES = frozenset({"x", "y", "z", "u", "v", "w", "t", "theta", "s", "r", "h", "o", "f"})
"""Letters of what varies; a x² + b x + c is derived towards x alone."""

_CONSTANTS = {"pi", "e"}


@dataclass(frozen=True)
class Derivation(PagedResult):
    """What follows from a formula, with the rules, each beside autograd.

    Args:
        formula: as it was understood.
        variables: towards which it is derived.
        kinds: what each name was taken for: number, vector or matrix.
        findings: value, gradient, Hessian, Taylor polynomial, Newton update and step.
        rules: of differentiation, in the order of use.

    Example:
        >>> import thalweg
        >>> found = thalweg.derive("(x - 1)(x - 3)", at={"x": 4})
        >>> print(found["Newton step"].formula.text)
        4 + (−2) = 2
        >>> print(found["Newton step"].verification.said)
        agrees with autograd at this point, to the last digit
    """

    schema = "thalweg/derivation/1"

    formula: Label
    variables: tuple[str, ...]
    kinds: Mapping[str, str]
    findings: tuple[Finding, ...]
    rules: tuple[Label, ...]

    def __getitem__(self, title: str) -> Finding:
        """The finding of a title, or of the beginning of one.

        Raises:
            FormulaError: if there is none; lists what there is.
        """
        for finding in self.findings:
            if finding.title.lower().startswith(title.lower()):
                return finding
        there = ", ".join(finding.title for finding in self.findings)
        raise FormulaError(f"this derivation has no {title!r}; it has {there}")

    def page(self) -> Page:
        """The page."""
        from thalweg.symbolic._derivation_page import page_of

        return page_of(self)

    def to_latex(self, *, is_document: bool = True) -> str:
        """LaTeX that compiles.

        Args:
            is_document: a whole document; otherwise its body, which needs amsmath.
        """
        from thalweg.symbolic._derivation_text import latex_of

        return latex_of(self, is_document)

    def to_markdown(self) -> str:
        """Markdown with formulas in LaTeX."""
        from thalweg.symbolic._derivation_text import markdown_of

        return markdown_of(self)

    def __str__(self) -> str:
        return self.page().text()

    def _repr_latex_(self) -> str:
        from thalweg.symbolic._derivation_text import equation_of

        rows = r" \\ ".join(equation_of(f).replace(" = ", " &= ", 1) for f in self.findings)
        return f"$$\\begin{{aligned}} {rows} \\end{{aligned}}$$"

    def _told(self) -> DerivationRecord:
        return record_of(self)


def derive(
    formula: str,
    wrt: str | Iterable[str] | None = None,
    *,
    at: Mapping[str, Any] | None = None,
    order: int = 2,
    symmetric: str | Iterable[str] = (),
    progress: Progress | None = None,
) -> Derivation:
    """Derives a formula, with the rules, and compares each result with autograd.

    Numbers go through SymPy, vectors and matrices through a calculus of our own. Names that are
    capital letters are matrices; what is transposed, normed or multiplied with a matrix is a
    vector.
    A function that is none of the known ones, such as g, is left unspecified; where results are
    compared, a smooth function stands in for it, and E is the mean of five samples.

    Args:
        formula: such as `(x-1)(x-3)`, `σ(x)`, `½wᵀAw`, `||w||^2`, `g(w^T z)`, `E[g(w^T z)]`.
        wrt: the variable or variables; by default all numbers called as variables are (x, y, w,
            θ and so on; all where none is), or the vector w, θ or x.
        at: values by name: numbers, or lists for vectors and matrices. The Taylor polynomial of
            numbers is taken there, otherwise around 0.
        order: of the Taylor polynomial.
        symmetric: names of matrices that are symmetric.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        The derivation.

    Raises:
        FormulaError: where the formula cannot be read, or is not derived, with what to type.
        ThalwegError: if a result differs from autograd.

    Cost: seconds, and half a minute for high orders in several variables, by limits on size and
    order; a formula that grows too large is refused.

    Example:
        >>> import thalweg
        >>> for formula in ("½wᵀAw", "¼‖w‖⁴", "E[g(wᵀz)]"):
        ...     print(thalweg.derive(formula)["gradient"].formula.text)
        1/2 (A + Aᵀ) w
        ‖w‖² w
        E[g'(wᵀ z) z]
        >>> print(thalweg.derive("σ(x)", order=3)["Taylor"].formula.text)
        1/2 + 1/4 x − 1/48 x³

    Source: Petersen and Pedersen 2012; Meurer et al. 2017 for SymPy.
    """
    progress = progress or (lambda stage, share: None)
    progress("reading", 0.0)
    expression = _parsed(formula)
    given = {normalised(name): value for name, value in (at or {}).items() if name}
    unknown = set(given) - expression.names
    if unknown:
        raise FormulaError(
            f"at {', '.join(sorted(unknown))}: the formula has no such name; it has "
            f"{', '.join(sorted(expression.names)) or 'none'}"
        )
    if not 1 <= order <= MAX_ORDER:
        raise FormulaError(f"order={order}; give a whole number from 1 to {MAX_ORDER}")
    wanted = _names(wrt, expression)
    held = frozenset(
        normalised(s) for s in ([symmetric] if isinstance(symmetric, str) else symmetric)
    )
    if is_of_numbers(expression) and not held:
        found = _of_numbers(expression, wanted, given, order, progress)
    else:
        found = _of_vectors(expression, wanted, given, order, held, progress)
    progress("done", 1.0)
    return found


def _of_numbers(
    expression: Expression,
    wanted: tuple[str, ...],
    given: Mapping[str, Any],
    order: int,
    progress: Progress,
) -> Derivation:
    names = wanted or _variables(expression)
    at = {name: _fraction(name, value) for name, value in given.items()}
    findings = OfNumbers(expression, names, at, order).findings(progress)
    kinds = dict.fromkeys(sorted(expression.names - _CONSTANTS), "number")
    return Derivation(label_of(expression), names, kinds, findings, rules_of(expression, names))


def _of_vectors(
    expression: Expression,
    wanted: tuple[str, ...],
    given: Mapping[str, Any],
    order: int,
    symmetric: frozenset[str],
    progress: Progress,
) -> Derivation:
    kinds = kinds_of(expression)
    matrices = {name for name, kind in kinds.items() if kind is Kind.MATRIX}
    if not symmetric <= matrices:
        raise FormulaError(
            f"symmetric={', '.join(sorted(symmetric))}: the matrices of the formula are "
            f"{', '.join(sorted(matrices)) or 'none'}; name one of them"
        )
    vectors = [name for name in sorted(kinds) if kinds[name] is Kind.VECTOR]
    if len(wanted) > 1:
        raise FormulaError("a formula of vectors is derived towards one vector; name one with wrt")
    if wanted and wanted[0] not in vectors:
        raise FormulaError(
            f"wrt={wanted[0]}: a formula of vectors is derived towards a vector, and those are "
            f"{', '.join(vectors) or 'none'}"
        )
    if not vectors:
        raise FormulaError(
            "there is no vector in the formula to derive it towards; vectors are small letters "
            "beside ^T, || || or a matrix"
        )
    name = wanted[0] if wanted else next((n for n in _FIRST if n in vectors), vectors[0])
    at = {key: _tensor(key, value, kinds[key]) for key, value in given.items()}
    _check_sizes(at, kinds)
    derived = OfVectors(expression, kinds, name, symmetric, at, order)
    shown = {
        key: f"symmetric {kind.value}" if key in symmetric else kind.value
        for key, kind in sorted(kinds.items())
    }
    return Derivation(
        label_of(expression), (name,), shown, derived.findings(progress), derived.rules
    )


def _parsed(formula: str) -> Expression:
    """The formula; of f(x) = … what stands right."""
    left, equals, right = formula.partition("=")
    text = right if equals and len(left) < 30 and "=" not in right else formula
    expression = _with_products(parse_expression(text, has_short_names=True))
    if expression.size > MAX_SIZE:
        raise FormulaError(
            f"the formula has {expression.size:,} parts; give one of at most {MAX_SIZE}"
        )
    if "T" in expression.names:
        raise FormulaError("a transpose is written w^T z, w.T z or wᵀz; T alone says nothing")
    for node in expression.walk():
        stem = node.function.rstrip("'") if isinstance(node, Call) else "g"
        if stem not in FUNCTIONS and len(stem.split("_")[0]) > 1 and stem not in GREEK.values():
            raise FormulaError(
                f"there is no function {stem!r}; known are {', '.join(sorted(FUNCTIONS))}, and one "
                f"letter, such as g, for a function that is not specified"
            )
    if any(isinstance(node, Array) for node in expression.walk()):
        raise FormulaError("give vectors of numbers with at, such as at={'w': [1, 2]}")
    return expression


def _with_products(expression: Expression) -> Expression:
    """x(x − 1), where x is a number elsewhere, is a product and no function."""
    names = expression.names
    done: list[Expression] = []
    for node in expression.walk():
        size = len(node.parts)
        parts = tuple(done[len(done) - size :]) if size else ()
        del done[len(done) - size :]
        match node:
            case Call(function, _):
                is_product = (
                    len(parts) == 1
                    and function not in FUNCTIONS
                    and (
                        function in names
                        or function in ("x", "y", "z", "w", "t", "theta", "lambda")
                    )
                )
                made: Expression = (
                    Binary(Operator.BESIDE, Name(function), parts[0])
                    if is_product
                    else Call(function, parts)
                )
            case Binary(operator):
                made = Binary(operator, *parts)
            case Negative():
                made = Negative(parts[0])
            case Transpose():
                made = Transpose(parts[0])
            case Array():
                made = Array(parts)
            case _:
                made = node
        done.append(made)
    return done[0]


def _names(wrt: str | Iterable[str] | None, expression: Expression) -> tuple[str, ...]:
    if wrt is None:
        return ()
    given = wrt.replace(",", " ").split() if isinstance(wrt, str) else list(wrt)
    names = tuple(dict.fromkeys(normalised(name) for name in given if name))
    missing = [name for name in names if name not in expression.names]
    if missing or not names:
        raise FormulaError(
            f"wrt={', '.join(missing) or wrt!r}: the formula has no such name; it has "
            f"{', '.join(sorted(expression.names)) or 'none'}"
        )
    return names


def _variables(expression: Expression) -> tuple[str, ...]:
    names = sorted(expression.names - _CONSTANTS)
    if not names:
        raise FormulaError(
            f"{label_of(expression).text} has no variable to derive it towards; write one, such as "
            f"x^2"
        )
    return tuple(n for n in names if n.split("_")[0] in _VARIABLES) or tuple(names)


def _fraction(name: str, value: Any) -> Fraction:
    if isinstance(value, str):
        value = _constant(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise FormulaError(f"at {name}: give a number, not a {type(value).__name__}")
    if isinstance(value, float):
        if value != value or abs(value) == float("inf"):
            raise FormulaError(f"at {name}: give a finite number")
        # As it is written: 0.1 is a tenth.
        value = Fraction(repr(value))
    found = Fraction(value)
    if abs(found) > 10**12 or found.denominator > 10**24:
        raise FormulaError(f"at {name} = {float(found):.3g}: give a number below 1e12")
    return found


def _constant(name: str, text: str) -> Fraction | list[Any]:
    """A number or a vector or matrix of numbers, as typed."""
    expression = parse_expression(text)
    if isinstance(expression, Array):
        if expression.names:
            raise FormulaError(f"at {name}: give numbers, such as {name}=[1, 2]")
        return [_plain(name, item) for item in expression.items]
    return _number_of(name, expression)


def _plain(name: str, item: Expression) -> Any:
    if isinstance(item, Array):
        return [_plain(name, part) for part in item.items]
    return _number_of(name, item)


def _number_of(name: str, expression: Expression) -> Fraction:
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Negative) and isinstance(expression.of, Number):
        return -expression.of.value
    try:
        value = float(value_of(expression, {}))
    except (FormulaError, RuntimeError) as error:
        raise FormulaError(f"at {name}: give a number, such as {name}=4 or {name}=1/2") from error
    if value != value or abs(value) == float("inf"):
        raise FormulaError(f"at {name}: give a finite number")
    return Fraction(value).limit_denominator(10**12)


def _tensor(name: str, value: Any, kind: Kind) -> Tensor:
    if isinstance(value, str):
        value = _constant(name, value)
    try:
        if isinstance(value, Tensor):
            tensor = value.detach().cpu().double()
        else:
            tensor = torch.tensor(_floats(value), dtype=torch.float64)
    except (TypeError, ValueError) as error:
        raise FormulaError(f"at {name}: give numbers, such as [1, 2] for a vector") from error
    wanted = {Kind.NUMBER: 0, Kind.VECTOR: 1, Kind.MATRIX: 2}[kind]
    if kind is Kind.VECTOR and tensor.ndim == 2 and tensor.shape[1] == 1:
        return tensor
    if tensor.ndim != wanted or tensor.numel() == 0 or tensor.numel() > 10_000:
        example = {0: "4", 1: "[1, 2]", 2: "[[1, 2], [3, 4]]"}[wanted]
        raise FormulaError(
            f"at {name}: {text_of_name(name)} is a {kind.value} in the formula; give {example}"
        )
    if not bool(torch.isfinite(tensor).all()):
        raise FormulaError(f"at {name}: give finite numbers")
    return tensor.reshape(-1, 1) if kind is Kind.VECTOR else tensor


def _floats(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_floats(item) for item in value]
    return float(value)


def _check_sizes(at: Mapping[str, Tensor], kinds: Mapping[str, Kind]) -> None:
    sizes = {
        size for name, value in at.items() if kinds[name] is not Kind.NUMBER for size in value.shape
    }
    if len(sizes - {1}) > 1:
        said = ", ".join(f"{n} {'×'.join(map(str, v.shape))}" for n, v in at.items() if v.ndim)
        raise FormulaError(
            f"the sizes do not fit: {said}; give vectors and square matrices of one size"
        )
