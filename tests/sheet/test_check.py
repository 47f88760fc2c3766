"""Worked solutions in many hands, right and with slips; pages that mean harm."""

import json
import time
from pathlib import Path

import pytest
from benchmarks.solutions.page import pages_of
from benchmarks.solutions.score import scored
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import thalweg
from thalweg._errors import FormulaError
from thalweg.cli._app import app

PAGES = Path(__file__).parent / "pages"
"""Worked by hand, each as somebody wrote it, and the network beside some of them (NAME.txt)."""

FIRST_WRONG = json.loads((PAGES / "first_wrong.json").read_text())
"""By hand: the line of the first wrong number, none where all are right, and the likely slip."""


@pytest.mark.parametrize("name", sorted(FIRST_WRONG))
def test_the_first_wrong_line_of_a_page(name):
    problem = PAGES / f"{name}.txt"
    checked = thalweg.check(PAGES / f"{name}.md", problem.read_text() if problem.exists() else None)
    first, expected = checked.first_wrong, FIRST_WRONG[name]
    assert (None if first is None else first.line) == expected["line"]
    if first is not None:
        assert expected["kind"] in first.kind


def test_every_page_is_expected_to_be_something():
    assert {path.stem for path in PAGES.glob("*.md")} == set(FIRST_WRONG)


def test_what_follows_from_an_error_is_carried_and_a_second_error_is_wrong():
    checked = thalweg.check(PAGES / "carried.md")
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


def test_a_case_whose_condition_is_not_sure_is_not_checked():
    h = r"\begin{cases} z & z > 0 \\ 0 & z \le 0 \end{cases}"
    checked = thalweg.check(f"$z = (1, -2)$. $$h = {h} = (1, 1)$$")
    assert checked.is_right
    assert checked.count(thalweg.sheet.Verdict.UNREAD) == 1


def test_the_size_of_a_vector_may_be_raised_as_one_sign():
    assert thalweg.check("$x = (1, 2)$ and $x ∈ ℝ²$").is_right
    assert thalweg.check("$x = (1, 2)$ and $x ∈ ℝ³$").first_wrong.kind == "shape"


def test_cells_of_a_matrix_stay_apart_in_what_is_claimed():
    checked = thalweg.check(PAGES / "delta_221_T.md")
    assert checked.first_wrong.claimed.count("&") == 2
    aligned = thalweg.check("\\begin{align} 2 \\cdot 3 &= 7 \\end{align}")
    assert "&" not in aligned.first_wrong.claimed


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        (r"$x = 2 \pm \sqrt{1} = 2 \pm 1$, so $x = 3$ and $x = 1$.", None),
        (r"$x = 2 \pm \sqrt{1} = 2 \pm 1$, so $x = 3$ and $x = 4$.", "4"),
        (r"$x = 2 \pm \sqrt{1} = 2 \pm 2$.", r"2 \pm 2"),
        (r"$x = 2 \pm (-1) = 2 \mp 1 = 2 \pm 1$", None),
        (r"$x_{1,2} = 2 \pm \sqrt{1}$, $x_1 = 3$, $x_2 = 3$", "3"),
        (r"$t^2 - 7t + 11 = 0$ gives $t_1 \approx 2.382$, $t_2 \approx 4.618$.", None),
        (r"$t^2 - 7t + 11 = 0$ gives $t_1 \approx 2.382$, $t_2 \approx 4.681$.", "4.681"),
        (r"$x^2 - 4x + 3 = 0$. Start at $x_0 = 4$: $x_1 = 4 - 3/4 = 3.25$", None),
        (r"$w = 1.2 \pm 0.1$, then $w = 1.2$", None),
    ],
)
def test_a_letter_with_two_values(page, wrong):
    first = thalweg.check(page).first_wrong
    assert (None if first is None else first.claimed) == wrong


@pytest.mark.parametrize(
    ("page", "wrong"),
    [
        (r"$\det(A - \lambda I) = (4-\lambda)(3-\lambda) - 1 = \lambda^2 - 7\lambda + 11$", None),
        (
            r"$\det(A - \lambda I) = (4-\lambda)(3-\lambda) - 1 = \lambda^2 - 7\lambda + 13$",
            r"\lambda^2 - 7\lambda + 13",
        ),
        (r"$A + 2I = \begin{pmatrix} 6 & 1 \\ 1 & 5 \end{pmatrix}$", None),
        (r"$|A| = 11$ and $\operatorname{tr} A = 7$", None),
        (r"$\operatorname{tr} A = 8$", "8"),
    ],
)
def test_a_matrix_and_the_identity(page, wrong):
    given = r"$A = \begin{pmatrix} 4 & 1 \\ 1 & 3 \end{pmatrix}$. "
    first = thalweg.check(given + page).first_wrong
    assert (None if first is None else first.claimed) == wrong


