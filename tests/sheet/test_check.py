"""Worked solutions in many hands, right and with slips; pages that mean harm."""

import json
import time

import pytest
from benchmarks.solutions import pages_of, scored
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import thalweg
from thalweg._errors import FormulaError
from thalweg.cli._app import app

PAGES: dict[str, tuple[str, int | None]] = {}
PAGES["relu course"] = (
    r"""Network $z=\theta_1 x$, $h=\mathrm{ReLU}(z)$, $o=\theta_2 h$, $\hat y = \mathrm{ReLU}(o)$, $L=\frac12(\hat y-y)^2$
with $x=1.5$, $\theta_1=4$, $\theta_2=1.5$, $y=1$.

$z = 4\cdot 1.5 = 6$, $h = 6$, $o = 1.5 \cdot 6 = 9$, $\hat y = 9$, $L = \frac12 (9-1)^2 = 32$.

$$\frac{\partial L}{\partial \theta_1} = (\hat y - y)\cdot 1\cdot\theta_2\cdot 1\cdot x = 8 \cdot 1.5\cdot 1.5 = 27$$
""",
    6,
)
PAGES["relu right"] = (PAGES["relu course"][0].replace("= 27", "= 18"), None)
PAGES["newton de"] = (
    r"""Gegeben ist $f(x) = (x-1)(x-3) = x^2 - 4x + 3$. Also $f'(x) = 2x-4$ und $f''(x)=2$.
Start bei $x_0 = 4$:
$$x_1 = x_0 - \frac{f'(x_0)}{f''(x_0)} = 4 - \frac{4}{2} = 2$$
""",
    None,
)
PAGES["newton wrong"] = (PAGES["newton de"][0].replace(r"\frac{4}{2} = 2", r"\frac{4}{2} = 3"), 3)
PAGES["adam"] = (
    r"""Adam mit $\beta_1 = 0{,}9$, $\beta_2 = 0{,}999$, $\eta = 0{,}1$, $\epsilon = 10^{-8}$, $\theta_0 = 1$, $g_1 = 2$, $g_2 = 1{,}8$.

$m_1 = 0{,}9 \cdot 0 + 0{,}1 \cdot 2 = 0{,}2$
$v_1 = 0{,}999\cdot 0 + 0{,}001 \cdot 2^2 = 0{,}004$
$\hat m_1 = \frac{0{,}2}{1-0{,}9} = 2$
$\hat v_1 = \frac{0{,}004}{1 - 0{,}999} = 4$
$\theta_1 = 1 - 0{,}1 \cdot \frac{2}{\sqrt{4}+10^{-8}} \approx 0{,}9$
$m_2 = 0{,}9 \cdot 0{,}2 + 0{,}1 \cdot 1{,}8 = 0{,}36$
$v_2 = 0{,}999 \cdot 0{,}004 + 0{,}001 \cdot 1{,}8^2 = 0{,}007236$
$\hat m_2 = \frac{0{,}36}{1-0{,}81} \approx 1{,}8947$
$\hat v_2 = \frac{0{,}007236}{1-0{,}999^2} \approx 3{,}6198$
$\theta_2 = 0{,}9 - 0{,}1 \cdot \frac{1{,}8947}{\sqrt{3{,}6198}} \approx 0{,}8004$
""",
    None,
)
PAGES["softmax"] = (
    r"""Softmax of $z = (1, 2, 3)$:
$$p = \frac{1}{e^1+e^2+e^3}\begin{pmatrix} e^1 \\ e^2 \\ e^3\end{pmatrix} \approx \begin{pmatrix} 0.0900 \\ 0.2447 \\ 0.6652 \end{pmatrix}$$
With the target class 3, $L = -\ln p_3 = -\ln 0.6652 \approx 0.4077$ and
$$\frac{\partial L}{\partial z} = p - y = \begin{pmatrix} 0.0900 \\ 0.2447 \\ 0.6652 \end{pmatrix} - \begin{pmatrix} 0 \\ 0 \\ 1 \end{pmatrix} = \begin{pmatrix} 0.0900 \\ 0.2447 \\ -0.3348 \end{pmatrix}$$
""",
    None,
)
PAGES["softmax wrong"] = (PAGES["softmax"][0].replace("-0.3348", " 0.3348"), 4)
PAGES["plain"] = (
    """x = 1.5, w = 4, y = 1
z = w * x = 4 * 1.5 = 6
h = tanh(6) = 0.99999
e = h - y = 0.99999 - 1 = -0.00001
L = 0.5 * e^2 = 5e-11
""",
    None,
)
PAGES["matrix fr"] = (
    r"""Soit $x = \begin{bmatrix} 2 \\ 3\end{bmatrix}$ et $W = \begin{bmatrix} 1 & 2 \\ 3 & 4\end{bmatrix}$, $b = \begin{bmatrix} 2 \\ 4 \end{bmatrix}$. On calcule
$$ z = Wx + b = \begin{bmatrix} 1\cdot 2 + 2\cdot 3 \\ 3\cdot 2+4\cdot 3\end{bmatrix} + \begin{bmatrix} 2 \\ 4 \end{bmatrix} = \begin{bmatrix} 10 \\ 22 \end{bmatrix}$$
puis $h = \sigma(z) \approx \begin{bmatrix} 0{,}99995 \\ 1{,}00000 \end{bmatrix}$.
""",
    None,
)
PAGES["matrix wrong"] = (PAGES["matrix fr"][0].replace(r"10 \\ 22 \end", r"10 \\ 24 \end"), 2)
PAGES["delta"] = (
    r"""$a^{(1)} = 0.5$, $W^{(2)} = 2$, $b^{(2)} = -0.3$, $y = 1$.
\begin{align}
z^{(2)} &= W^{(2)} a^{(1)} + b^{(2)} = 2 \cdot 0.5 - 0.3 = 0.7 \\
a^{(2)} &= \sigma(z^{(2)}) = 0.6682 \\
\delta^{(2)} &= (a^{(2)} - y)\, a^{(2)} (1 - a^{(2)}) = -0.3318 \cdot 0.6682 \cdot 0.3318 = -0.0736 \\
\frac{\partial L}{\partial W^{(2)}} &= \delta^{(2)} a^{(1)} = -0.0736 \cdot 0.5 = -0.0368
\end{align}
""",
    None,
)
PAGES["delta wrong"] = (PAGES["delta"][0].replace("= -0.0368", "= 0.0368"), 6)
PAGES["leaky"] = (
    r"""Leaky ReLU with $\alpha = 0.1$: $f(z) = \max(0.1 z, z)$. For $z = -2$: $f(-2) = \max(-0.2, -2) = -0.2$.
The slope is $f'(-2) = 0.1$. So $\delta = 3 \cdot 0.1 = 0.3$.
""",
    None,
)
PAGES["carried"] = (
    r"""$a = 2 \cdot 3 = 7$
$b = a + 1 = 8$
$c = 2 b = 16$
$d = 5 \cdot 5 = 26$
""",
    1,
)
PAGES["quad"] = (
    r"""$f(w) = w^2$, $\eta = 0.1$, $w_0 = 5$. Gradient $f'(w) = 2w$.
Step 1: $w_1 = w_0 - \eta \cdot 2 w_0 = 5 - 0.1\cdot 10 = 4$
Step 2: $w_2 = 4 - 0.1 \cdot 8 = 3.2$
Step 3: $w_3 = 3.2 - 0.1 \cdot 6.4 = 2.56$
""",
    None,
)
PAGES["boxed"] = (
    r"""$\sigma(0.5) = \frac{1}{1+e^{-0.5}} \approx \frac{1}{1+0.6065} \approx 0.6225$ and $\sigma'(0.5) = 0.6225 \times (1-0.6225) \approx \boxed{0.2350}$""",
    None,
)


