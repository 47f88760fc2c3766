"""Operations that act on each entry by itself: arithmetic and activations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.sheet._operation import Operation
from thalweg.symbolic import Label

Function = Callable[..., Tensor]
ONE = Label("1", "1")
OPERATOR = r"\operatorname"


@dataclass(frozen=True)
class Elementwise(Operation):
    """y = f(a) or f(a, b), entry by entry; a number is spread over all entries.

    Args:
        title: in a sentence.
        of: the formula.
        compute: the value by the formula, of the inputs.
        by_torch: the value by torch.
        slopes: for each input, the derivative as a function of the output and the inputs.
        written: for each input, the derivative's formula.
        kink_at: where the derivative does not exist, and what is taken there.
    """

    title: str
    of: Label
    compute: Function
    by_torch: Function
    slopes: tuple[Function, ...]
    written: tuple[Label, ...]
    kink_at: tuple[Function, str] | None = None

    def value(self, *inputs: Tensor) -> Tensor:
        """f of the inputs."""
        return self.compute(*inputs)

    def peer(self, *inputs: Tensor) -> Tensor:
        """f by torch."""
        return self.by_torch(*inputs)

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """∂f at each entry."""
        return self.slopes[slot](output, *inputs)

    def formula(self) -> Label:
        """The formula."""
        return self.of

    def local_formula(self, slot: int) -> Label:
        """The derivative's formula."""
        return self.written[slot]

    def kink(self, inputs: tuple[Tensor, ...]) -> str:
        """What is taken where there is no derivative."""
        if self.kink_at is None or not bool(self.kink_at[0](*inputs).any()):
            return ""
        return self.kink_at[1]


def _sigmoid(x: Tensor) -> Tensor:
    # e^{-|x|} never overflows.
    small = torch.exp(-x.abs())
    return torch.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _softplus(x: Tensor) -> Tensor:
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


def _tanh(x: Tensor) -> Tensor:
    small = torch.expm1(-2 * x.abs())
    return torch.sign(x) * -small / (small + 2)


def _normal(x: Tensor) -> Tensor:
    """Φ, the distribution function of the normal distribution."""
    area: Tensor = torch.special.erfc(-x / sqrt(2))
    return area / 2


def _is_zero(x: Tensor, *_: Tensor) -> Tensor:
    return x == 0


def _function(name: str, latex: str | None = None) -> Label:
    return Label(f"{name}($a)", f"{latex or f'{OPERATOR}{{{name}}}'}($a)")


def _where(condition: str, then: str = "1", otherwise: str = "0") -> Label:
    """One of two slopes."""
    text = f"{then} where {condition}, else {otherwise}"
    latex = f"{then} & {condition} \\\\ {otherwise} & \\text{{else}}".replace("−", "-")
    latex = latex.replace("exp(", r"\exp(")
    return Label(text, f"\\begin{{cases}} {latex} \\end{{cases}}")


def _unary(
    name: str,
    of: Label,
    compute: Function,
    by_torch: Function,
    slope: Function,
    written: Label,
    kink: str = "",
) -> Elementwise:
    at = (_is_zero, kink) if kink else None
    return Elementwise(name, of, compute, by_torch, (slope,), (written,), at)


NEGATE = _unary(
    "negation", Label("−$a", "-$a"), lambda a: 0 - a, torch.neg,
    lambda y, a: -torch.ones(()).to(a), Label("−1", "-1"),
)  # fmt: skip

IDENTITY = _unary(
    "a new name", Label("$a", "$a"), lambda a: a.clone(), lambda a: a * 1,
    lambda y, a: torch.ones(()).to(a), ONE,
)  # fmt: skip

ADD = Elementwise(
    "sum", Label("$a + $b", "$a + $b"), lambda a, b: a + b, torch.add,
    (lambda y, a, b: torch.ones(()).to(y),) * 2, (ONE, ONE),
)  # fmt: skip

SUBTRACT = Elementwise(
    "difference", Label("$a − $b", "$a - $b"), lambda a, b: a - b, torch.sub,
    (lambda y, a, b: torch.ones(()).to(y), lambda y, a, b: -torch.ones(()).to(y)),
    (ONE, Label("−1", "-1")),
)  # fmt: skip

MULTIPLY = Elementwise(
    "product", Label("$a · $b", r"$a \cdot $b"), lambda a, b: a * b, torch.mul,
    (lambda y, a, b: b, lambda y, a, b: a), (Label("$b", "$b"), Label("$a", "$a")),
)  # fmt: skip

HADAMARD = Elementwise(
    "product of entries", Label("$a ⊙ $b", r"$a \odot $b"), lambda a, b: a * b, torch.mul,
    (lambda y, a, b: b, lambda y, a, b: a), (Label("$b", "$b"), Label("$a", "$a")),
)  # fmt: skip

