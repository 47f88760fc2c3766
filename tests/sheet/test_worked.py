"""Worked passes: every printed number is parsed back, LaTeX compiles, refusals say the way out."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sheets import CHAIN, KNOWN, LAYERS
from torch import nn

import thalweg
from thalweg import FormulaError
from thalweg.symbolic import normalised

EXAMPLES = Path(__file__).parents[2] / "examples" / "worked"


def chain_by_hand(activation):
    """Values and gradients of the chain by torch alone."""
    function = getattr(torch, activation)
    given = {"theta_1": 4.0, "theta_2": 1.5, "x": 1.5, "y": 1.0}
    q = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in given.items()}
    q["z"] = q["theta_1"] * q["x"]
    q["h"] = function(q["z"])
    q["o"] = q["theta_2"] * q["h"]
    q["y_hat"] = function(q["o"])
    q["L"] = (q["y_hat"] - q["y"]) ** 2 / 2
    return q, dict(zip(q, torch.autograd.grad(q["L"], list(q.values())), strict=True))


def layers_by_hand():
    given = {
        "W_1": [[1.0, 2.0], [3.0, 4.0]], "b_1": [2.0, 4.0], "w_o": [1.0, 2.0], "b_o": 3.0,
        "x": [2.0, 3.0], "y": 1.0,
    }  # fmt: skip
    q = {n: torch.tensor(v, dtype=torch.float64, requires_grad=True) for n, v in given.items()}
    q["B"] = q["W_1"] @ q["x"] + q["b_1"]
    q["C"] = torch.sigmoid(q["B"])
    q["E"] = q["w_o"] @ q["C"] + q["b_o"]
    q["F"] = torch.sigmoid(q["E"])
    q["L"] = (q["F"] - q["y"]) ** 2 / 2
    return q, dict(zip(q, torch.autograd.grad(q["L"], list(q.values())), strict=True))


BY_HAND = {a: (CHAIN.format(activation=a), lambda a=a: chain_by_hand(a)) for a in KNOWN}
BY_HAND["layers"] = (LAYERS, layers_by_hand)

NUMBER = r"-?\d+(?:\.\d+)?(?: \\times 10\^\{-?\d+\})?"


def numbers_in(latex):
    """All numbers of a LaTeX value, in order."""
    return [
        float(n.replace(r" \times 10^{", "e").replace("}", "")) for n in re.findall(NUMBER, latex)
    ]


def name_in(latex):
    return normalised(re.sub(r"\\(?:mathrm|hat)\{(\w+)\}", r"\1", latex).replace("{}", ""))


@pytest.mark.parametrize("digits", [3, 8, 12])
@pytest.mark.parametrize("case", BY_HAND)
def test_every_printed_number_is_that_of_autograd(case, digits):
    text, by_hand = BY_HAND[case]
    values, gradients = by_hand()
    sheet = thalweg.worked(text)
    labels = {sheet.graph[name].label.latex: name for name in values}
    num_seen = 0
    for block in re.findall(r"\$\$\n(.*?)\n\$\$", sheet.to_markdown(digits), re.S):
        first, *_, last = re.split(r" = | \\approx ", block)
        quotient = re.fullmatch(r"\\frac\{\\partial L\}\{\\partial (.*)\}", first)
        if quotient and quotient[1] in labels:
            exact = gradients[labels[quotient[1]]]
        elif first in labels:
            exact = values[labels[first]].detach()
        else:
            continue
        num_seen += 1
        # A rounding to so many digits is off by half of one in the last.
        shown = numbers_in(last)
        for ours, theirs in zip(shown, exact.reshape(-1).tolist(), strict=True):
            assert ours == pytest.approx(theirs, rel=0.5001 * 10 ** (1 - digits), abs=1e-300)
    assert num_seen >= 2 * len(values)


def test_the_json_has_every_number_in_full():
    values, gradients = layers_by_hand()
    record = json.loads(thalweg.worked(LAYERS).to_json())
    nodes = {node["name"]: node for node in record["nodes"]}
    for name, value in values.items():
        torch.testing.assert_close(
            torch.tensor(nodes[name]["value"], dtype=torch.float64), value.detach()
        )
        torch.testing.assert_close(
            torch.tensor(nodes[name]["gradient"], dtype=torch.float64), gradients[name], rtol=1e-9,
            atol=0,
        )  # fmt: skip
    assert nodes["v_1"]["locals"][0]["rule"] == "δ xᵀ"
    assert record["checked"]["numbers"] > 50


@pytest.mark.parametrize("activation", KNOWN)
def test_the_terminal_shows_the_known_gradients(activation):
    said = str(thalweg.worked(CHAIN.format(activation=activation)))
    for name, gradient in KNOWN[activation]["gradients"].items():
        row = next(
            line for line in said.splitlines()
            if line.strip().startswith(f"∂L/∂θ{'₁₂'[int(name[-1]) - 1]} ")
        )  # fmt: skip
        assert float(row.split()[-1]) == pytest.approx(gradient, rel=1e-7)


def test_the_remarks_name_the_factor_and_what_relu_gives():
    first, second = (r.text for r in thalweg.worked(CHAIN.format(activation="sigmoid")).remarks)
    assert "∂h/∂z = h · (1 − h) = 0.002467" in first
    assert "is small" in first
    assert "With ReLU" in second
    assert "L = 32 instead of" in second
    assert "∂L/∂θ₁ = 18" in second


def test_what_another_activation_gives_is_what_its_own_text_gives():
    sheet = thalweg.worked(CHAIN.format(activation="sigmoid"))
    for other in sheet.alternatives:
        name = {"ReLU": "relu"}.get(other.activation, other.activation)
        graph = thalweg.worked(CHAIN.format(activation=name)).graph
        assert other.loss == float(graph["L"].value)
        assert all(torch.equal(g, graph[n].gradient) for n, g in other.gradients.items())


def test_a_dead_unit_is_said_to_be_the_reason():
    sheet = thalweg.worked("w = -2; x = 3; y = 1\nh = relu(w * x)\nL = 1/2 (h - y)^2")
    assert "∂L/∂w is zero, since ∂h/∂v₁ = 1 where v₁ > 0, else 0 = 0" in sheet.remarks[0].text


def test_lost_digits_are_said():
    sheet = thalweg.worked("w = 30; x = 1\nh = sigmoid(w x)\nL = h^2")
    assert any("keeps about 2 of its 16 digits" in remark.text for remark in sheet.remarks)


@pytest.mark.parametrize("case", BY_HAND)
def test_the_latex_is_well_formed(case):
    for latex in (thalweg.worked(BY_HAND[case][0]).to_latex(),):
        assert latex.isascii()
        assert latex.count("{") == latex.count("}")
        opened = re.findall(r"\\(begin|end)\{([\w*]+)\}", latex)
        stack = []
        for kind, name in opened:
            if kind == "begin":
                stack.append(name)
            else:
                assert stack.pop() == name
        assert not stack
        assert latex.count(r"\left") == latex.count(r"\right")
        assert latex.replace(r"\$", "").count("$") % 2 == 0


TEX = shutil.which("pdflatex")
ODD = "alpha_foo = 0.3; β₂ = -2; ŵ = [1e-7, -3]; Wabc = [[1, 2], [3, 4]]\n" + (
    "u = Wabc ŵ; p = softmax(u); q = leaky_relu(u, alpha_foo) + elu(u) + max(u, p)\n"
    "L = cross_entropy(p, 1) + β₂^2 / ‖q‖ + mean([alpha_foo, 2, abs(β₂)]) + sqrt(2) * 2^alpha_foo"
)


@pytest.mark.skipif(TEX is None, reason="no pdflatex here: apt-get install texlive-latex-base")
@pytest.mark.parametrize("text", [LAYERS, ODD], ids=["layers", "odd"])
def test_the_latex_compiles(text, tmp_path):
    sheet = thalweg.worked(text)
    (tmp_path / "sheet.tex").write_text(sheet.to_latex())
    command = [TEX, "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "sheet.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout[-800:]


def mlp():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def conv():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)
    )


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        h = torch.sigmoid(self.layer(x))
        return (self.scale * self.layer(h) + x).pow(2).sum() * 0.5


X = torch.linspace(-1, 1, 15).reshape(5, 3)
MODULES = {
    "classes": (mlp, X, torch.tensor([0, 1, 1, 0, 1]), F.cross_entropy),
    "vector": (mlp, X[0], torch.tensor([0.5, -1.0]), nn.MSELoss()),
    "sum": (mlp, X, X[:, :2], nn.MSELoss(reduction="sum")),
    "convolution": (conv, X.new_ones(2, 1, 4, 4), torch.tensor([0, 2]), nn.CrossEntropyLoss()),
    "residual": (lambda: (torch.manual_seed(2), Residual())[1], X[1], None, None),
    "logits": (lambda: nn.Linear(3, 1), X, torch.ones(5, 1), nn.BCEWithLogitsLoss()),
    "log-softmax": (
        lambda: nn.Sequential(nn.Linear(3, 2), nn.LeakyReLU(0.2), nn.LogSoftmax(-1)),
        X, torch.tensor([0, 1, 1, 0, 1]), F.nll_loss,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MODULES)
def test_a_module_is_worked_out_as_torch_does(case):
    make, x, y, loss = MODULES[case]
    model = make()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    sheet = thalweg.worked(model, x, y, loss)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in model.parameters())
    double = model.double()
    wanted = y.double() if y is not None and y.is_floating_point() else y
    value = double(x.double()) if loss is None else loss(double(x.double()), wanted)
    value.backward()
    found = {node.origin: node for node in sheet.graph.nodes if node.is_given and node.origin}
    for name, parameter in double.named_parameters():
        node = found.get(name) or found[f"0.{name}"]
        torch.testing.assert_close(node.gradient, parameter.grad, rtol=1e-9, atol=1e-14)
    torch.testing.assert_close(sheet.graph[sheet.graph.loss].value.reshape(()), value.detach())
    assert sheet.to_latex()
    assert sheet.to_markdown()


REFUSED = [
    (nn.Sequential(nn.Linear(3, 3), nn.Dropout()), X, X, F.mse_loss, "model.eval()"),
    (nn.Linear(3, 3), X, X, lambda a, b: a - b, "the loss returned 5×3 numbers"),
    (nn.Linear(3, 3), X, X, lambda a, b: float(a.sum()), "the loss returned float"),
    (nn.Linear(3, 3), X, None, F.mse_loss, "needs a target"),
    (nn.Linear(3, 3), X, X[:, :2], F.mse_loss, "give them one shape"),
    (nn.Linear(3, 3), X[:, :2], X, F.mse_loss, "takes 3 numbers and gets 5×2"),
    (nn.Linear(3, 3), X, torch.tensor([0, 1, 2, 3, 0]), F.cross_entropy, "from 0 to 2"),
    (nn.Linear(3, 3), None, None, None, "needs an input"),
    (nn.Linear(3, 3), X, None, None, "give a target and a loss"),
    (nn.Linear(400, 400), X, None, None, "160,400 parameters"),
    (nn.LSTM(3, 3), X, None, None, "give a target and a loss"),
]


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_a_module_that_cannot_be_worked_out_names_the_part(case, unchecked):
    *arguments, said = REFUSED[case]
    with pytest.raises(FormulaError) as caught:
        thalweg.worked(*arguments)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_text_with_a_modules_arguments_is_refused():
    with pytest.raises(FormulaError, match="gives its own values"):
        thalweg.worked("x = 1; L = x^2", X)
    with pytest.raises(FormulaError, match="no such quantity"):
        thalweg.worked("x = 1; L = x^2", loss="M")


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.sampled_from(["sigmoid", "tanh", "relu", "softplus", "elu"]), min_size=1, max_size=3
    ),
    st.integers(0, 10**6),
)
def test_random_networks_print_what_autograd_gives(activations, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, 4, (len(activations) + 1,), generator=generator).tolist()
    h = torch.randn(sizes[0], generator=generator, dtype=torch.float64)
    lines, weights = [f"x = {h.tolist()}"], []
    for i, (name, n, m) in enumerate(zip(activations, sizes[1:], sizes, strict=False)):
        W = torch.randn(n, m, generator=generator, dtype=torch.float64, requires_grad=True)
        weights.append(W)
        lines += [f"W{i} = {W.tolist()}", f"h{i} = {name}(W{i} @ {f'h{i - 1}' if i else 'x'})"]
        h = (getattr(F, name, None) or getattr(torch, name))(W @ h)
    gradients = torch.autograd.grad((h**2).sum() / 2, weights)
    sheet = thalweg.worked("\n".join([*lines, f"L = 1/2 ||h{len(weights) - 1}||^2"]))
    for i, gradient in enumerate(gradients):
        block = sheet.to_markdown(10).split("## Backward")[1]
        found = re.search(rf"\\partial W_\{{{i}\}}\}}[^$]*(?:=|\\approx) ([^=$]*)\n\$\$", block)
        shown = torch.tensor(numbers_in(found[1]), dtype=torch.float64)
        torch.testing.assert_close(shown, gradient.reshape(-1), rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", [path.name for path in sorted(EXAMPLES.glob("*.txt"))])
def test_the_shipped_examples_work(name):
    graph = thalweg.worked((EXAMPLES / name).read_text()).graph
    if name.startswith("chain_"):
        known = KNOWN[name.removeprefix("chain_").removesuffix(".txt")]["gradients"]
        assert all(float(graph[n].gradient) == pytest.approx(g, rel=1e-9) for n, g in known.items())


def test_a_notebook_shows_it():
    sheet = thalweg.worked(LAYERS)
    assert sheet._repr_html_().startswith("<iframe srcdoc=")
    assert sheet._repr_latex_().startswith(r"$$\begin{aligned}")
