"""Activations of modules that the text has no name for, each with its slope."""

from __future__ import annotations

from math import pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.sheet._elementwise import Elementwise
from thalweg.symbolic import Label

_TWO = r"\tfrac{2}{\sqrt{\pi}}"
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
"""Klambauer et al. 2017, eq. 14, the digits that torch takes."""


def _cases(*pairs: tuple[str, str]) -> Label:
    """One of several, by condition; the last is otherwise."""
    *firsts, (last, _) = pairs
    text = ", ".join(f"{value} where {condition}" for value, condition in firsts)
    rows = [f"{_tex(value)} & {_tex(condition)}" for value, condition in firsts]
    rows.append(f"{_tex(last)} & \\text{{else}}")
    body = r" \\ ".join(rows)
    return Label(f"{text}, else {last}", f"\\begin{{cases}} {body} \\end{{cases}}")


def _tex(text: str) -> str:
    changes = {
        "−": "-",
        "≤": r"\le ",
        "·": r"\cdot ",
        "exp": r"\exp",
        "|": r"\vert ",
        "λ": r"\lambda ",
        "α": r"\alpha ",
    }
    for letter, command in changes.items():
        text = text.replace(letter, command)
    return text


def _named(name: str, letters: str = "$a") -> Label:
    return Label(f"{name}({letters})", f"\\operatorname{{{name}}}({letters})")


def _one(name: str, of: Label, compute, by_torch, slope, written: Label, kink=None) -> Elementwise:  # type: ignore[no-untyped-def]
    return Elementwise(name, of, compute, by_torch, (slope,), (written,), kink)


def _logistic(x: Tensor) -> Tensor:
    small = torch.exp(-x.abs())
    return torch.where(x >= 0, 1 / (1 + small), small / (1 + small))


def _soft(x: Tensor) -> Tensor:
    return x.clamp(min=0) + torch.log1p(torch.exp(-x.abs()))


LOG_SIGMOID = _one(
    "logarithm of the sigmoid", Label("ln σ($a)", r"\ln \sigma($a)"), lambda a: -_soft(-a), F.logsigmoid,
    lambda y, a: _logistic(-a), Label("1 − σ($a)", r"1 - \sigma($a)"),
)  # fmt: skip

SOFTSIGN = _one(
    "softsign", Label("$a/(1 + |$a|)", r"\frac{$a}{1 + \lvert $a \rvert}"),
    lambda a: a / (1 + a.abs()), F.softsign, lambda y, a: 1 / (1 + a.abs()) ** 2,
    Label("1/(1 + |$a|)²", r"\frac{1}{(1 + \lvert $a \rvert)^{2}}"),
)  # fmt: skip

TANHSHRINK = _one(
    "tanh shrink", Label("$a − tanh $a", r"$a - \tanh $a"), lambda a: a - torch.tanh(a), F.tanhshrink,
    lambda y, a: (a - y) ** 2, Label("($a − $y)²", "($a - $y)^{2}"),
)  # fmt: skip


def _mish_slope(y: Tensor, a: Tensor) -> Tensor:
    t = torch.tanh(_soft(a))
    return t + a * _logistic(a) * (1 - t**2)


MISH = _one(
    "mish", Label("$a · tanh(softplus($a))", r"$a \tanh(\operatorname{softplus}($a))"),
    lambda a: a * torch.tanh(_soft(a)), F.mish, _mish_slope,
    Label("t + $a · σ($a) · (1 − t²) with t = tanh(softplus($a))",
          r"t + $a\, \sigma($a)(1 - t^{2}),\ t = \tanh(\operatorname{softplus}($a))"),
)  # fmt: skip


def _tanh_of(a: Tensor) -> Tensor:
    return torch.tanh(sqrt(2 / pi) * (a + 0.044715 * a**3))


