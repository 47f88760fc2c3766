"""The rules of differentiation as they apply to a formula of numbers, from the outside in."""

from __future__ import annotations

from thalweg.symbolic._expression import Binary, Call, Expression, Name, Negative, Number, Operator
from thalweg.symbolic._label import Label
from thalweg.symbolic._setting import label_of, name_of_function

MAX_RULES = 16

_SLOPES = {
    "sigmoid": Label(
        "σ($a)(1 − σ($a))", r"\sigma\left($a\right)\left(1 - \sigma\left($a\right)\right)"
    ),
    "tanh": Label("(1 − tanh²($a))", r"\left(1 - \tanh^{2}\left($a\right)\right)"),
    "exp": Label("exp($a)", r"\exp\left($a\right)"),
    "log": Label("1/($a)", r"\frac{1}{$a}"),
    "sqrt": Label("1/(2√($a))", r"\frac{1}{2\sqrt{$a}}"),
    "sin": Label("cos($a)", r"\cos\left($a\right)"),
    "cos": Label("(−sin($a))", r"\left(-\sin\left($a\right)\right)"),
    "tan": Label("(1 + tan²($a))", r"\left(1 + \tan^{2}\left($a\right)\right)"),
    "sinh": Label("cosh($a)", r"\cosh\left($a\right)"),
    "cosh": Label("sinh($a)", r"\sinh\left($a\right)"),
    "relu": Label("step($a)", r"\operatorname{step}\left($a\right)"),
    "abs": Label("sign($a)", r"\operatorname{sign}\left($a\right)"),
    "softplus": Label("σ($a)", r"\sigma\left($a\right)"),
}  # fmt: skip


def rules_of(expression: Expression, variables: tuple[str, ...]) -> tuple[Label, ...]:
    """The rules, one line each, towards each variable."""
    found: dict[str, Label] = {}
    for name in variables:
        for node in reversed(list(expression.walk())):
            rule = _rule(node, name) if name in node.names else None
            if rule is not None:
                found.setdefault(rule.text, rule)
    return tuple(found.values())[:MAX_RULES]


def _rule(node: Expression, name: str) -> Label | None:
    match node:
        case Negative(of):
            return _line("constant factor", node, name, Label("−$a", "-$a"), a=_d(of, name))
        case Call(function, args):
            return _call(node, function, args, name)
        case Binary(operator, a, b):
            return _binary(node, operator, a, b, name)
    return None


def _call(node: Expression, function: str, args: tuple[Expression, ...], name: str) -> Label | None:
    if len(args) != 1:
        return None
    (inner,) = args
    text, latex = name_of_function(function + "'")
    generic = Label(f"{text}($a)", f"{latex}\\left($a\\right)")
    slope = _SLOPES.get(function, generic).filled(a=label_of(inner))
    is_plain = isinstance(inner, Name)
    pattern = Label("$b", "$b") if is_plain else Label("$b·$c", r"$b \cdot $c")
    rule = f"derivative of {name_of_function(function)[0]}" if is_plain else "chain rule"
    return _line(rule, node, name, pattern, b=slope, c=_d(inner, name))


def _binary(
    node: Expression, operator: Operator, a: Expression, b: Expression, name: str
) -> Label | None:
    has_a, has_b = name in a.names, name in b.names
    letters = {"a": _held(a), "b": _held(b), "c": _d(a, name), "e": _d(b, name)}
    match operator:
        case Operator.PLUS | Operator.MINUS:
            sign = ("+", "+") if operator is Operator.PLUS else ("−", "-")
            if not (has_a and has_b):
                # A constant beside it goes away.
                pattern = Label("$c", "$c") if has_a else Label("$e", "$e")
                if has_b and operator is Operator.MINUS:
                    pattern = Label("−$e", "-$e")
            else:
                pattern = Label(f"$c {sign[0]} $e", f"$c {sign[1]} $e")
            return _line("sum rule", node, name, pattern, **letters)
        case Operator.OVER:
            if not has_b:
                pattern = Label("$c/$b", r"\frac{$c}{$b}")
                return _line("constant factor", node, name, pattern, **letters)
            pattern = Label("($c·$b − $a·$e)/$b²", r"\frac{$c \cdot $b - $a \cdot $e}{{$b}^{2}}")
            return _line("quotient rule", node, name, pattern, **letters)
        case Operator.POWER:
            return _power(node, a, b, name, letters)
        case _:
            if has_a and has_b:
                pattern = Label("$c·$b + $a·$e", r"$c \cdot $b + $a \cdot $e")
                return _line("product rule", node, name, pattern, **letters)
            pattern = Label("$c·$b", r"$c \cdot $b") if has_a else Label("$a·$e", r"$a \cdot $e")
            return _line("constant factor", node, name, pattern, **letters)


def _power(
    node: Expression, a: Expression, b: Expression, name: str, letters: dict[str, Label]
) -> Label:
    if name in a.names and name in b.names:
        text = "$y·($e·ln $a + $b·$c/$a)"
        latex = r"$y \cdot \left($e \cdot \ln $a + $b \cdot \frac{$c}{$a}\right)"
        return _line("power of both", node, name, Label(text, latex), y=label_of(node), **letters)
    if name in b.names:
        is_e = isinstance(a, Name) and a.text == "e"
        pattern = (
            Label("$y·$e", r"$y \cdot $e") if is_e else Label("$y·ln $a·$e", r"$y \ln $a \cdot $e")
        )
        return _line("exponential", node, name, pattern, y=label_of(node), **letters)
    less = _less(b)
    base = (
        Label("$b·$a", r"$b \, $a")
        if less is None
        else Label(f"$b·$a{less.text}", f"$b \\, {{$a}}{less.latex}")
    )
    if isinstance(a, Name):
        return _line("power rule", node, name, base, **letters)
    pattern = Label(f"{base.text}·$c", f"{base.latex} \\cdot $c")
    return _line("power rule, chain rule", node, name, pattern, **letters)


def _less(exponent: Expression) -> Label | None:
    """The exponent less one; None where that is one."""
    if isinstance(exponent, Number) and exponent.value.denominator == 1:
        less = exponent.value - 1
        if less == 1:
            return None
        raised = str(less).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
        return Label(raised, f"^{{{less}}}")
    label = label_of(exponent)
    return Label(f"^({label.text} − 1)", f"^{{{label.latex} - 1}}")


def _line(rule: str, node: Expression, name: str, pattern: Label, **letters: Label) -> Label:
    left, right = _d(node, name), pattern.filled(**letters)
    return Label(
        f"{rule}: {left.text} = {right.text}",
        f"\\text{{{'derivative' if rule.startswith('derivative') else rule}: }} "
        f"{left.latex} = {right.latex}",
    )


def _d(node: Expression, name: str) -> Label:
    """d/dx of a part; of x itself 1, of what does not hold it 0."""
    if isinstance(node, Name) and node.text == name:
        return Label("1", "1")
    if name not in node.names:
        return Label("0", "0")
    x, inner = Label.of_name(name), label_of(node)
    return Label(
        f"d/d{x.text}[{inner.text}]", f"\\frac{{d}}{{d{x.latex}}}\\left[{inner.latex}\\right]"
    )


def _held(node: Expression) -> Label:
    label = label_of(node)
    if isinstance(node, Name | Call) or (isinstance(node, Number) and "e" not in node.text.lower()):
        return label
    return Label(f"({label.text})", f"\\left({label.latex}\\right)")