DIVIDE = Elementwise(
    "quotient", Label("$a/$b", r"\frac{$a}{$b}"), lambda a, b: a / b, torch.div,
    (lambda y, a, b: 1 / b, lambda y, a, b: -a / b**2),
    (Label("1/$b", r"\frac{1}{$b}"), Label("−$a/$b²", r"-\frac{$a}{$b^{2}}")),
)  # fmt: skip

POWER = Elementwise(
    "power", Label("$a^$b", "{$a}^{$b}"), lambda a, b: a**b, torch.pow,
    (lambda y, a, b: b * a ** (b - 1), lambda y, a, b: a**b * torch.log(a)),
    (Label("$b · $a^($b − 1)", r"$b \, {$a}^{$b - 1}"), Label("$y · ln $a", r"$y \ln $a")),
)  # fmt: skip

_TIE = (lambda a, b: a == b, "at a tie half of the gradient goes each way, as in torch")

MAXIMUM = Elementwise(
    "maximum", Label("max($a, $b)", r"\max($a, $b)"),
    lambda a, b: torch.where(a > b, a, b), torch.maximum,
    (
        lambda y, a, b: (a > b).to(y) + 0.5 * (a == b).to(y),
        lambda y, a, b: (b > a).to(y) + 0.5 * (a == b).to(y),
    ),
    (_where("$a > $b"), _where("$b > $a")),
    _TIE,
)  # fmt: skip

MINIMUM = Elementwise(
    "minimum", Label("min($a, $b)", r"\min($a, $b)"),
    lambda a, b: torch.where(a < b, a, b), torch.minimum,
    (
        lambda y, a, b: (a < b).to(y) + 0.5 * (a == b).to(y),
        lambda y, a, b: (b < a).to(y) + 0.5 * (a == b).to(y),
    ),
    (_where("$a < $b"), _where("$b < $a")),
    _TIE,
)  # fmt: skip

SIGMOID = _unary(
    "sigmoid", _function("σ", r"\sigma"), _sigmoid, torch.sigmoid,
    lambda y, a: y * (1 - y), Label("$y · (1 − $y)", r"$y \, (1 - $y)"),
)  # fmt: skip

TANH = _unary(
    "tanh", _function("tanh", r"\tanh"), _tanh, torch.tanh,
    lambda y, a: 1 - y**2, Label("1 − $y²", "1 - {$y}^{2}"),
)  # fmt: skip

RELU = _unary(
    "ReLU", _function("ReLU"), lambda a: torch.where(a > 0, a, 0.0), F.relu,
    lambda y, a: (a > 0).to(a), _where("$a > 0"),
    "at 0 ReLU has no derivative; 0 is taken, as in torch",
)  # fmt: skip

LEAKY_RELU = Elementwise(
    "leaky ReLU",
    Label("LeakyReLU($a; $b)", r"\operatorname{LeakyReLU}($a;\, $b)"),
    lambda a, b: torch.where(a > 0, a, b * a),
    lambda a, b: torch.where(a > 0, a, torch.mul(b, a)),
    (
        lambda y, a, b: torch.where(a > 0, torch.ones(()).to(a), b),
        lambda y, a, b: torch.where(a > 0, torch.zeros(()).to(a), a),
    ),
    (
        _where("$a > 0", "1", "$b"),
        _where("$a > 0", "0", "$a"),
    ),
    (_is_zero, "at 0 leaky ReLU has no derivative; the slope of the left is taken, as in torch"),
)  # fmt: skip

ELU = Elementwise(
    "ELU",
    Label("ELU($a; $b)", r"\operatorname{ELU}($a;\, $b)"),
    lambda a, b: torch.where(a > 0, a, b * torch.expm1(a.clamp(max=0))),
    lambda a, b: torch.where(a > 0, a, b * torch.special.expm1(torch.clamp(a, max=0))),
    (
        lambda y, a, b: torch.where(a > 0, torch.ones(()).to(a), b * torch.exp(a.clamp(max=0))),
        lambda y, a, b: torch.where(a > 0, torch.zeros(()).to(a), torch.expm1(a.clamp(max=0))),
    ),
    (
        _where("$a > 0", "1", "$y + $b"),
        _where("$a > 0", "0", "exp($a) − 1"),
    ),
)  # fmt: skip

SOFTPLUS = _unary(
    "softplus", _function("softplus"), _softplus, F.softplus,
    lambda y, a: _sigmoid(a), Label("σ($a)", r"\sigma($a)"),
)  # fmt: skip

SILU = _unary(
    "SiLU", Label("$a · σ($a)", r"$a \, \sigma($a)"), lambda a: a * _sigmoid(a), F.silu,
    lambda y, a: _sigmoid(a) + a * _sigmoid(a) * _sigmoid(-a),
    Label("σ($a) + $a · σ($a) · (1 − σ($a))", r"\sigma($a) + $a \, \sigma($a)(1 - \sigma($a))"),
)  # fmt: skip