GELU_BY_TANH = _one(
    "GELU by tanh",
    Label("½ $a (1 + t) with t = tanh(√(2/π) ($a + 0.044715 $a³))",
          r"\tfrac{1}{2} $a (1 + t),\ t = \tanh\left(\sqrt{\tfrac{2}{\pi}}\, ($a + 0.044715\, {$a}^{3})\right)"),
    lambda a: 0.5 * a * (1 + _tanh_of(a)), lambda a: F.gelu(a, approximate="tanh"),
    lambda y, a: 0.5 * (1 + _tanh_of(a))
    + 0.5 * a * (1 - _tanh_of(a) ** 2) * sqrt(2 / pi) * (1 + 3 * 0.044715 * a**2),
    Label("½ (1 + t) + ½ $a (1 − t²) √(2/π) (1 + 0.134145 $a²)",
          r"\tfrac{1}{2}(1 + t) + \tfrac{1}{2} $a (1 - t^{2}) \sqrt{\tfrac{2}{\pi}}\, (1 + 0.134145\, {$a}^{2})"),
)  # fmt: skip

SELU = _one(
    "SELU", _named("SELU"),
    lambda a: _SELU_SCALE * torch.where(a > 0, a, _SELU_ALPHA * torch.expm1(a.clamp(max=0))), F.selu,
    lambda y, a: torch.where(a > 0, _SELU_SCALE, _SELU_SCALE * _SELU_ALPHA * torch.exp(a.clamp(max=0))),
    _cases(("λ", "$a > 0"), ("λ · α · exp($a)", "")),
    (lambda a: a == 0, "at 0 SELU has no derivative; the slope of the left is taken, as in torch"),
)  # fmt: skip

CLAMP = Elementwise(
    "clamp", Label("min(max($a, $b), $i2)", r"\min(\max($a, $b), $i2)"),
    lambda a, b, c: torch.minimum(torch.maximum(a, b), c),
    lambda a, b, c: torch.clamp(a, b, c),
    (lambda y, a, b, c: ((a >= b) & (a <= c)).to(a), lambda y, a, b, c: (a < b).to(a),
     lambda y, a, b, c: (a > c).to(a)),
    (_cases(("1", "$b ≤ $a ≤ $i2"), ("0", "")), _cases(("1", "$a ≤ $b"), ("0", "")),
     _cases(("0", "$a ≤ $i2"), ("1", ""))),
    (lambda a, b, c: (a == b) | (a == c),
     "at an edge it has no derivative; 1 is taken, as in torch"),
)  # fmt: skip

HARDTANH = Elementwise(
    "hardtanh", CLAMP.of, CLAMP.compute, lambda a, b, c: F.hardtanh(a, b.item(), c.item()),
    (lambda y, a, b, c: ((a > b) & (a < c)).to(a), *CLAMP.slopes[1:]), CLAMP.written,
    (CLAMP.kink_at[0], "at an edge it has no derivative; 0 is taken, as in torch")
    if CLAMP.kink_at else None,
)  # fmt: skip

HARDSWISH = _one(
    "hard swish", Label("$a · min(max($a/6 + ½, 0), 1)", r"$a \min(\max(\tfrac{1}{6} $a + \tfrac{1}{2}, 0), 1)"),
    lambda a: a * (a / 6 + 0.5).clamp(0, 1), F.hardswish,
    lambda y, a: torch.where(a <= -3, 0.0, torch.where(a < 3, a / 3 + 0.5, 1.0)),
    _cases(("0", "$a ≤ −3"), ("$a/3 + 1/2", "$a ≤ 3"), ("1", "")),
)  # fmt: skip

PRELU = Elementwise(
    "PReLU", _named("PReLU", "$a; $b"),
    lambda a, b: torch.where(a > 0, a, b * a), lambda a, b: torch.where(a > 0, a, torch.mul(b, a)),
    (lambda y, a, b: torch.where(a > 0, torch.ones(()).to(a), b),
     lambda y, a, b: torch.where(a > 0, torch.zeros(()).to(a), a)),
    (_cases(("1", "$a > 0"), ("$b", "")), _cases(("0", "$a > 0"), ("$a", ""))),
    (lambda a, b: a == 0, "at 0 PReLU has no derivative; the slope of the left is taken, as in torch"),
)  # fmt: skip

