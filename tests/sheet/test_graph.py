"""The exact pass of a text: values and gradients against known ones and plain autograd."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sheets import CHAIN, KNOWN, LAYERS

from thalweg import FormulaError, ThalwegError
from thalweg.sheet import graph_of
from thalweg.sheet._elementwise import TANH
from thalweg.sheet._operation import Form


@pytest.mark.parametrize("activation", KNOWN)
def test_the_chain_of_three(activation):
    graph = graph_of(CHAIN.format(activation=activation))
    for name, value in KNOWN[activation]["values"].items():
        assert float(graph[name].value) == pytest.approx(value, rel=1e-9)
    for name, gradient in KNOWN[activation]["gradients"].items():
        assert float(graph[name].gradient) == pytest.approx(gradient, rel=1e-9)


def test_the_network_of_two_layers():
    graph = graph_of(LAYERS)
    expected = {
        "b_o": -6.0992997081e-06,
        "w_o": [-6.0990228129e-06, -6.0992997064e-06],
        "b_1": [-2.7688263687e-10, -3.4027610710e-15],
    }
    for name, gradient in expected.items():
        assert graph[name].gradient.tolist() == pytest.approx(gradient, rel=1e-9)
    outer = torch.outer(graph["b_1"].gradient, graph["x"].value)
    torch.testing.assert_close(graph["W_1"].gradient, outer)
    assert graph["C"].value.tolist() == pytest.approx([0.9999546021, 0.9999999997], rel=1e-9)
    assert float(graph["L"].value) == pytest.approx(3.0572095234e-06, rel=1e-9)


def test_a_value_used_twice_gets_the_sum_over_its_paths():
    graph = graph_of("x = 2\nh = sigmoid(x)\nL = h(1 - h) + 3h")
    assert len(graph["h"].paths) == 3
    total = sum(float(path.gradient) for path in graph["h"].paths)
    assert float(graph["h"].gradient) == pytest.approx(total, rel=1e-12)
    assert [path.through for path in graph["x"].paths] == ["h"]


SAME = {
    "w^T z": "dot(w, z)",
    "w @ z": "sum(w * z)",
    "norm(w)^2": "w^T w",
    "1/2 w^T A w": "sum(w * (A @ w)) / 2",
    "w^T A z": "sum(outer(w, z) ⊙ A)",
    "mse(w, z)": "mean((w - z)^2)",
    "squared_error(w, z)": "sum((w - z) ⊙ (w - z))",
    "squared_loss(w, z)": "1/2 ||w - z||^2",
    "cross_entropy(softmax(w), [0, 1, 0])": "cross_entropy(w, 1)",
    "cross_entropy(w, [0.5, 0.25, 0.25])": "-sum([0.5, 0.25, 0.25] * log_softmax(w))",
    "binary_cross_entropy(sigmoid(w), [1, 0, 1])": "mean(log(1 + exp([-1, 1, -1] ⊙ w)))",
    "sum(max(0, A w))": "sum(relu(A @ w))",
    "sum(A^T w)": "sum((w^T A)^T)",
    "sum(w z^T)": "sum(w) sum(z)",
    "sum(tanh(w))": "sum(2 sigmoid(2w) - 1)",
    "sum(leaky_relu(w))": "sum(relu(w) - 0.01 relu(-w))",
    "sum(elu(w))": "sum(max(0, w) + exp(min(0, w)) - 1)",
    "sum(silu(w))": "sum(w / (1 + e^(-w)))",
    "sum(softplus(w))": "sum(log(1 + exp(w)))",
    "norm(A) / √2": "sqrt(sum(A ⊙ A) / 2)",
    "sum([w^T z, 2] )": "w^T z + 2",
    "sum(A + z)": "sum(A) + 3 sum(z)",
}
GIVEN = "w = [0.3, -0.7, 1.1]\nz = [0.2, 0.5, -0.4]\nA = [[1, 2, 0], [0.5, -1, 3], [2, 0.1, 0.7]]\n"


@pytest.mark.parametrize("formula", SAME)
def test_two_ways_of_writing_it_are_one_number(formula):
    one, other = graph_of(f"{GIVEN}L = {formula}"), graph_of(f"{GIVEN}L = {SAME[formula]}")
    for name in ("w", "z", "A"):
        torch.testing.assert_close(one[name].gradient, other[name].gradient)
    torch.testing.assert_close(one["L"].value, other["L"].value)


REFUSED = {
    "L = a * b": "a has no value; add a line such as a = 0.5",
    "a = b\nb = a": "which needs",
    "a = 1": "gives values only",
    "x = [1, 2]\nh = 2x": "h is no single number but has shape 2",
    "W = [[1, 2], [3, 4]]; x = [1, 2]\nL = sum(W * x)": "write W @ x",
    "x = [1, 2]\nL = x @ [1, 2, 3]": "do not fit for a product",
    "x = [1, 2]\nL = sum(x + [1, 2, 3])": "needs the same sizes",
    "x = [1, 2]\nL = x x": "write a^T b",
    "x = 2\nL = x @ x": "write * between",
    "x = 9\nL = x^x^x": "beyond float64",
    "x = 9^9^9^9\nL = x": "beyond float64",
    "x = -1\nL = log(x)": "no real number",
    "x = 0\nL = sqrt(x)": "is not finite here",
    "x = 0\nL = 1/x": "beyond float64",
    "x = 2\nL = nonsense(x)": "there is no function 'nonsense'",
    "x = [1, 2]\nL = cross_entropy(x, 2)": "from 0 to 1",
    "x = 2\nL = binary_cross_entropy(x, 1)": "leaves [0, 1]",
    "A = [[1, 2], [3, 4]]\nL = sum(A^2)": "entry by entry or as a product",
    "x = 1\nL = softmax(x)": "is a number",
    "__import__('os').system('touch /tmp/owned')": "means nothing in a formula",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_worked_out_says_what_to_type(text):
    with pytest.raises(FormulaError) as caught:
        graph_of(text)
    assert REFUSED[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_too_large_is_refused_before_it_is_built():
    row = ", ".join(["1"] * 400)
    with pytest.raises(FormulaError, match="100,000"):
        graph_of(f"x = [{row}]\nL = sum(x x^T)")
    lines = "\n".join(f"x{i + 1} = sin(x{i})" for i in range(520))
    with pytest.raises(FormulaError, match="more than 500 operations"):
        graph_of(f"x0 = 1\n{lines}")


def test_a_wrong_rule_is_found_out(monkeypatch):
    """The proof is by autograd, not by the rule itself."""
    object.__setattr__(TANH, "slopes", (lambda y, a: 1 - y,))
    try:
        with pytest.raises(ThalwegError, match="by autograd"):
            graph_of("x = 0.5\nL = tanh(x)")
    finally:
        object.__setattr__(TANH, "slopes", (lambda y, a: 1 - y**2,))


UNARY = ["sigmoid", "tanh", "relu", "softplus", "exp", "sin", "cos", "silu", "gelu", "elu"]
PEERS = {name: getattr(torch.nn.functional, name, None) or getattr(torch, name) for name in UNARY}
numbers = st.floats(-3, 3).map(lambda x: round(x, 3)).filter(lambda x: abs(x) > 1e-2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(UNARY), min_size=1, max_size=4), st.lists(numbers, min_size=5))
def test_networks_of_any_depth_agree_with_plain_autograd(activations, draws):
    """Written out by hand in torch here, without the graph."""
    w = [torch.tensor(n, dtype=torch.float64, requires_grad=True) for n in draws[:4]]
    h, lines = torch.tensor(draws[4], dtype=torch.float64), [f"h0 = {draws[4]}"]
    lines += [f"w{i} = {n}" for i, n in enumerate(draws[:4])]
    for i, name in enumerate(activations):
        h = PEERS[name](w[i] * h)
        lines.append(f"h{i + 1} = {name}(w{i} * h{i})")
    loss = (h - 1) ** 2 / 2
    # exp of exp leaves float64, which is refused.
    assume(float(loss.detach()) < 1e100)
    gradients = torch.autograd.grad(loss, w, materialize_grads=True, allow_unused=True)
    graph = graph_of("\n".join([*lines, f"L = 1/2 (h{len(activations)} - 1)^2"]))
    for i, gradient in enumerate(gradients):
        ours = graph[f"w{i}"].gradient
        torch.testing.assert_close(ours, gradient, rtol=1e-9, atol=1e-13)


def test_each_local_derivative_is_what_a_small_step_shows():
    """Central differences of the node's formula, by the text itself."""
    text = "x = 0.7; y = 1.3\nL = {}"
    for formula in ("x^y", "x/y", "max(x, y)", "leaky_relu(-x, y)", "elu(-x, y)", "tan(x) y"):
        exact = graph_of(text.format(formula))
        step = 1e-5
        for name, at in (("x", 0.7), ("y", 1.3)):
            sides = [
                float(graph_of(text.format(formula).replace(f"{name} = {at}", f"{name} = {at + s}"))
                      ["L"].value)
                for s in (step, -step)
            ]  # fmt: skip
            # The error is the third derivative, here below 30, times step²/6, and rounding/step.
            difference = (sides[0] - sides[1]) / (2 * step)
            assert float(exact[name].gradient) == pytest.approx(difference, abs=1e-8)


def test_kinks_are_said():
    graph = graph_of("x = 0\nL = relu(x) + abs(x)")
    assert sum("no derivative" in node.note for node in graph.nodes) == 2


def test_at_a_kink_the_derivative_is_torchs():
    functions = {
        "relu": F.relu, "leaky_relu": F.leaky_relu, "elu": F.elu, "abs": torch.abs,
        "softplus": F.softplus, "silu": F.silu, "gelu": F.gelu,
    }  # fmt: skip
    for name, function in functions.items():
        x = torch.zeros((), dtype=torch.float64, requires_grad=True)
        (theirs,) = torch.autograd.grad(function(x), x)
        torch.testing.assert_close(graph_of(f"x = 0\nL = {name}(x)")["x"].gradient, theirs)


def test_forms_say_how_a_gradient_goes_back():
    graph = graph_of(LAYERS)
    product = next(node for node in graph.nodes if node.operation == "matrix times vector")
    assert [local.form for local in product.locals] == [Form.FACTOR, Form.FACTOR]
    assert product.locals[0].rule.latex.endswith(r"{x}^{\top}")
