"""From a text to its graph: which operation each sign stands for, by the shapes around it."""

from __future__ import annotations

from math import e, pi

import torch

from thalweg._errors import FormulaError
from thalweg.sheet._draft import MAX_ENTRIES, Draft
from thalweg.sheet._elementwise import (
    ADD,
    DIVIDE,
    EXP,
    FUNCTIONS,
    HADAMARD,
    IDENTITY,
    MULTIPLY,
    NEGATE,
    POWER,
    SUBTRACT,
    power_by,
)
from thalweg.sheet._graph import Graph
from thalweg.sheet._losses import (
    HALF_SQUARED_ERROR,
    MEAN_SQUARED_ERROR,
    SQUARED_ERROR,
    BinaryCrossEntropy,
    CrossEntropy,
    SoftmaxCrossEntropy,
)
from thalweg.sheet._operation import Operation
from thalweg.sheet._order import in_order, needs_of
from thalweg.sheet._products import Moved, Product, Shapes, Stack
from thalweg.sheet._reductions import LogSoftmax, Mean, Norm, Softmax, SquaredNorm, Sum
from thalweg.sheet._term import Term, held, scalar
from thalweg.symbolic import (
    FUNCTIONS as KNOWN,
)
from thalweg.symbolic import (
    Array,
    Binary,
    Call,
    Expression,
    Label,
    Name,
    Negative,
    Number,
    Operator,
    Program,
    Statement,
    Transpose,
    normalised,
    parse_program,
    text_of_name,
)

LOSS_NAMES = ("L", "loss", "Loss", "E", "J", "C", "cost")
"""A quantity so named is derived where nothing else is said; E, J and C only where they end it."""

_CONSTANTS = {"pi": (pi, Label("π", r"\pi")), "e": (e, Label("e", "e"))}
_REDUCTIONS: dict[str, Operation] = {
    "sum": Sum(), "mean": Mean(), "norm": Norm(), "softmax": Softmax(),
    "log_softmax": LogSoftmax(),
}  # fmt: skip
_LOSSES: dict[str, Operation] = {
    "squared_error": SQUARED_ERROR, "half_squared_error": HALF_SQUARED_ERROR,
    "mse": MEAN_SQUARED_ERROR, "binary_cross_entropy": BinaryCrossEntropy(),
}  # fmt: skip
_SLOPES = {"leaky_relu": 0.01, "elu": 1.0}
"""What torch takes where the second argument is left away."""


def graph_of(text: str | Program, loss: str | None = None) -> Graph:
    r"""The forward and backward pass of a small computation written as text.

    Each quantity gets its value, the local derivatives of the operation that makes it, and ∂L/∂q,
    by rules written down beside one another; every number is then compared with autograd.

    Args:
        text: one statement a line: `h = sigmoid(theta1 * x)`, and `x = 1.5` for what is given.
        loss: name of L; where none is given the quantity called L, or else the last line.

    Returns:
        The graph, all numbers in float64.

    Raises:
        FormulaError: where the text cannot be read or worked out, with the line.

    Cost: three passes over the operations and a backward pass of autograd; small by its limits.

    Example:
        >>> graph = graph_of("x = 1.5; w = 4\nh = sigmoid(w * x)\nL = 1/2 (h - 1)^2")
        >>> round(float(graph["w"].gradient), 12)
        -9.148122e-06

    Source: Rumelhart, Hinton and Williams 1986, eqs. 4–7.
    """
    program = parse_program(text) if isinstance(text, str) else text
    draft, place = draft_of(program, loss)
    return draft.finished(place)


def draft_of(program: Program, loss: str | None) -> tuple[Draft, int]:
    """The steps of a program, and the place of its loss among them."""
    return _Builder(program).draft(loss)