@pytest.mark.parametrize("name", PAGES)
def test_the_first_wrong_line_of_a_page(name):
    """By hand: the line on which the first wrong number stands, None where all are right."""
    text, line = PAGES[name]
    first = thalweg.check(text).first_wrong
    assert (None if first is None else first.line) == line


def test_what_follows_from_an_error_is_carried_and_a_second_error_is_wrong():
    checked = thalweg.check(PAGES["carried"][0])
    by_line = [
        {step.verdict.value for step in checked.steps if step.line == n} for n in (1, 2, 3, 4)
    ]
    assert by_line[0] >= {"wrong"}
    assert by_line[1] == by_line[2] == {"carried"}
    assert "wrong" in by_line[3]
    assert checked.first_wrong.right == "6"
    assert checked.first_wrong.kind == "arithmetic"


def test_a_problem_beside_the_page_is_what_it_is_compared_with():
    net = "x = 1.5\ntheta1 = 4\nz = theta1 * x\nh = sigmoid(z)\n"
    assert thalweg.check("$h = 0.9975$", net).is_right
    wrong = thalweg.check("$h = 0.9795$", net)
    assert wrong.first_wrong is not None
    assert wrong.first_wrong.right.startswith("0.9975")


def test_what_cannot_be_read_is_said():
    checked = thalweg.check("$$q = \\mathfrak{X}(3) = 7$$ and $2 + 2 = 4$")
    assert checked.count(thalweg.sheet.Verdict.UNREAD) >= 1
    assert checked.is_right


