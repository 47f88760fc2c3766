"""Plain text to expressions: a parser of its own, so that nothing typed is ever run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from thalweg._errors import FormulaError
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
from thalweg.symbolic._spelling import FUNCTIONS, GREEK, function_named, normalised
from thalweg.symbolic._tokens import Kind, Token, tokens_of

MAX_NESTING = 25
"""Brackets within brackets: what the parser, which calls itself for each, has stack for."""

MAX_LETTERS = 3
"""A longer name is a word."""

_BINDING = {
    "+": (1, Operator.PLUS), "-": (1, Operator.MINUS), "*": (2, Operator.TIMES),
    "/": (2, Operator.OVER), "@": (2, Operator.MATMUL), "⊙": (2, Operator.ELEMENTWISE),
}  # fmt: skip
"""How strongly an operator binds; those of one strength are read from left to right."""

_PRODUCT = 2


@dataclass(frozen=True)
class Statement:
    """One line: a name and what it stands for.

    Args:
        name: in the one spelling.
        expression: right of the equals sign.
        line: its line in the text, from 1.
    """

    name: str
    expression: Expression
    line: int


@dataclass(frozen=True)
class Program:
    """A small computation, statement by statement, as written.

    Args:
        statements: in the order of the text; each name once.
    """

    statements: tuple[Statement, ...]

    def __iter__(self) -> Iterator[Statement]:
        return iter(self.statements)


def parse_expression(text: str, *, has_short_names: bool = False) -> Expression:
    """Reads one formula.

    Args:
        text: such as `1/2 (y_pred - y)^2`, `½wᵀA w`, `g(w^T z)`, `||w||^2`, `E[g(w.T z)]`.
        has_short_names: read `Aw` as A times w, as on paper: two or three letters that spell no
            function and no Greek letter are a product.

    Raises:
        FormulaError: where it cannot be read, with the place and what to type.

    Example:
        >>> parse_expression("theta1 x")
        Binary(operator=<Operator.BESIDE: ' '>, left=Name(text='theta_1'), right=Name(text='x'))
    """
    tokens = tokens_of(text)
    if has_short_names:
        after = [*tokens[1:], tokens[-1]]
        tokens = [
            part
            for token, then in zip(tokens, after, strict=True)
            # What stands before a bracket is a function's name.
            for part in ([token] if then.text == "(" and not then.is_apart else _letters_of(token))
        ]
    parser = _Parser(tokens, is_alone="\n" not in text.strip())
    parser.skip_empty_lines()
    expression = parser.expression()
    parser.end_of_line(expects_more=False)
    parser.skip_empty_lines()
    if not parser.is_done:
        raise parser.error("one formula is read at a time; give it on one line")
    return expression


def parse_program(text: str) -> Program:
    r"""Reads statements, one a line: `h = sigmoid(theta1 * x)`, and `x = 1.5` for what is given.

    Args:
        text: the lines; `#` begins a remark, a line may go on within brackets, several short
            statements may share a line, divided by `,` or `;`.

    Raises:
        FormulaError: where it cannot be read, with line, column and what to type.

    Example:
        >>> [statement.name for statement in parse_program("x = 1.5\ny = x^2  # a square")]
        ['x', 'y']
    """
    parser = _Parser(tokens_of(text), is_alone=False)
    statements: dict[str, Statement] = {}
    parser.skip_empty_lines()
    while not parser.is_done:
        statement = parser.statement()
        if statement.name in statements:
            raise FormulaError(
                f"line {statement.line}: {statement.name} has been given on line "
                f"{statements[statement.name].line} already; give the new quantity another name"
            )
        statements[statement.name] = statement
        parser.end_of_line(expects_more=True)
        parser.skip_empty_lines()
    if not statements:
        raise FormulaError(
            "there is nothing to read; write lines such as x = 1.5 and h = sigmoid(2 * x)"
        )
    return Program(tuple(statements.values()))


def _letters_of(token: Token) -> list[Token]:
    """A name of two or three letters as so many names, unless it is a word."""
    text = token.text
    is_word = function_named(text) in FUNCTIONS or text in GREEK.values() or text[0:1] == "T"
    if token.kind is not Kind.NAME or is_word or len(text) > MAX_LETTERS or not text.isalpha():
        return [token]
    return [
        Token(Kind.NAME, letter, token.line, token.column + i, token.is_apart and not i)
        for i, letter in enumerate(text)
    ]


class _Parser:
    """Precedence climbing over tokens."""

    def __init__(self, tokens: list[Token], is_alone: bool) -> None:
        self._tokens = tokens
        self._is_alone = is_alone
        self._at = 0
        self._nesting = 0
        self._bars: list[str] = []

    @property
    def is_done(self) -> bool:
        return self._at >= len(self._tokens)

    def skip_empty_lines(self) -> None:
        while not self.is_done and self._now.kind is Kind.END:
            self._at += 1

    def end_of_line(self, expects_more: bool) -> None:
        """The end of a statement; a comma or semicolon where another may follow."""
        if self._now.text == "," and self._after.kind is Kind.NUMBER:
            raise self.error("decimals are written with a point, as in 1.5")
        if expects_more and self._now.text in (",", ";"):
            self._at += 1
        elif self._now.kind is not Kind.END:
            raise self._unexpected()

    def statement(self) -> Statement:
        token = self._now
        if token.kind is not Kind.NAME or self._after.text != "=":
            if token.kind is Kind.NAME and self._after.text == "(" and self._has_equals():
                raise self.error(
                    f"left of '=' stands a name alone; write {token.text} = …, not "
                    f"{token.text}(…) = …"
                )
            raise self.error(
                "a line is name = formula, such as h = sigmoid(theta1 * x); give this one a name"
            )
        self._at += 2
        expression = self.expression()
        if self._now.text == "=":
            raise self.error("there are two '=' in this line; write one statement a line")
        return Statement(normalised(token.text), expression, token.line)

    def expression(self, binding: int = 1) -> Expression:
        """What follows, as far as operators bind at least so strongly."""
        self._nest()
        left = self._factor()
        while True:
            token = self._now
            if token.text in _BINDING and token.kind is Kind.SIGN:
                strength, operator = _BINDING[token.text]
                if strength < binding:
                    break
                self._at += 1
                left = Binary(operator, left, self.expression(strength + 1))
            elif self._begins_factor() and binding <= _PRODUCT:
                left = Binary(Operator.BESIDE, left, self.expression(_PRODUCT + 1))
            else:
                break
        self._nesting -= 1
        return left

    def _factor(self) -> Expression:
        """A power, or a sign before one: −x² is −(x²)."""
        num_minus = 0
        while self._now.kind is Kind.SIGN and self._now.text in "+-":
            num_minus += self._now.text == "-"
            self._at += 1
        found = self._power()
        return Negative(found) if num_minus % 2 else found

    def _power(self) -> Expression:
        found = self._raised(self._atom())
        while self._now.text == "^":
            self._at += 1
            if self._is_transposition():
                found = self._raised(Transpose(found))
                continue
            self._nest()
            exponent = self._bracketed("}") if self._now.text == "{" else self._factor()
            self._nesting -= 1
            found = self._raised(Binary(Operator.POWER, found, exponent))
        return found

    def _is_transposition(self) -> bool:
        """Takes the T of w^T, w^{T}, w^Tz or w^⊤."""
        token = self._now
        if token.text == "ᵀ" or (token.kind is Kind.NAME and token.text == "T"):
            self._at += 1
            return True
        if token.text == "{" and self._after.text in ("T", "ᵀ"):
            self._at += 2
            self._close("}", token)
            return True
        if token.kind is Kind.NAME and token.text[0] == "T" and token.text[1:2].isalpha():
            rest = Token(Kind.NAME, token.text[1:], token.line, token.column + 1, False)
            self._tokens[self._at] = rest
            return True
        return False

    def _raised(self, found: Expression) -> Expression:
        while True:
            token = self._now
            if token.text == "ᵀ":
                found = Transpose(found)
            elif token.kind is Kind.RAISED:
                exponent: Expression = Number(token.text.lstrip("-"))
                if token.text.startswith("-"):
                    exponent = Negative(exponent)
                found = Binary(Operator.POWER, found, exponent)
            elif token.text == "'":
                raise self.error("a derivative's ' stands before '(', and a transpose is x^T")
            else:
                return found
            self._at += 1

    def _atom(self) -> Expression:
        token = self._now
        if token.kind is Kind.NUMBER:
            self._at += 1
            if "/" in token.text:
                over, under = token.text.split("/")
                return Binary(Operator.OVER, Number(over), Number(under))
            return self._placed(Number, token)
        if token.kind is Kind.NAME:
            return self._named(token)
        if token.text == "(":
            return self._bracketed(")")
        if token.text == "[":
            return self._array(token)
        if token.text in ("|", "‖"):
            return self._barred(token)
        if token.text == "√":
            self._at += 1
            self._nest()
            root = Call("sqrt", (self._atom(),))
            self._nesting -= 1
            return root
        raise self._unexpected()

    def _placed(self, make: type[Number], token: Token) -> Number:
        try:
            return make(token.text)
        except FormulaError as error:
            raise FormulaError(f"{self._place(token)}: {error}") from error

    def _named(self, token: Token) -> Expression:
        self._at += 1
        text = token.text
        while self._now.text == "'" and not self._now.is_apart:
            text += "'"
            self._at += 1
        if text == "E" and self._now.text == "[":
            opening = self._now
            self._at += 1
            inside = self._within(self.expression)
            self._close("]", opening)
            return Call("E", (inside,))
        if self._now.text == "(" and (not self._now.is_apart or self._is_function(text)):
            return self._call(function_named(text), token)
        if "'" in text:
            raise self.error("a derivative's ' stands before '(', and a transpose is x^T", token)
        if self._now.text == "[" and not self._now.is_apart:
            raise self.error(
                f"single entries such as {text}[0] are not read; give the entry a name of its own, "
                f"or write the sum as a product with @"
            )
        name = normalised(text)
        # σ and sigma may be a quantity; the others are functions and nothing else.
        is_reserved = function_named(text) in FUNCTIONS and name in FUNCTIONS
        if is_reserved and self._begins_factor():
            raise self.error(f"write what {text} is taken of in brackets: {text}(x)", token)
        return Name(name)

    def _is_function(self, text: str) -> bool:
        return function_named(text).rstrip("'") in FUNCTIONS

    def _call(self, function: str, token: Token) -> Expression:
        opening = self._now
        self._at += 1
        args: list[Expression] = []

        def read() -> Expression:
            # leaky_relu(x, alpha=0.1): the name says nothing that the place does not.
            if args and self._now.kind is Kind.NAME and self._after.text == "=":
                self._at += 2
            return self.expression()

        while self._now.text != ")":
            args.append(self._within(read))
            if self._now.text != ",":
                break
            self._at += 1
        self._close(")", opening)
        allowed = FUNCTIONS.get(function)
        if not args or (allowed is not None and len(args) not in allowed):
            wanted = " or ".join(map(str, allowed or (1,)))
            raise self.error(
                f"{token.text} takes {wanted} argument{'s' if wanted != '1' else ''}, not "
                f"{len(args)}",
                token,
            )
        return Call(function, tuple(args))

    def _array(self, opening: Token) -> Expression:
        self._at += 1
        items: list[Expression] = []
        while self._now.text != "]":
            items.append(self._within(self.expression))
            if self._now.text not in (",", ";"):
                break
            if self._now.text == ";":
                raise self.error("rows of a matrix are bracketed: [[1, 2], [3, 4]]")
            self._at += 1
        if self._begins_factor() or self._now.kind is Kind.NUMBER:
            raise self.error("numbers in brackets are divided by commas: [1, 2]")
        self._close("]", opening)
        try:
            return Array(tuple(items))
        except FormulaError as error:
            raise FormulaError(f"{self._place(opening)}: {error}") from error

    def _barred(self, opening: Token) -> Expression:
        """|x| and ‖x‖: the next bar closes what this one opened."""
        self._at += 1
        self._bars.append(opening.text)
        inside = self.expression()
        self._bars.pop()
        self._close(opening.text, opening)
        if self._now.text == "₂":
            self._at += 1
        return Call("abs" if opening.text == "|" else "norm", (inside,))

    def _bracketed(self, close: str) -> Expression:
        opening = self._now
        self._at += 1
        inside = self._within(self.expression)
        self._close(close, opening)
        return inside

    def _within(self, read: Callable[[], Expression]) -> Expression:
        """Reads inside brackets, where bars opened outside are not closed."""
        bars, self._bars = self._bars, []
        found = read()
        self._bars = bars
        return found

    def _close(self, sign: str, opening: Token) -> None:
        if self._now.text == sign:
            self._at += 1
            return
        if self._now.kind is Kind.END:
            raise self.error(
                f"the {opening.text!r} of column {opening.column} is never closed; add {sign!r}"
            )
        raise self._unexpected()

    def _begins_factor(self) -> bool:
        """Whether what follows is read as a product without a sign."""
        token = self._now
        if token.kind is Kind.SIGN and token.text in ("|", "‖"):
            return not self._bars or self._bars[-1] != token.text
        return token.kind is Kind.NAME or (
            token.kind is Kind.SIGN and token.text in ("(", "[", "√")
        ) or (token.kind is Kind.NUMBER and "/" in token.text)  # fmt: skip

    def _nest(self) -> None:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise self.error(
                f"brackets are nested more than {MAX_NESTING} deep; give the inner parts names, "
                f"each on a line of its own"
            )

    def _has_equals(self) -> bool:
        for token in self._tokens[self._at :]:
            if token.kind is Kind.END:
                return False
            if token.text == "=":
                return True
        return False

    @property
    def _now(self) -> Token:
        return self._tokens[min(self._at, len(self._tokens) - 1)]

    @property
    def _after(self) -> Token:
        return self._tokens[min(self._at + 1, len(self._tokens) - 1)]

    def _place(self, token: Token) -> str:
        column = f"column {token.column}"
        return column if self._is_alone else f"line {token.line}, {column}"

    def error(self, said: str, token: Token | None = None) -> FormulaError:
        return FormulaError(f"{self._place(token or self._now)}: {said}")

    def _unexpected(self) -> FormulaError:
        token = self._now
        before = self._tokens[self._at - 1] if self._at else None
        if token.kind is Kind.END:
            after = f" after {before.text!r}" if before and before.text else ""
            return self.error(f"the line ends{after} where a number, a name or '(' is expected")
        if token.kind is Kind.NUMBER:
            return self.error(
                f"an operator is missing before {token.text}; write + - * / @ or ^ between"
            )
        if token.text in (")", "]", "}"):
            return self.error(f"{token.text!r} closes nothing that is open; take it away")
        if token.text == "=":
            return self.error("'=' stands after the name of a line only; write name = formula")
        if token.text == ",":
            return self.error("',' stands between arguments and in brackets; decimals are 0.5")
        return self.error(f"{token.text!r} is not expected here; a number, a name or '(' is")