def test_the_absolute_value_of_a_hessian_may_be_a_matrix():
    given = r"$H = \begin{pmatrix} 1 & 2 \\ 2 & 1 \end{pmatrix}$. "
    assert thalweg.check(given + r"$|H| = \begin{pmatrix} 2 & 1 \\ 1 & 2 \end{pmatrix}$").is_right
    assert thalweg.check(given + "$|H| = -3$").is_right
    assert not thalweg.check(given + "$|H| = 3$").is_right


def test_a_pair_of_whole_numbers_on_a_page_with_a_decimal_comma():
    page = "$f(x,y) = x^2 + 3y^2$, $f(1,2) = 13$, $v = (1,2)$, $\\|v\\| \\approx 2,236$, "
    assert thalweg.check(page + "$0,25 + 0,5 = 0,75$").is_right
    assert not thalweg.check(page + "$0,25 + 0,5 = 0,85$").is_right


CLAIMS = [
    # Mixed numbers, of which those in LaTeX may be products as well.
    ("2½ · 4 = 10", None),
    ("2½ · 4 = 8", "8"),
    (r"$1\tfrac12 \cdot 0.2 = 0.3$", None),
    (r"$2\frac{1}{2} = 1$ and $2\frac{1}{2} = 2.5$", None),
    (r"$2\frac{1}{2} = 4$", "4"),
    # Factorials
    ("$5! = 120$ and $5!=120$", None),
    (r"$\frac{6}{3!} = 1$ but $5! = 60$", "60"),
    ("5! = 120, and so x = 2!", None),
    # Bounds and bars
    (r"$\left[\frac{x^2}{2}\right]_0^2 = 2$ and $t^3\big|_1^2 = 7$", None),
    (r"$\left[\frac{x^2}{2}\right]_0^2 = 4$", "4"),
    (r"$\lfloor \frac{7}{2} \rfloor + \lceil 0.5 \rceil = 4$", None),
    (r"$\lfloor \frac{7}{2} \rfloor = 4$", "4"),
    # Frames
    (r"Note $(z = 3 \cdot 2 = 7)$", "7"),
    (r"$$\boxed{a = 3 \cdot 4 = 12}$$", None),
    (r"$$\boxed{a = 3 \cdot 4 = 13}$$", "13"),
    (r"\boxed{a = 3 \cdot 4 = 13}", "13"),
    # Systems of equations
    (r"$$\begin{cases} 2x + y = 4 \\ x + 2y = 5 \end{cases}$$ gives $x = 1$, $y = 2$.", None),
    (r"$$\begin{cases} 2x + y = 4 \\ x + 2y = 5 \end{cases}$$ gives $x = 1$, $y = 3$.", "3"),
    (r"$2a + b = 7$, $a - b = 2$, so $a = 3$, $b = 2$.", "2"),
    (r"$$\left\{\begin{array}{l} u = 2 \cdot 3 = 6 \\ v = u + 1 = 8 \end{array}\right.$$", "8"),
    # Sets
    (r"$(x-1)(x-3) = 0$, so $x \in \{3, 1\}$", None),
    (r"$(x-1)(x-3) = 0$, so $x \in \{1, 4\}$", r"\{1, 4\}"),
    # Code
    ("`z = w*x` with `w = 2`, `x = 3`: `z = 6`, `dz/dw` = `x = 3`", None),
    ("`z = w*x` with `w = 2`, `x = 3`: `z = 8`", "8"),
    ("`h = np.tanh(0.5)**2 = 0.2136` and **bold**", None),
    ("$`a = 3 \\cdot 4 = 11`$", "11"),
    # Tables
    (
        "$f(x) = x^2$\n\n| k | x | f(x) |\n|-|-|-|\n| 0 | 3 | 9 |\n| 1 | 2 | 5 |\n| 2 | 1 | 1 |",
        "5",
    ),
    ("| a | b |\n|-|-|\n| 1 | 2 |\n| 2 | 5 |", None),
    ("| $L = 2 \\cdot 8$ | 64 |", "64"),
    # One exercise after the other
    ("Solve $2x = 6$: $x = 3$.\n\nb) Solve $3x = 12$: $x = 4$.", None),
    ("Solve $2x = 6$: $x = 3$.\n\nb) Solve $3x = 12$: $x = 5$.", "5"),
    ("$2x = 6$, so $x = 3$ and $3x = 12$", "12"),
    (r"$J(w) = \frac12 (w-3)^2$, $J'(w) = w - 3 = 0 \Rightarrow w^* = 3$", None),
    (r"$J(w) = \frac12 (w-3)^2$, $J'(w) = w - 3 = 0 \Rightarrow w^* = 4$", "4"),
    # What a reader of print has lost
    (r"$z = frac{1}{2} cdot 4 + 1 = 3$, $a = sigma(3) approx 0.953$", None),
    (r"$z = frac{1}{2} cdot 4 + 1 = 5$", "5"),
    # Units
    (r"$s = 20\,\text{m/s} \cdot 3\,\text{s} = 60\,\text{m}$", None),
    (r"$s = 20\,\text{m/s} \cdot 3\,\text{s} = 23\,\text{m}$", "23"),
    (r"$P = 230\,\mathrm{V} \cdot 2\,\mathrm{A} = 406\,\mathrm{W}$", "406"),
]
"""What is written, and what of it is wrong."""


