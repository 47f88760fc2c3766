"""The parser: what is read as what, what is refused with which words, and nothing is ever run."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg import FormulaError
from thalweg.symbolic import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Transpose,
    normalised,
    parse_expression,
    parse_program,
)


def spelled(expression: Expression) -> str:
    """With a bracket around everything: how it was read."""
    match expression:
        case Number(text) | Name(text):
            return text
        case Negative(of):
            return f"(-{spelled(of)})"
        case Transpose(of):
            return f"{spelled(of)}'"
        case Binary(operator, left, right):
            return f"({spelled(left)}{operator}{spelled(right)})"
        case Call(function, args):
            return f"{function}({','.join(map(spelled, args))})"
        case Array(items):
            return f"[{','.join(map(spelled, items))}]"
    raise AssertionError(expression)


READ = {
    "1 - 2 - 3": "((1-2)-3)",
    "1 - 2 * 3": "(1-(2*3))",
    "6 / 2 / 3": "((6/2)/3)",
    "2^3^2": "(2^(3^2))",
    "2**3": "(2^3)",
    "-x^2": "(-(x^2))",
    "--x": "x",
    "2^-1": "(2^(-1))",
    "-x²y": "((-(x^2)) y)",
    "1/2 (y - t)^2": "((1/2) ((y-t)^2))",
    "½‖w‖²": "((1/2) (norm(w)^2))",
    "1/4 ||w||^4": "((1/4) (norm(w)^4))",
    "|x| |y|": "(abs(x) abs(y))",
    "|x - |y| |": "abs((x-abs(y)))",
    "wᵀz": "(w' z)",
    "w.T z": "(w' z)",
    "w.T @ z": "(w'@z)",
    "w^T z": "(w' z)",
    "w^{T} z": "(w' z)",
    "w^Tz": "(w' z)",
    "x^Tx^2": "(x' (x^2))",
    "θ₁x": "(theta_1 x)",
    "σ(z)": "sigmoid(z)",
    "ReLU(z)": "relu(z)",
    "ln(x)": "log(x)",
    "LeakyReLU(z, alpha=0.1)": "leaky_relu(z,0.1)",
    "E[g(w^T z)]": "E(g((w' z)))",
    "g'(x)": "g'(x)",
    "[[1, 2], [3, 4]] @ [5, -6]": "([[1,2],[3,4]]@[5,(-6)])",
    "√(x + 1)": "sqrt((x+1))",
    "a ⊙ b": "(a⊙b)",
    "e^{-x}": "(e^(-x))",
    "h(1 - h)": "h((1-h))",
    "x (1 - x)": "(x (1-x))",
    "3x": "(3 x)",
    "6.1e-6": "6.1e-6",
    "− 2 · x": "((-2)*x)",
}


@pytest.mark.parametrize("text", list(READ))
def test_how_it_is_read(text):
    assert spelled(parse_expression(text)) == READ[text]


def test_letters_stand_together_as_on_paper_where_asked():
    assert spelled(parse_expression("½wᵀAw", has_short_names=True)) == "((((1/2) w') A) w)"
    assert spelled(parse_expression("mu theta x1", has_short_names=True)) == "((mu theta) x_1)"


REFUSED = {
    "": "the line ends",
    "(1": "never closed; add ')'",
    "1)": "closes nothing",
    "2 3": "an operator is missing before 3",
    "1 +": "the line ends after '+'",
    "0,5": "decimals are written with a point",
    "x[0]": "give the entry a name of its own",
    "[1 2]": "divided by commas: [1, 2]",
    "[[1, 2], [3]]": "a row of 1 and a row of 2",
    "[[[1]]]": "nested three deep",
    "[]": "one number at least",
    "sigmoid()": "takes 1 argument, not 0",
    "relu(1, 2)": "takes 1 argument, not 2",
    "sin x": "sin(x)",
    "x'": "a transpose is x^T",
    "W' x": "a transpose is x^T",
    "1e999": "float64 ends at 1e±308",
    "1" * 101: "more than 100 digits",
    "__import__('os').system('true')": "means nothing",
    'open("x")': "quotes mean nothing",
    "lambda: 1": "means nothing",
    "x = 1": "name = formula",
    "a.b": "means nothing",
    "1\n2": "one formula is read at a time",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(text):
    with pytest.raises(FormulaError) as caught:
        parse_expression(text)
    assert REFUSED[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def refusal(read, text):
    """What is said where it is refused; any other error is the test's."""
    try:
        read(text)
    except FormulaError as error:
        return str(error)
    return None