def test_generated_pages_of_every_kind():
    """The benchmark in little: `python -m benchmarks.solutions` runs 2,000 of each."""
    right = scored(pages_of(5, 6, with_slips=False))
    assert right.alarms == 0
    wrong = scored(pages_of(5, 8, with_slips=True))
    assert wrong.found >= 7


@given(
    weight=st.floats(-3, 3).filter(lambda x: abs(x) > 0.01),
    x=st.floats(-3, 3).filter(lambda x: abs(x) > 0.01),
    digits=st.integers(2, 6),
)
@settings(max_examples=60, deadline=None)
def test_a_right_solution_rounded_to_any_digits_is_not_accused(weight, x, digits):
    w, x = float(f"{weight:.3g}"), float(f"{x:.3g}")
    z = w * x
    shown = float(f"{z:.{digits}g}")
    page = f"$w = {w}$, $x = {x}$. $z = w x = {w} \\cdot {x} \\approx {shown}$, $2z = {2 * shown}$"
    if "e" in page:
        return
    assert thalweg.check(page).is_right, page


@given(st.text(alphabet="$\\\\frac{}^_()[]=+-*/.,0123456789xyzé \n&|'∂", max_size=200))
@settings(max_examples=150, deadline=None)
def test_nonsense_never_crashes(text):
    thalweg.check(text)


@pytest.mark.parametrize(
    "text",
    [
        "$x = 9^{9^{9}} = 3$",
        "$" + "(" * 20_000 + "1" + ")" * 20_000 + " = 1$",
        "$" + "\\frac{1}{" * 5_000 + "2" + "}" * 5_000 + " = 1$",
        "$x = __import__('os').system('true') = 3$",
        "word = 1 + 1 = 2 \n" * 20_000,
    ],
    ids=["tower", "brackets", "fractions", "code", "long"],
)
def test_hostile_pages_are_answered_soon(text):
    start = time.perf_counter()
    thalweg.check(text)
    assert time.perf_counter() - start < 60


def test_a_page_that_is_too_long_is_refused():
    with pytest.raises(FormulaError, match="at most"):
        thalweg.check("a" * 5_000_000)


def test_the_command(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGES["relu course"][0])
    run = CliRunner().invoke(app, ["check", str(page), "--json"])
    assert run.exit_code == 1
    steps = json.loads(run.stdout)
    wrong = [step for step in steps if step["verdict"] == "wrong"]
    assert [(s["line"], s["claimed"], s["right"]) for s in wrong] == [(6, "27", "18")]
    assert {"line", "verdict", "claimed", "right", "kind"} <= set(steps[0])
    page.write_text(PAGES["relu right"][0])
    out = tmp_path / "page.html"
    run = CliRunner().invoke(app, ["check", str(page), "--out", str(out)])
    assert run.exit_code == 0
    assert "0 wrong" in run.stdout
    assert "Nothing wrong was found" in out.read_text()
    page.write_text("no mathematics here")
    assert CliRunner().invoke(app, ["check", str(page)]).exit_code == 2
    assert CliRunner().invoke(app, ["check", str(tmp_path / "none.md")]).exit_code == 2