SCALED_SOFTPLUS = Elementwise(
    "softplus with β", Label("ln(1 + exp($b·$a))/$b", r"\tfrac{1}{$b} \ln(1 + \exp($b\, $a))"),
    lambda a, b: _soft(b * a) / b, lambda a, b: torch.logaddexp(b * a, torch.zeros(()).to(a)) / b,
    (lambda y, a, b: _logistic(b * a), lambda y, a, b: (a * _logistic(b * a) - y) / b),
    (Label("σ($b·$a)", r"\sigma($b\, $a)"), Label("($a·σ($b·$a) − $y)/$b", r"\tfrac{1}{$b}($a\, \sigma($b\, $a) - $y)")),
)  # fmt: skip

ERF = _one(
    "error function", Label("erf $a", r"\operatorname{erf} $a"), torch.erf, torch.special.erf,
    lambda y, a: 2 / sqrt(pi) * torch.exp(-(a**2)), Label("2/√π · exp(−$a²)", _TWO + r"\exp(-{$a}^{2})"),
)  # fmt: skip

RSQRT = _one(
    "reciprocal of the root", Label("1/√$a", r"\frac{1}{\sqrt{$a}}"), lambda a: a**-0.5, torch.rsqrt,
    lambda y, a: -0.5 * y / a, Label("−$y/(2·$a)", r"-\frac{$y}{2 $a}"),
)  # fmt: skip

RECIPROCAL = _one(
    "reciprocal", Label("1/$a", r"\frac{1}{$a}"), lambda a: 1 / a, torch.reciprocal,
    lambda y, a: -(y**2), Label("−$y²", r"-{$y}^{2}"),
)  # fmt: skip

LOG1P = _one(
    "ln(1 + a)", Label("ln(1 + $a)", r"\ln(1 + $a)"), torch.log1p, torch.special.log1p,
    lambda y, a: 1 / (1 + a), Label("1/(1 + $a)", r"\frac{1}{1 + $a}"),
)  # fmt: skip

EXPM1 = _one(
    "exp a − 1", Label("exp($a) − 1", r"\exp($a) - 1"), torch.expm1, torch.special.expm1,
    lambda y, a: y + 1, Label("exp($a)", r"\exp($a)"),
)  # fmt: skip

STANDARDISED_BY = Elementwise(
    "normalised by the running mean and variance",
    Label("($a − $b)/√($i2 + $i3)", r"\frac{$a - $b}{\sqrt{$i2 + $i3}}"),
    lambda a, b, c, e: (a - b) / torch.sqrt(c + e),
    lambda a, b, c, e: torch.mul(a - b, torch.rsqrt(c + e)),
    (lambda y, a, b, c, e: (1 / torch.sqrt(c + e)), lambda y, a, b, c, e: -1 / torch.sqrt(c + e),
     lambda y, a, b, c, e: -y / (2 * (c + e)), lambda y, a, b, c, e: -y / (2 * (c + e))),
    (Label("1/√($i2 + $i3)", r"\frac{1}{\sqrt{$i2 + $i3}}"),
     Label("−1/√($i2 + $i3)", r"-\frac{1}{\sqrt{$i2 + $i3}}"),
     Label("−$y/(2·($i2 + $i3))", r"-\frac{$y}{2 ($i2 + $i3)}"),
     Label("−$y/(2·($i2 + $i3))", r"-\frac{$y}{2 ($i2 + $i3)}")),
)  # fmt: skip

STOPPED = _one(
    "a value as it is, no gradient", Label("stop($a)", r"\operatorname{stop}($a)"),
    lambda a: a.clone(), lambda a: a.detach() + 0 * a, lambda y, a: torch.zeros(()).to(a),
    Label("0", "0"),
)  # fmt: skip
