"""Half precision, autocast, wrappers: what is read is declared, and said in the notes."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from problems import SHELF, draw, initialised, mlp_model
from thalweg import LayoutError, Problem, Surface
from traces import assert_no_trace, trace_of

HALF = [torch.bfloat16, torch.float16]


def half(dtype):
    model = initialised(nn.Sequential(*mlp_model(), nn.BatchNorm1d(2))).eval().to(dtype)
    return Problem(model, F.mse_loss, (draw(7, 3).to(dtype), draw(7, 2, seed=1).to(dtype)))


def numbers(point):
    ones = torch.ones(point.layout.size, dtype=point.layout.dtype)
    value = point.gradient_vector.new_tensor([point.value])
    products = (point.hessian() @ ones, point.ggn() @ ones, point.empirical_fisher() @ ones)
    return torch.cat([value, point.gradient_vector, *products, point.jacobian() @ ones])


@pytest.mark.parametrize("dtype", HALF)
def test_half_precision_is_read_in_float32(dtype, unchecked):
    """As the same numbers, written down in float32 by hand, are read."""
    problem = half(dtype)
    owned = (problem.model, problem.data)
    before = trace_of(*owned)
    point = Surface(problem).here()
    found = numbers(point)
    assert_no_trace(before, *owned)
    by_hand = Problem(half(dtype).model.float(), F.mse_loss, tuple(t.float() for t in problem.data))
    assert found.dtype == torch.float32
    assert torch.equal(found, numbers(Surface(by_hand).here()))
    assert point.notes == (f"parameters in {str(dtype)[6:]} read in float32 copies",)
    assert Surface(by_hand).here().notes == ()


def test_it_is_read_in_its_own_dtype_when_asked_and_then_rounds():
    problem = half(torch.bfloat16)
    own = Surface(problem, dtype=torch.bfloat16).here()
    assert own.gradient_vector.dtype == torch.bfloat16
    assert own.notes == ()
    fine = Surface(problem).here()
    error = (own.gradient_vector.float() - fine.gradient_vector).norm()
    assert 1e-3 < error / fine.gradient_vector.norm() < 1e-1  # ε of bfloat16 is 8e-3


def test_a_float32_model_is_read_in_float64_when_asked():
    known = SHELF["conv"]()
    single = known.problem.to(dtype=torch.float32)
    point = Surface(single, "head.*", dtype=torch.float64).here()
    assert point.notes == ("parameters in float32 read in float64 copies",)
    double = Surface(single.to(dtype=torch.float64), "head.*").here()
    assert torch.equal(numbers(point), numbers(double))


def test_mixed_and_frozen_halves_are_read_in_the_widest():
    model = initialised(nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))).float()
    model[0].to(torch.bfloat16).requires_grad_(False)
    problem = Problem(model, F.mse_loss, (draw(7, 3).float(), draw(7, 2).float()))
    point = Surface(problem).here()
    assert point.gradient_vector.dtype == torch.float32
    assert point.notes == ("parameters in bfloat16 read in float32 copies",)
    model[0].requires_grad_(True)
    assert Surface(problem).here().layout.size == 26


def test_parameters_are_followed_and_given_in_either_dtype():
    problem = half(torch.bfloat16)
    surface = Surface(problem)
    before = surface.here().value
    with torch.no_grad():
        problem.model[0].weight.add_(1.0)
    here = surface.here()
    assert here.value != before
    for params in (problem.parameters, here.params, here.vector, here.vector.bfloat16()):
        assert surface.at(params).value == here.value


def test_a_dtype_that_is_none_for_numbers_is_refused():
    with pytest.raises(LayoutError, match=r"dtype=torch\.int64.*float64"):
        Surface(SHELF["mlp"]().problem, dtype=torch.int64)


class Casting(nn.Module):
    """Switches autocast on by itself, as some models do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.inner(x).float()


def test_autocast_of_the_models_own_is_said():
    model = initialised(Casting()).float()
    problem = Problem(model, F.mse_loss, (draw(7, 3).float(), draw(7, 2).float()))
    assert Surface(problem).here().notes == (
        "autocast that the model switches on in its own forward was left on",
    )
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Surface(SHELF["mlp"]().problem).here().notes == ()


@pytest.mark.parametrize(
    ("name", "notes"),
    [
        ("causal_attention", ("attention by the math kernel",)),
        ("multihead_attention", ("attention by the math kernel",)),
        ("transformer", ("attention by the math kernel",)),
        ("lstm", ()),
    ],
)
def test_the_kernel_of_attention_is_said(name, notes):
    point = Surface(SHELF[name]().problem).here()
    assert point.notes == notes
    assert next(iter(point.blocks().values())).notes == notes


WRAPPED = {
    "compiled": (lambda m: torch.compile(m, backend="eager"), "compiled model read eagerly"),
    "inside": (
        lambda m: nn.Sequential(torch.compile(m, backend="eager")),
        "compiled model read eagerly",
    ),
    "data parallel": (nn.DataParallel, "distributed wrapper taken off"),
}


@pytest.mark.parametrize("wrapper", WRAPPED)
def test_wrappers_are_taken_off_and_said(wrapper):
    wrap, said = WRAPPED[wrapper]
    data = (draw(7, 3), draw(7, 2, seed=1))
    plain = Surface(Problem(initialised(mlp_model()), F.mse_loss, data)).here()
    point = Surface(Problem(wrap(initialised(mlp_model())), F.mse_loss, data)).here()
    assert point.notes == (said,)
    assert torch.equal(point.hessian().to_dense(), plain.hessian().to_dense())
