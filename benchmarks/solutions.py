"""Random worked solutions, right and with one slip: how many slips does `thalweg.check` find?

    python -m benchmarks.solutions [--pages 2000] [--seed 0]

Every page works a network of up to 3-4-2 units by hand, forward and backward, in one of several
hands and three languages. Its numbers come from torch: values by forward passes, gradients by
autograd in float64; nothing of the checker's arithmetic is used. A page with a slip carries the
wrong number on as a student would.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from thalweg.sheet import check

SLIPS = (
    "sign",
    "dropped factor",
    "dropped term",
    "transposed product",
    "wrong activation derivative",
    "arithmetic",
    "rounding",
    "copied number",
)

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """A function, how it is written, and what is written for its derivative by mistake."""

    name: str
    latex: str
    value: Function
    wrong: tuple[str, ...]

    def slope(self, z: Tensor) -> Tensor:
        """By autograd."""
        z = z.detach().clone().requires_grad_()
        self.value(z).sum().backward()
        assert z.grad is not None
        return z.grad


ACTIVATIONS = (
    Activation("sigmoid", r"\sigma", torch.sigmoid, ("1-h^2", "h", "1-h")),
    Activation("tanh", r"\tanh", torch.tanh, ("h(1-h)", "h", "1-h")),
    Activation("relu", r"\mathrm{ReLU}", torch.relu, ("h(1-h)", "1-h^2")),
    Activation(
        "leaky_relu",
        r"\mathrm{LeakyReLU}",
        lambda z: torch.nn.functional.leaky_relu(z, 0.1),
        ("h(1-h)", "1-h^2"),
    ),
)

WORDS = {
    "en": ("Given are", "Forward pass", "Backward pass", "With", "we get", "so that", "Hence"),
    "de": ("Gegeben sind", "Vorwärts", "Rückwärts", "Mit", "ergibt sich", "also", "Daraus folgt"),
    "fr": ("On donne", "Passe avant", "Passe arrière", "Avec", "on obtient", "donc", "Ainsi"),
}


@dataclass
class Hand:
    """How a student writes.

    Attributes:
        digits: after the point, or significant ones.
        is_significant: whether they are significant ones.
        has_comma: a decimal comma.
        keeps: carries the calculator's digits on, not those on paper.
        shows_formula: writes the formula before the numbers.
        shows_numbers: writes the numbers before the result.
    """

    digits: int
    is_significant: bool
    has_comma: bool
    keeps: bool
    language: str
    times: str
    about: str
    matrix: str
    display: str
    shows_formula: bool
    derivative: str
    is_layered: bool

    @staticmethod
    def drawn(rng: random.Random) -> Hand:
        language = rng.choice(("en", "en", "de", "fr"))
        return Hand(
            digits=rng.randint(2, 6),
            is_significant=rng.random() < 0.5,
            has_comma=language != "en" and rng.random() < 0.8,
            keeps=rng.random() < 0.5,
            language=language,
            times=rng.choice((r" \cdot ", r" \times ", r"\cdot")),
            about=rng.choice(("=", r"\approx")),
            matrix=rng.choice(("pmatrix", "bmatrix")),
            display=rng.choice(("$$", r"\[", "align", "$")),
            shows_formula=rng.random() < 0.75,
            derivative=rng.choice(("partial", "d", "nabla")),
            is_layered=rng.random() < 0.3,
        )

    def text(self, value: float) -> str:
        """A number to the digits of this hand, correctly rounded."""
        if value == 0:
            shown = "0"
        elif self.is_significant:
            size = f"{value:.{self.digits - 1}e}"
            mantissa, exponent = size.split("e")
            power = int(exponent)
            if -3 <= power < self.digits:
                shown = f"{value:.{self.digits - 1 - power}f}"
            else:
                shown = rf"{mantissa} \cdot 10^{{{power}}}"
        else:
            shown = f"{value:.{self.digits}f}"
            if float(shown) == 0:
                shown = shown.lstrip("-")
        return self.localised(shown)

    def localised(self, shown: str) -> str:
        return shown.replace(".", ",") if self.has_comma else shown

    def given(self, value: float) -> str:
        """A number as it was given, all digits of it."""
        return self.localised(f"{value:g}")

    def place(self, value: float) -> float:
        """What one more in the last digit adds."""
        if not self.is_significant:
            return 10.0**-self.digits
        if value == 0:
            return 1.0
        return 10.0 ** (int(f"{value:.{self.digits - 1}e}".split("e")[1]) - self.digits + 1)

    def rounded(self, value: float) -> float:
        """The number that `text` shows."""
        return value_of(self.text(value))

    def array(self, items: list[list[str]]) -> str:
        rows = r" \\ ".join(" & ".join(row) for row in items)
        return rf"\begin{{{self.matrix}}} {rows} \end{{{self.matrix}}}"


def value_of(shown: str) -> float:
    """The value of a number as a hand writes it."""
    return float(shown.replace(",", ".").replace(r" \cdot 10^{", "e").replace("}", ""))


@dataclass
class Quantity:
    """A vector or matrix in a solution.

    Attributes:
        kept: what is computed on with.
        texts: what stands on paper.
    """

    kept: Tensor
    texts: list[list[str]]


@dataclass
class Page:
    """A page, and where its slip is."""

    text: str
    line: int | None = None
    slip: str | None = None


@dataclass
class Writer:
    """Works a network by hand and writes it down, with one slip if it finds room for it."""

    rng: random.Random
    hand: Hand
    slip: str | None
    lines: list[str] = field(default_factory=list)
    known: dict[str, Quantity] = field(default_factory=dict)
    slipped_at: int | None = None
    _skips: int = 0

    def put_given(self, name: str, latex: str, tensor: Tensor) -> str:
        texts = [[self.hand.given(float(x)) for x in row] for row in tensor]
        self.known[name] = Quantity(tensor, texts)
        return f"{latex} = {self.shown(texts)}"

    def shown(self, texts: list[list[str]]) -> str:
        if len(texts) == 1 and len(texts[0]) == 1:
            return texts[0][0]
        return self.hand.array(texts)

    def numbers(self, name: str, slip: bool = False) -> str:
        """The numbers of a quantity as they stand on paper; one changed by a slip of copying."""
        texts = self.known[name].texts
        return self.bracketed(self.shown(texts))

    def bracketed(self, shown: str) -> str:
        return f"({shown})" if shown.startswith("-") or r"\cdot" in shown else shown

    def _takes(self, *slips: str) -> bool:
        """Whether the slip is made here: at one of the first places where it can be."""
        if self.slip not in slips or self.slipped_at is not None:
            return False
        if self._skips > 0:
            self._skips -= 1
            return False
        return True

    def step(
        self,
        name: str,
        latex: str,
        formula: str,
        substituted: str,
        exact: Tensor,
        wrong: dict[str, tuple[str, Tensor]] | None = None,
    ) -> None:
        """One line: name = formula = numbers = result.

        Args:
            exact: computed from what is kept.
            wrong: for a slip, the numbers as they then stand, and what comes out.
        """
        is_wrong = False
        texts = [[self.hand.text(float(x)) for x in row] for row in exact]
        result = exact
        for slip, (numbers, value) in (wrong or {}).items():
            if self._takes(slip) and self._differs(value, exact):
                substituted, result, is_wrong = numbers, value, True
                texts = [[self.hand.text(float(x)) for x in row] for row in value]
                break
        if not is_wrong and self._takes("arithmetic") and self._can_change(texts):
            texts, is_wrong = self._changed(texts), True
            result = torch.tensor(
                [[value_of(t) for t in row] for row in texts], dtype=torch.float64
            )
        if not is_wrong and self._takes("rounding"):
            moved = self._misrounded(exact, texts)
            if moved is not None:
                texts, is_wrong = moved, True
                result = torch.tensor(
                    [[value_of(t) for t in row] for row in texts], dtype=torch.float64
                )
        if not is_wrong and self._takes("copied number"):
            copied = self._copied(substituted)
            if copied is not None:
                substituted, is_wrong = copied, True
        kept = result
        if not self.hand.keeps:
            kept = torch.tensor([[value_of(t) for t in row] for row in texts], dtype=torch.float64)
        self.known[name] = Quantity(kept, texts)
        parts = [latex]
        if self.hand.shows_formula or not substituted:
            parts.append(f"= {formula}")
        if substituted:
            parts.append(f"= {substituted}")
        parts.append(f"{self.hand.about} {self.shown(texts)}")
        self._write(" ".join(parts))
        if is_wrong:
            self.slipped_at = self._line_of_last

    def _differs(self, wrong: Tensor, right: Tensor) -> bool:
        if wrong.shape != right.shape:
            return True
        gap = (wrong - right).abs()
        place = torch.tensor([[self.hand.place(float(x)) for x in row] for row in right])
        return bool((gap > 4 * place).any() and (gap > 0.05 * right.abs()).any())

    def _can_change(self, texts: list[list[str]]) -> bool:
        return any(sum(c.isdigit() for c in t) >= 2 and value_of(t) != 0 for r in texts for t in r)

    def _changed(self, texts: list[list[str]]) -> list[list[str]]:
        """One digit is another, not the last one unless there are but two."""
        places = [
            (i, j)
            for i, row in enumerate(texts)
            for j, t in enumerate(row)
            if sum(c.isdigit() for c in t) >= 2 and value_of(t) != 0
        ]
        i, j = self.rng.choice(places)
        text = texts[i][j]
        mantissa = text.split(r" \cdot")[0]
        digits = [k for k, c in enumerate(mantissa) if c.isdigit()]
        leading = next(k for k in digits if mantissa[k] != "0")
        eligible = [k for k in digits if k >= leading and k != digits[-1]] or [leading]
        at = self.rng.choice(eligible)
        digit = self.rng.choice([d for d in "123456789" if d != mantissa[at]])
        changed = mantissa[:at] + digit + mantissa[at + 1 :] + text[len(mantissa) :]
        return [
            [changed if (a, b) == (i, j) else t for b, t in enumerate(row)]
            for a, row in enumerate(texts)
        ]

    def _misrounded(self, exact: Tensor, texts: list[list[str]]) -> list[list[str]] | None:
        """The last digit is up or down by two: no rounding of anything that is near."""
        flat = [(i, j) for i, row in enumerate(texts) for j in range(len(row))]
        self.rng.shuffle(flat)
        for i, j in flat:
            value = float(exact[i, j])
            place = self.hand.place(value)
            if value == 0 or abs(value) < 40 * place:
                continue
            moved = self.hand.rounded(value) + self.rng.choice((-2, 2)) * place
            shown = self.hand.text(moved)
            if abs(value_of(shown) - moved) < 0.1 * place:
                return [
                    [shown if (a, b) == (i, j) else t for b, t in enumerate(row)]
                    for a, row in enumerate(texts)
                ]
        return None

    def _copied(self, substituted: str) -> str | None:
        """One of the numbers that were put in is another."""
        import re

        pattern = r"\d+,\d+" if self.hand.has_comma else r"\d+\.\d+"
        found = [m for m in re.finditer(pattern, substituted) if value_of(m[0]) != 0]
        if not found:
            return None
        match = self.rng.choice(found)
        digits = [k for k, c in enumerate(match[0]) if c.isdigit()]
        leading = next(k for k in digits if match[0][k] != "0")
        digit = self.rng.choice([d for d in "123456789" if d != match[0][leading]])
        changed = match[0][:leading] + digit + match[0][leading + 1 :]
        return substituted[: match.start()] + changed + substituted[match.end() :]

    # Lines

    _line_of_last: int = 0

    def _write(self, maths: str) -> None:
        hand, words = self.hand, WORDS[self.hand.language]
        style = hand.display
        if style == "$":
            lead = self.rng.choice(("", f"{words[3]} ", f"{words[6]}: ", "- "))
            self.lines.append(f"{lead}${maths}$.")
            self._line_of_last = len(self.lines)
            self.lines.append("")
        elif style == "align":
            self.lines.append(r"\begin{align*}")
            self.lines.append(maths.replace(" = ", " &= ", 1))
            self._line_of_last = len(self.lines)
            self.lines.append(r"\end{align*}")
        else:
            close = r"\]" if style == r"\[" else "$$"
            if self.rng.random() < 0.5:
                self.lines.append(f"{style} {maths} {close}")
                self._line_of_last = len(self.lines)
            else:
                self.lines += [style, maths, close]
                self._line_of_last = len(self.lines) - 1
        if self.rng.random() < 0.2:
            self.lines += ["", self.rng.choice(words[4:]).capitalize() + ":"]

    def say(self, text: str) -> None:
        self.lines.append(text)


def _draw(rng: random.Random, rows: int, columns: int, scale: float = 1.5) -> Tensor:
    values = [[rng.randint(-19, 19) / 10 for _ in range(columns)] for _ in range(rows)]
    found = torch.tensor(values, dtype=torch.float64) * (scale / 1.5)
    return torch.where(
        found == 0, torch.tensor(0.3, dtype=torch.float64), (found * 10).round() / 10
    )


def written(rng: random.Random, slip: str | None) -> Page | None:
    """A page with this slip, or none; None if there was no room for the slip."""
    hand = Hand.drawn(rng)
    n_in, n_hidden, n_out = rng.randint(1, 3), rng.randint(1, 4), rng.randint(1, 2)
    if slip == "transposed product":
        n_in, n_hidden = rng.randint(2, 3), rng.randint(2, 4)
    writer = Writer(rng, hand, slip)
    writer._skips = (
        rng.randint(0, 2)
        if slip in ("arithmetic", "rounding", "copied number")
        else (rng.randint(0, 1))
    )
    _work(writer, rng, n_in, n_hidden, n_out)
    if slip is not None and writer.slipped_at is None:
        return None
    return Page("\n".join(writer.lines) + "\n", writer.slipped_at, slip)


def _work(writer: Writer, rng: random.Random, n_in: int, n_hidden: int, n_out: int) -> None:
    hand = writer.hand
    words = WORDS[hand.language]
    inner, outer = rng.choice(ACTIVATIONS), rng.choice(ACTIVATIONS[:3])
    has_bias = writer.slip == "dropped term" or rng.random() < 0.7
    W1, W2 = _draw(rng, n_hidden, n_in), _draw(rng, n_out, n_hidden)
    b1, b2 = _draw(rng, n_hidden, 1), _draw(rng, n_out, 1)
    x, y = _draw(rng, n_in, 1), _draw(rng, n_out, 1)
    lower = (lambda k: f"^{{({k})}}") if hand.is_layered else (lambda k: f"_{k}")
    names = {
        "W1": f"W{lower(1)}", "W2": f"W{lower(2)}", "b1": f"b{lower(1)}", "b2": f"b{lower(2)}",
        "z1": f"z{lower(1)}", "z2": f"z{lower(2)}", "h": "h", "p": r"\hat y", "L": "L",
        "d1": rf"\delta{lower(1)}", "d2": rf"\delta{lower(2)}", "x": "x", "y": "y",
    }  # fmt: skip
    given = [("W1", W1), ("x", x), ("W2", W2), ("y", y)]
    if has_bias:
        given += [("b1", b1), ("b2", b2)]
    writer.say(f"# {words[1]} / {words[2]}")
    writer.say("")
    if inner.name == "leaky_relu":
        writer.say(rf"$\alpha = {hand.given(0.1)}$.")
    listed = [f"${writer.put_given(key, names[key], tensor)}$" for key, tensor in given]
    writer.say(f"{words[0]} " + "; ".join(listed) + ".")
    t = hand.times
    bias = [f" + {names['b1']}", f" + {names['b2']}"] if has_bias else ["", ""]
    formulas = {
        "z1": f"{names['W1']} x{bias[0]}",
        "h": f"{inner.latex}({names['z1']})",
        "z2": f"{names['W2']} h{bias[1]}",
        "p": f"{outer.latex}({names['z2']})",
        "L": r"\frac{1}{2} \|\hat y - y\|^2" if n_out > 1 else r"\frac12 (\hat y - y)^2",
    }
    writer.say("")
    writer.say(
        f"{words[3]} "
        + ", ".join(f"${names[key]} = {text}$" for key, text in formulas.items())
        + "."
    )
    writer.say("")
    writer.say(f"## {words[1]}")
    kept = writer.known

    def layer(z: str, W: str, inputs: str, b: str) -> None:
        exact = kept[W].kept @ kept[inputs].kept
        numbers = f"{writer.shown(kept[W].texts)}{t}{writer.numbers(inputs)}"
        wrong: dict[str, tuple[str, Tensor]] = {}
        if W in ("W1", "W2") and kept[W].kept.shape[0] == kept[W].kept.shape[1] > 1:
            pass
        if has_bias:
            plus = f" + {writer.numbers(b)}"
            wrong["dropped term"] = (numbers, exact)
            minus = exact - kept[b].kept
            wrong["sign"] = (f"{numbers} - {writer.numbers(b)}", minus)
            numbers, exact = numbers + plus, exact + kept[b].kept
        writer.step(z, names[z], formulas[z], numbers, exact, wrong)

    def activated(h: str, act: Activation, z: str) -> None:
        writer.step(h, names[h], formulas[h], "", act.value(kept[z].kept))

    layer("z1", "W1", "x", "b1")
    activated("h", inner, "z1")
    layer("z2", "W2", "h", "b2")
    activated("p", outer, "z2")
    gap = kept["p"].kept - kept["y"].kept
    loss = 0.5 * (gap**2).sum().reshape(1, 1)
    if n_out == 1:
        numbers = rf"\frac12 ({writer.numbers('p')} - {writer.numbers('y')})^2"
        dropped = (rf"({writer.numbers('p')} - {writer.numbers('y')})^2", 2 * loss)
    else:
        numbers = rf"\frac12 \left\| {writer.numbers('p')} - {writer.numbers('y')} \right\|^2"
        dropped = (numbers.replace(r"\frac12 ", ""), 2 * loss)
    writer.step("L", "L", formulas["L"], numbers, loss, {"dropped factor": dropped})
    writer.say("")
    writer.say(f"## {words[2]}")
    _backward(writer, rng, names, inner, outer, has_bias)


def _backward(
    writer: Writer,
    rng: random.Random,
    names: dict[str, str],
    inner: Activation,
    outer: Activation,
    has_bias: bool,
) -> None:
    hand, kept, t = writer.hand, writer.known, writer.hand.times

    def grad(key: str) -> str:
        if hand.derivative == "nabla":
            return rf"\nabla_{{{names[key]}}} L"
        if hand.derivative == "d":
            return rf"\frac{{dL}}{{d{names[key]}}}"
        return rf"\frac{{\partial L}}{{\partial {names[key]}}}"

    def slope_step(key: str, act: Activation, z: str, h: str) -> None:
        exact = act.slope(kept[z].kept)
        value = kept[h].kept
        mistakes = {
            "1-h^2": 1 - value**2, "h": value, "1-h": 1 - value, "h(1-h)": value * (1 - value),
        }  # fmt: skip
        if act.name == "sigmoid":
            numbers = f"{writer.numbers(h)} \\odot (1 - {writer.numbers(h)})"
            exact_from = value * (1 - value)
        elif act.name == "tanh":
            numbers, exact_from = "", 1 - value**2
        else:
            numbers, exact_from = "", exact
        if not hand.keeps:
            exact = exact_from
        name = rng.choice(act.wrong)
        wrong = {"wrong activation derivative": ("", mistakes[name])}
        apostrophe = rf"{act.latex}'({names[z]})"
        writer.step(key, f"{act.latex}'({names[z]})", apostrophe, numbers or "", exact, wrong)

    slope_step("s2", outer, "z2", "p")
    gap = kept["p"].kept - kept["y"].kept
    numbers = f"({writer.numbers('p')} - {writer.numbers('y')}) \\odot {writer.numbers('s2')}"
    flipped = f"({writer.numbers('y')} - {writer.numbers('p')}) \\odot {writer.numbers('s2')}"
    exact = gap * kept["s2"].kept
    writer.step(
        "d2",
        f"{names['d2']} = {grad('z2')}",
        rf"(\hat y - y) \odot {outer.latex}'({names['z2']})",
        numbers,
        exact,
        {
            "sign": (flipped, -exact),
            "dropped factor": (f"{writer.numbers('p')} - {writer.numbers('y')}", gap),
        },
    )

    def outer_product(key: str, weights: str, delta: str, inputs: str) -> None:
        exact = kept[delta].kept @ kept[inputs].kept.T
        numbers = f"{writer.numbers(delta)}{t}{writer.numbers(inputs)}^T"
        swapped = f"{writer.numbers(inputs)}{t}{writer.numbers(delta)}^T"
        wrong: dict[str, tuple[str, Tensor]] = {}
        if min(exact.shape) > 1:
            wrong["transposed product"] = (swapped, exact.T)
        writer.step(key, grad(weights), f"{names[delta]} {names[inputs]}^T", numbers, exact, wrong)

    outer_product("gW2", "W2", "d2", "h")
    if has_bias and rng.random() < 0.7:
        writer.step("gb2", grad("b2"), names["d2"], "", kept["d2"].kept)
    slope_step("s1", inner, "z1", "h")
    back = kept["W2"].kept.T @ kept["d2"].kept
    exact = back * kept["s1"].kept
    numbers = f"({writer.shown(kept['W2'].texts)}^T{t}{writer.numbers('d2')}) \\odot {writer.numbers('s1')}"  # noqa: E501
    writer.step(
        "d1",
        f"{names['d1']} = {grad('z1')}",
        rf"({names['W2']}^T {names['d2']}) \odot {inner.latex}'({names['z1']})",
        numbers,
        exact,
        {
            "dropped factor": (
                f"{writer.shown(kept['W2'].texts)}^T{t}{writer.numbers('d2')}", back
            ),
            "sign": (
                f"-({writer.shown(kept['W2'].texts)}^T{t}{writer.numbers('d2')}) "
                f"\\odot {writer.numbers('s1')}",
                -exact,
            ),
        },
    )  # fmt: skip
    outer_product("gW1", "W1", "d1", "x")
    if has_bias and rng.random() < 0.7:
        writer.step("gb1", grad("b1"), names["d1"], "", kept["d1"].kept)


@dataclass
class Score:
    """What became of the pages."""

    pages: int = 0
    found: int = 0
    named: int = 0
    alarms: int = 0
    right_pages: int = 0
    unread: int = 0
    steps: int = 0
    by_slip: Counter[tuple[str, str]] = field(default_factory=Counter)
    missed: list[Page] = field(default_factory=list)
    accused: list[Page] = field(default_factory=list)


def pages_of(seed: int, count: int, with_slips: bool) -> list[Page]:
    """So many pages; with slips, as many of each kind."""
    rng = random.Random(f"{seed} {with_slips}")
    pages: list[Page] = []
    while len(pages) < count:
        slip = SLIPS[len(pages) % len(SLIPS)] if with_slips else None
        page = written(rng, slip)
        if page is not None:
            pages.append(page)
    return pages


def scored(pages: list[Page]) -> Score:
    """Checks every page."""
    score = Score()
    for page in pages:
        checked = check(page.text)
        first = checked.first_wrong
        score.steps += len(checked.steps)
        score.unread += sum(step.verdict == "unread" for step in checked.steps)
        if page.slip is None:
            score.right_pages += 1
            if first is not None:
                score.alarms += 1
                score.accused.append(page)
            continue
        score.pages += 1
        if first is None or first.line != page.line:
            score.missed.append(page)
            score.by_slip[page.slip, "missed"] += 1
            continue
        score.found += 1
        score.by_slip[page.slip, first.kind] += 1
        score.named += first.kind == page.slip
    return score


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pages", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", action="store_true", help="print pages that were misjudged")
    given = parser.parse_args()
    start = time.perf_counter()
    right = scored(pages_of(given.seed, given.pages, False))
    wrong = scored(pages_of(given.seed, given.pages, True))
    seconds = time.perf_counter() - start
    print(f"{right.right_pages} right pages: {right.alarms} accused")
    print(f"{wrong.pages} pages with a slip: {100 * wrong.found / wrong.pages:.2f} % found", end="")
    print(f", kind named right in {100 * wrong.named / wrong.pages:.2f} %")
    print(f"steps that were not read: {right.unread + wrong.unread} of {right.steps + wrong.steps}")
    print(f"{1000 * seconds / (right.right_pages + wrong.pages):.1f} ms a page")
    for slip in SLIPS:
        counts = {kind: n for (s, kind), n in wrong.by_slip.items() if s == slip}
        print(f"  {slip}: {dict(sorted(counts.items(), key=lambda item: -item[1]))}")
    if given.show:
        for page in [*right.accused[:2], *wrong.missed[:2]]:
            print(f"--- slip {page.slip} on line {page.line}")
            for number, line in enumerate(page.text.splitlines(), 1):
                print(f"{number:3} {line}")
            for step in check(page.text).steps:
                if step.verdict in ("wrong", "carried", "unread"):
                    print("   ", step)


if __name__ == "__main__":
    main()