HOSTILE = [
    "(" * 20_000, "[" * 20_000, "-" * 20_000 + "1", "1+" * 20_000 + "1", "x^" * 20_000 + "x",
    "√" * 20_000, "f(" * 5_000, "x" * 120_000, "|" * 10_000, "x^T" * 3_000, "xᵀᵀᵀ" * 3_000,
    "(x)" * 10_000, "1 " * 20_000, "[" + "1, " * 5_000 + "1]", "1" * 300_000, "\x00", "\ud800",
    "x_" * 20_000, "x" + "\u0302" * 20_000, "½" * 20_000, "{" * 1_000, "^" * 1_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_answered_at_once(text):
    start = time.process_time()
    said = refusal(parse_expression, text)
    assert time.process_time() - start < 5
    assert said is None or 0 < len(said) < 400


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    assert refusal(parse_expression, text) != ""
    assert refusal(parse_program, text) != ""


@given(st.text("xyθ₁²ᵀT0123.e+-*/^@()[]{}|‖√½, =;'#\n", max_size=40))
def test_any_text_of_signs_is_read_or_refused(text):
    assert refusal(parse_expression, text) != ""
    assert refusal(parse_program, text) != ""


def test_a_program_is_read_line_by_line():
    program = parse_program(
        """
        # the network
        theta1 = 4; theta2 = 1.5
        x = 1.5, y = 1

        h = sigmoid(θ_1 * x)   # hidden
        W = [[1, 2],
             [3, 4]]
        """
    )
    assert [(s.name, s.line) for s in program] == [
        ("theta_1", 3), ("theta_2", 3), ("x", 4), ("y", 4), ("h", 6), ("W", 7),
    ]  # fmt: skip
    assert spelled(program.statements[4].expression) == "sigmoid((theta_1*x))"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is nothing to read"),
        ("# only a remark", "there is nothing to read"),
        ("x = 1\nx = 2", "line 2: x has been given on line 1 already"),
        ("x = 1\nsigmoid(x)", "line 2, column 1: a line is name = formula"),
        ("f(x) = x^2", "write f = …, not f(…) = …"),
        ("x = y = 1", "two '='"),
        ("x == 1", "stands after the name of a line only"),
        ("x = 1\ny = (2 +\n", "the line ends"),
        ("import os", "a line is name = formula"),
    ],
)
def test_a_program_that_cannot_be_read_says_where(text, said):
    with pytest.raises(FormulaError) as caught:
        parse_program(text)
    assert said in str(caught.value)


def test_one_spelling():
    spellings = ["θ₁", "theta1", "theta_1", "theta_{1}", r"\theta_1", r"\theta_{1}", "θ1", "θ_1"]
    assert {normalised(text) for text in spellings} == {"theta_1"}
    assert normalised("y_{pred}") == normalised("y_pred") == "y_pred"
    assert normalised("ŷ") == normalised("yhat") == normalised("y_hat") == "y_hat"


def test_a_number_knows_its_digits():
    assert Number("0.50").place == Number("1.25").place == Number("3e-2").place
    assert float(Number("6.1e-6").value) == 6.1e-6
    assert Number("27").place == 1


def test_walking_needs_no_stack():
    assert [spelled(n) for n in parse_expression("(a + b) c").walk()] == [
        "a", "b", "(a+b)", "c", "((a+b) c)",
    ]  # fmt: skip
    assert parse_expression("f(a, b) + a").names == {"a", "b"}
