"""Pages: random networks worked forward and backward, right or with one slip."""

from __future__ import annotations

import random
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.solutions.activation import ACTIVATIONS, Activation
from benchmarks.solutions.hand import WORDS, Hand
from benchmarks.solutions.writer import Writer

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


@dataclass
class Page:
    """A page, and where its slip is."""

    text: str
    line: int | None = None
    slip: str | None = None


def written(rng: random.Random, slip: str | None) -> Page | None:
    """A page with this slip, or none; None if there was no room for the slip."""
    hand = Hand.drawn(rng)
    n_in, n_hidden, n_out = rng.randint(1, 3), rng.randint(1, 4), rng.randint(1, 2)
    if slip == "transposed product":
        n_in, n_hidden = rng.randint(2, 3), rng.randint(2, 4)
    writer = Writer(rng, hand, slip)
    writer.skips = (
        rng.randint(0, 2)
        if slip in ("arithmetic", "rounding", "copied number")
        else (rng.randint(0, 1))
    )
    _work(writer, rng, n_in, n_hidden, n_out)
    if slip is not None and writer.slipped_at is None:
        return None
    return Page("\n".join(writer.lines) + "\n", writer.slipped_at, slip)


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


def _draw(rng: random.Random, rows: int, columns: int, scale: float = 1.5) -> Tensor:
    values = [[rng.randint(-19, 19) / 10 for _ in range(columns)] for _ in range(rows)]
    found = torch.tensor(values, dtype=torch.float64) * (scale / 1.5)
    return torch.where(
        found == 0, torch.tensor(0.3, dtype=torch.float64), (found * 10).round() / 10
    )


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