@pytest.mark.parametrize(("page", "wrong"), CLAIMS)
def test_what_is_wrong_of_a_line(page, wrong):
    first = thalweg.check(page).first_wrong
    assert (None if first is None else first.claimed) == wrong


@pytest.mark.parametrize(
    "page",
    [
        r"$1\,\text{km} = 1000\,\text{m}$",
        r"$5\,\text{ms} = 0.005\,\text{s}$",
        r"$y \in \{0, 1\}$",
        r"$X \in \mathbb{R}^{4 \times 3}$",
        r"$$\int_0^2 x\, dx = 2$$",
        r"$$\begin{cases} a = 3 \cdot 2 = 7 \\ \text{so } b \end{cases}$$",
    ],
)
def test_what_is_not_judged_is_listed(page):
    checked = thalweg.check(page)
    assert checked.is_right
    assert checked.count(thalweg.sheet.Verdict.UNREAD) >= 1


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
        "$x|_ = 3$",
        "$" + "\\boxed{" * 20_000 + "x = 1" + "}" * 20_000 + "$",
        "$$" + "\\begin{cases} x=1 \\\\ " * 5_000 + "\\end{cases}" * 5_000 + "$$",
        "$x = 5" + "!" * 20_000 + " = 3$",
        "$x = 2 " + "\\pm \\sqrt{1} " * 2_000 + " = 3$",
        "$f(x)=x^2$\n\n" + "| x | f(x) |\n|-|-|\n| 1 | 1 |\n| 2 | 5 |\n\n" * 10_000,
        "$t^4 - 7t^3 + 11 = 0$\n" * 10_000,
    ],
    ids=[
        "tower",
        "brackets",
        "fractions",
        "code",
        "long",
        "bar",
        "frames",
        "cases",
        "factorials",
        "signs",
        "tables",
        "equations",
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_hostile_pages_are_answered_soon(text):
    start = time.process_time()
    thalweg.check(text)
    assert time.process_time() - start < 30


def test_a_page_that_is_too_long_is_refused():
    with pytest.raises(FormulaError, match="at most"):
        thalweg.check("a" * 5_000_000)


def test_the_command(tmp_path):
    page = tmp_path / "page.md"
    page.write_text((PAGES / "relu_course.md").read_text())
    run = CliRunner().invoke(app, ["check", str(page), "--json"])
    assert run.exit_code == 1
    steps = json.loads(run.stdout)
    wrong = [step for step in steps if step["verdict"] == "wrong"]
    assert [(s["line"], s["claimed"], s["right"]) for s in wrong] == [(6, "27", "18")]
    assert {"line", "verdict", "claimed", "right", "kind"} <= set(steps[0])
    page.write_text((PAGES / "relu_right.md").read_text())
    out = tmp_path / "page.html"
    run = CliRunner().invoke(app, ["check", str(page), "--out", str(out)])
    assert run.exit_code == 0
    assert "0 wrong" in run.stdout
    assert "Nothing wrong was found" in out.read_text()
    page.write_text("no mathematics here")
    assert CliRunner().invoke(app, ["check", str(page)]).exit_code == 2
    assert CliRunner().invoke(app, ["check", str(tmp_path / "none.md")]).exit_code == 2