GELU = _unary(
    "GELU", Label("$a · Φ($a)", r"$a \, \Phi($a)"), lambda a: a * _normal(a), F.gelu,
    lambda y, a: _normal(a) + a * torch.exp(-(a**2) / 2) / sqrt(2 * pi),
    Label("Φ($a) + $a · φ($a)", r"\Phi($a) + $a \, \varphi($a)"),
)  # fmt: skip

EXP = _unary(
    "exponential", Label("exp($a)", r"\exp($a)"), torch.exp, torch.exp,
    lambda y, a: y, Label("$y", "$y"),
)  # fmt: skip

LOG = _unary(
    "logarithm", Label("ln $a", r"\ln $a"), torch.log, torch.log,
    lambda y, a: 1 / a, Label("1/$a", r"\frac{1}{$a}"),
)  # fmt: skip

SQRT = _unary(
    "square root", Label("√$a", r"\sqrt{$a}"), lambda a: a**0.5, torch.sqrt,
    lambda y, a: 0.5 / y, Label("1/(2·$y)", r"\frac{1}{2 $y}"),
)  # fmt: skip

ABS = _unary(
    "absolute value", Label("|$a|", r"\lvert $a \rvert"), lambda a: torch.where(a < 0, -a, a),
    torch.abs, lambda y, a: torch.sign(a), Label("sign $a", r"\operatorname{sign} $a"),
    "at 0 the absolute value has no derivative; 0 is taken, as in torch",
)  # fmt: skip

SIN = _unary(
    "sine", Label("sin $a", r"\sin $a"), torch.sin, torch.sin,
    lambda y, a: torch.cos(a), Label("cos $a", r"\cos $a"),
)  # fmt: skip

COS = _unary(
    "cosine", Label("cos $a", r"\cos $a"), torch.cos, torch.cos,
    lambda y, a: -torch.sin(a), Label("−sin $a", r"-\sin $a"),
)  # fmt: skip

TAN = _unary(
    "tangent", Label("tan $a", r"\tan $a"), lambda a: torch.sin(a) / torch.cos(a), torch.tan,
    lambda y, a: 1 + y**2, Label("1 + $y²", "1 + {$y}^{2}"),
)  # fmt: skip

SINH = _unary(
    "hyperbolic sine", Label("sinh $a", r"\sinh $a"), torch.sinh, torch.sinh,
    lambda y, a: torch.cosh(a), Label("cosh $a", r"\cosh $a"),
)  # fmt: skip

COSH = _unary(
    "hyperbolic cosine", Label("cosh $a", r"\cosh $a"), torch.cosh, torch.cosh,
    lambda y, a: torch.sinh(a), Label("sinh $a", r"\sinh $a"),
)  # fmt: skip


def power_by(exponent: float, written: Label) -> Elementwise:
    """a^n with a fixed n."""
    n = float(exponent)
    rest = Label(_digits(n - 1).replace("-", "−"), _digits(n - 1))
    slope = Label(
        f"{written.text}·$a"
        if rest.text == "1"
        else f"{written.text}·$a{_RAISED.get(rest.text, '^' + _held(rest.text))}",
        f"{written.latex} $a" if rest.text == "1" else f"{written.latex} {{$a}}^{{{rest.latex}}}",
    )
    raised = _RAISED.get(written.text, "^" + _held(written.text))
    return Elementwise(
        "power",
        Label(f"$a{raised}", f"{{$a}}^{{{written.latex}}}"),
        lambda a: a**n,
        lambda a: torch.pow(a, torch.tensor(n, dtype=a.dtype)),
        (lambda y, a: n * a ** (n - 1) if n else torch.zeros_like(a),),
        (slope if n else Label("0", "0"),),
    )  # fmt: skip


_RAISED = {"2": "²", "3": "³", "4": "⁴", "-1": "⁻¹", "−1": "⁻¹"}


def _digits(number: float) -> str:
    return str(int(number)) if number == int(number) and abs(number) < 1e15 else repr(number)


def _held(text: str) -> str:
    """In brackets, unless one word."""
    return text if text.replace(".", "").isalnum() else f"({text})"


FUNCTIONS: dict[str, Elementwise] = {
    "sigmoid": SIGMOID, "tanh": TANH, "relu": RELU, "leaky_relu": LEAKY_RELU, "elu": ELU,
    "softplus": SOFTPLUS, "silu": SILU, "gelu": GELU, "exp": EXP, "log": LOG, "sqrt": SQRT,
    "abs": ABS, "sin": SIN, "cos": COS, "tan": TAN, "sinh": SINH, "cosh": COSH,
    "max": MAXIMUM, "min": MINIMUM,
}  # fmt: skip
"""By the names of the text."""