class _Builder:
    def __init__(self, program: Program) -> None:
        self._statements = {statement.name: statement for statement in program}
        self._order = in_order(program)
        self._terms: dict[str, Term] = {}
        self._draft = Draft(frozenset(self._statements))
        self._line = 0

    def draft(self, loss: str | None) -> tuple[Draft, int]:
        for statement in self._order:
            self._line = statement.line
            self._terms[statement.name] = self._stated(statement)
        name = self._loss_name(loss)
        place = self._terms[name].place
        assert place is not None, "every statement is a step"
        return self._draft, place

    def _loss_name(self, loss: str | None) -> str:
        if loss is not None:
            name = normalised(loss) if loss else ""
            if name not in self._statements:
                raise FormulaError(
                    f"loss={loss!r}: the text gives no such quantity; it gives "
                    f"{', '.join(self._statements)}"
                )
            return name
        used = {name for statement in self._order for name in needs_of(statement)}
        for name in LOSS_NAMES:
            found = self._terms.get(name)
            is_end = name.lower() in ("l", "loss") or name not in used
            if found is None or found.value.numel() != 1 or self._is_given(name) or not is_end:
                continue
            return name
        *_, last = self._statements
        if all(self._is_given(name) for name in self._statements):
            raise FormulaError(
                "the text gives values only; add what is computed from them, such as "
                "L = 1/2 (w * x - y)^2"
            )
        if self._is_given(last):
            last = [name for name in self._statements if not self._is_given(name)][-1]
        return last

    def _is_given(self, name: str) -> bool:
        place = self._terms[name].place
        return place is None or self._draft.steps[place].operation is None

    def _stated(self, statement: Statement) -> Term:
        """One line: what it gives gets the line's name."""
        try:
            term = self._worked(statement.expression)
        except FormulaError as error:
            raise FormulaError(self._placed(str(error))) from error
        name = statement.name
        if term.place is None:
            if term.is_row:
                # A row given as such is kept as the matrix that it is.
                term = Term(term.value.reshape(1, -1), term.label)
            place = self._draft.give(name, term.value, term.label, statement.line)
        elif self._draft.steps[term.place].is_named:
            place = self._draft.apply(IDENTITY, (term.place,), name, statement.line)
        else:
            place = term.place
            self._draft.rename(place, name)
            self._draft.steps[place].line = statement.line
        return Term(term.value, Label.of_name(name), place, term.is_row)

    def _placed(self, said: str) -> str:
        return said if said.startswith("line ") else f"line {self._line}: {said}"

    def _worked(self, expression: Expression) -> Term:
        """Parts first, with a stack of our own: an expression may be 200 levels deep."""
        done: list[Term] = []
        for node in expression.walk():
            num_parts = len(node.parts)
            parts = tuple(done[len(done) - num_parts :]) if num_parts else ()
            del done[len(done) - num_parts :]
            done.append(self._term(node, parts))
        (term,) = done
        return term

    def _term(self, node: Expression, parts: tuple[Term, ...]) -> Term:
        match node:
            case Number(text):
                return Term(scalar(float(node.value)), Label(text, text))
            case Name(text):
                return self._named(text)
            case Negative():
                return self._negative(parts[0])
            case Transpose():
                return self._transposed(parts[0])
            case Array():
                return self._array(parts)
            case Binary(operator):
                return self._binary(operator, *parts)
            case Call(function):
                return self._called(function, parts)
        raise FormulaError(f"{type(node).__name__} cannot be worked out")

    def _named(self, name: str) -> Term:
        if name in self._terms:
            return self._terms[name]
        if name in _CONSTANTS:
            value, label = _CONSTANTS[name]
            return Term(scalar(value), label)
        shown = text_of_name(name)
        raise FormulaError(f"{shown} has no value; add a line such as {name} = 0.5")

    def _negative(self, a: Term) -> Term:
        if a.place is None:
            return Term(-a.value, Label(f"−{held(a).text}", f"-{held(a).latex}"), None, a.is_row)
        return self._apply(NEGATE, a)

    def _transposed(self, a: Term) -> Term:
        if a.is_number:
            return a
        if a.value.ndim == 1:
            return Term(a.value, a.label, a.place, not a.is_row)
        if a.place is None:
            label = Label(f"{held(a).text}ᵀ", f"{{{held(a).latex}}}^{{\\top}}")
            return Term(a.value.T, label)
        return self._apply(Moved("transpose"), a)

    def _array(self, parts: tuple[Term, ...]) -> Term:
        if any(part.value.ndim > 1 for part in parts):
            raise FormulaError(
                f"a vector of {next(p for p in parts if p.value.ndim > 1).shape} cannot be "
                f"written; its entries are numbers, or rows of numbers"
            )
        if len({part.value.shape for part in parts}) > 1:
            raise FormulaError("the entries of a vector are numbers, or rows of one length")
        if sum(part.value.numel() for part in parts) > MAX_ENTRIES:
            raise FormulaError(f"a matrix may have {MAX_ENTRIES:,} entries; take a smaller one")
        if all(part.place is None for part in parts):
            value = torch.stack([part.value for part in parts])
            is_matrix = value.ndim == 2
            rows = [p.label.latex.removeprefix("\\begin{pmatrix}") for p in parts]
            rows = [r.removesuffix("\\end{pmatrix}").replace(r"\\", "&") for r in rows]
            latex = r" \\ ".join(rows if is_matrix else [p.label.latex for p in parts])
            text = ", ".join(p.label.text for p in parts)
            return Term(value, Label(f"[{text}]", f"\\begin{{pmatrix}} {latex} \\end{{pmatrix}}"))
        return self._apply(Stack(len(parts)), *(Term(p.value, p.label, p.place) for p in parts))

    def _binary(self, operator: Operator, a: Term, b: Term) -> Term:
        match operator:
            case Operator.PLUS | Operator.MINUS:
                self._check_alike(operator, a, b)
                return self._apply(ADD if operator is Operator.PLUS else SUBTRACT, a, b)
            case Operator.OVER:
                self._check_alike(operator, a, b)
                return self._apply(DIVIDE, a, b)
            case Operator.POWER:
                return self._power(a, b)
            case Operator.ELEMENTWISE:
                self._check_alike(operator, a, b)
                return self._apply(HADAMARD, a, b)
            case Operator.TIMES:
                if a.is_number or b.is_number:
                    return self._apply(MULTIPLY, a, b)
                if a.value.ndim == b.value.ndim == 1 and a.is_row != b.is_row:
                    return self._product(a, b)
                if a.value.shape == b.value.shape:
                    return self._apply(HADAMARD, a, b)
                raise FormulaError(
                    f"'*' multiplies entry by entry, and {a.label.text} is {a.shape}, "
                    f"{b.label.text} {b.shape}; write {a.label.text} @ {b.label.text} for the "
                    f"product of matrices"
                )
            case Operator.BESIDE:
                if a.is_number or b.is_number:
                    return self._apply(MULTIPLY, a, b)
        if a.is_number or b.is_number:
            raise FormulaError(
                f"'@' multiplies matrices and vectors, and {a.label.text} is {a.shape}, "
                f"{b.label.text} {b.shape}; write * between"
            )
        are_vectors = a.value.ndim == b.value.ndim == 1
        if operator is Operator.BESIDE and are_vectors and a.is_row == b.is_row:
            raise FormulaError(
                f"{a.label.text} {b.label.text} is a product of two vectors of one kind; write "
                f"a^T b for the scalar product, a * b for that of the entries"
            )
        return self._product(a, b)

    def _power(self, a: Term, b: Term) -> Term:
        if a.place is None and a.label.text == "e" and a.is_number:
            return self._apply(EXP, b)
        if not (a.is_number or b.is_number):
            raise FormulaError(f"the exponent {b.label.text} is {b.shape}; it has to be a number")
        if b.place is None and b.is_number and a.place is not None:
            step = self._draft.steps[a.place]
            is_last = a.place == len(self._draft.steps) - 1 and not step.is_named
            if float(b.value) == 2 and is_last and isinstance(step.operation, Norm):
                # ‖w‖² has a derivative at 0, which ‖w‖ has not.
                self._draft.steps.pop()
                place = self._draft.apply(SquaredNorm(), step.inputs, None, self._line)
                return self._of_step(place, False)
            if a.value.ndim == 2:
                self._say_entries(a)
            return self._apply(power_by(float(b.value), b.label), a)
        if a.value.ndim == 2:
            self._say_entries(a)
        return self._apply(POWER, a, b)

    def _say_entries(self, a: Term) -> None:
        raise FormulaError(
            f"a power of the matrix {a.label.text} could be meant entry by entry or as a product; "
            f"write A ⊙ A or A @ A"
        )

    def _product(self, a: Term, b: Term) -> Term:
        is_row = False
        match (a.value.ndim, b.value.ndim):
            case (2, 2):
                shapes, fits = Shapes.MATRIX_MATRIX, a.value.shape[1] == b.value.shape[0]
            case (2, 1) if not b.is_row or a.value.shape[1] == 1:
                if b.is_row:
                    column = self._flattened(a)
                    return self._product(column, b)
                shapes, fits = Shapes.MATRIX_VECTOR, a.value.shape[1] == b.value.shape[0]
            case (1, 2):
                shapes, fits = Shapes.ROW_MATRIX, a.value.shape[0] == b.value.shape[0]
                is_row = a.is_row
            case (1, 1) if b.is_row and not a.is_row:
                shapes, fits = Shapes.COLUMN_ROW, True
                if a.value.numel() * b.value.numel() > MAX_ENTRIES:
                    raise FormulaError(f"a matrix may have {MAX_ENTRIES:,} entries")
            case (1, 1) if not (a.is_row and b.is_row):
                shapes, fits = Shapes.ROW_COLUMN, a.value.shape == b.value.shape
            case _:
                fits = False
        if not fits:
            raise FormulaError(
                f"{a.label.text} is {a.shape} and {b.label.text} {b.shape}, which do not fit for a "
                f"product; transpose one with ^T, or mend the sizes"
            )
        return self._apply(Product(shapes), a, b, is_row=is_row)

    def _flattened(self, a: Term) -> Term:
        return self._apply(Moved("entries of", (a.value.numel(),)), a)

    def _check_alike(self, operator: Operator, a: Term, b: Term) -> None:
        if a.is_number or b.is_number:
            return
        is_alike = a.value.shape == b.value.shape
        is_row_wise = operator in (Operator.PLUS, Operator.MINUS) and (
            a.value.ndim == 2 and b.value.ndim == 1 and a.value.shape[1:] == b.value.shape
        )
        if is_alike and a.value.ndim == 1 and a.is_row != b.is_row:
            raise FormulaError(
                f"{a.label.text} is {a.shape} and {b.label.text} {b.shape}; transpose one with ^T"
            )
        if not (is_alike or is_row_wise):
            raise FormulaError(
                f"{a.label.text} is {a.shape} and {b.label.text} {b.shape}; "
                f"'{operator.value}' needs the same sizes"
            )

    def _called(self, function: str, parts: tuple[Term, ...]) -> Term:
        if function in FUNCTIONS:
            return self._elementwise(function, parts)
        if function in _REDUCTIONS:
            (a,) = parts
            if a.is_number and function in ("softmax", "log_softmax"):
                raise FormulaError(
                    f"{function} is taken of a vector, and {a.label.text} is a number"
                )
            return self._apply(_REDUCTIONS[function], a, is_row=False)
        if function == "transpose":
            return self._transposed(parts[0])
        if function == "dot":
            a, b = (Term(p.value, p.label, p.place) for p in parts)
            return self._product(Term(a.value, a.label, a.place, True), b)
        if function == "outer":
            a, b = (Term(p.value, p.label, p.place) for p in parts)
            return self._product(a, Term(b.value, b.label, b.place, True))
        if function in ("cross_entropy", "softmax_cross_entropy"):
            return self._cross_entropy(function, *parts)
        if function in _LOSSES:
            a, b = parts
            if a.value.shape != b.value.shape:
                raise FormulaError(
                    f"{function}: {a.label.text} is {a.shape} and {b.label.text} {b.shape}; "
                    f"prediction and target need the same sizes"
                )
            self._check_probabilities(function, a)
            return self._apply(_LOSSES[function], a, b, is_row=False)
        return self._product_with_brackets(function, parts)

    def _product_with_brackets(self, function: str, parts: tuple[Term, ...]) -> Term:
        """h(1 − h), where h is a quantity, is a product."""
        is_quantity = function in self._terms or function in _CONSTANTS
        if is_quantity and len(parts) == 1:
            return self._binary(Operator.BESIDE, self._named(function), parts[0])
        raise FormulaError(
            f"there is no function {function!r}; the functions are {', '.join(sorted(KNOWN))}; for "
            f"a product write * before the bracket"
        )

    def _elementwise(self, function: str, parts: tuple[Term, ...]) -> Term:
        if function in _SLOPES:
            slope = _SLOPES[function]
            number = Term(scalar(slope), Label(f"{slope:g}", f"{slope:g}"))
            a, b = parts if len(parts) == 2 else (parts[0], number)
            if not b.is_number:
                raise FormulaError(f"{function}: the slope {b.label.text} has to be a number")
            return self._apply(FUNCTIONS[function], a, b)
        if len(parts) == 2:
            self._check_alike(Operator.OVER, *parts)
        return self._apply(FUNCTIONS[function], *parts)

    def _cross_entropy(self, function: str, a: Term, b: Term) -> Term:
        if a.is_number:
            raise FormulaError(
                f"{function} is taken of a vector with an entry for each class, and "
                f"{a.label.text} is a number; binary_cross_entropy(p, y) is taken of numbers"
            )
        if b.is_number and a.value.ndim == 1:
            b = self._one_hot(function, a, b)
        if a.value.shape != b.value.shape:
            raise FormulaError(
                f"{function}: {a.label.text} is {a.shape} and {b.label.text} {b.shape}; the "
                f"target is a vector of the same size, or the number of the class from 0"
            )
        if function == "softmax_cross_entropy" or not self._is_probability(a):
            return self._apply(SoftmaxCrossEntropy(), a, b, is_row=False)
        return self._apply(CrossEntropy(), a, b, is_row=False)

    def _one_hot(self, function: str, a: Term, b: Term) -> Term:
        number, size = float(b.value), a.value.numel()
        if number != int(number) or not 0 <= number < size:
            raise FormulaError(
                f"{function}: the class {b.label.text} = {number:g} has to be a whole number from "
                f"0 to {size - 1}"
            )
        value = torch.zeros(size, dtype=torch.float64)
        value[int(number)] = 1
        entries = ", ".join(f"{v:g}" for v in value.tolist())
        latex = " & ".join(f"{v:g}" for v in value.tolist())
        return Term(value, Label(f"[{entries}]", f"\\begin{{pmatrix}} {latex} \\end{{pmatrix}}"))

    def _is_probability(self, a: Term) -> bool:
        """Whether cross_entropy(a, y) is that of probabilities: of a softmax, or what sums to 1."""
        is_softmax = a.place is not None and type(self._draft.steps[a.place].operation) is Softmax
        total = a.value.sum(-1)
        sums_to_one = bool(((total - 1).abs() < 1e-6).all()) and bool((a.value >= 0).all())
        if is_softmax or sums_to_one:
            if a.value.ndim > 1:
                raise FormulaError(
                    f"cross_entropy of several rows is read as torch does, of logits; give "
                    f"{a.label.text} before its softmax"
                )
            return True
        return False

    def _check_probabilities(self, function: str, a: Term) -> None:
        if function != "binary_cross_entropy":
            return
        if not bool(((a.value >= 0) & (a.value <= 1)).all()):
            raise FormulaError(
                f"binary_cross_entropy is taken of probabilities, and {a.label.text} leaves "
                f"[0, 1]; write binary_cross_entropy(sigmoid({a.label.text}), y)"
            )

    def _apply(self, operation: Operation, *terms: Term, is_row: bool | None = None) -> Term:
        """An operation; of constants alone it is worked out at once."""
        row = any(t.is_row for t in terms) if is_row is None else is_row
        if all(term.place is None for term in terms):
            with torch.no_grad():
                value = operation.value(*(term.value for term in terms))
            letters = dict(zip("ab", map(held, terms), strict=False))
            letters |= {f"i{n}": term.label for n, term in enumerate(terms)}
            label = operation.formula().filled(**letters)
            if not bool(torch.isfinite(value).all()):
                kind = "no real number" if bool(torch.isnan(value).any()) else "beyond float64"
                raise FormulaError(f"{label.text} is {kind}; write a value that is")
            return Term(value, label, None, row and value.ndim == 1)
        places = tuple(
            self._draft.constant(term.value, held(term)) if term.place is None else term.place
            for term in terms
        )
        return self._of_step(self._draft.apply(operation, places, None, self._line), row)

    def _of_step(self, place: int, is_row: bool) -> Term:
        step = self._draft.steps[place]
        return Term(step.value, step.label, place, is_row and step.value.ndim == 1)
