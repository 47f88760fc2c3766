"""flow: events in closed form, doubt, budget, Ctrl-C, methods with a step, refusals."""

import json

import pytest
import torch

import thalweg
from thalweg import Surface, ThalwegError
from thalweg.gradient_flow import (
    ExponentialAdams,
    ExponentialRosenbrock,
    GradientBelow,
    InterruptedFlow,
    SharpnessCrosses,
    adam,
    gradient_descent,
    momentum,
)
from thalweg.problems import from_function, quadratic, tanh_digits

F64 = torch.float64


def quartic():
    """L = x⁴/4 from 2: x² = 4/(1 + 8t), λ = 3x², |∇L| = |x|³."""
    return from_function(lambda x: (x**4).sum() / 4, torch.tensor([2.0], dtype=F64), "quartic")


def place(time):
    return 2 / (1 + 8 * time) ** 0.5


@pytest.mark.parametrize(
    ("method", "accuracy"), [(ExponentialAdams(1e-10), 1e-8), (ExponentialRosenbrock(1e-6), 1e-4)]
)
def test_a_quartic_in_closed_form(method, accuracy):
    flow = thalweg.flow(quartic(), 3.0, method, reads_sharpness=False)
    for time in (0.0, 1e-3, 0.1, 1.0, 3.0):
        assert float(flow(time)["theta"]) == pytest.approx(place(time), rel=accuracy)
    assert flow.energy_defect < accuracy
    assert flow.value == pytest.approx(place(3.0) ** 4 / 4, rel=4 * accuracy)
    assert flow.is_finished
    with pytest.raises(ThalwegError, match="goes from 0 to 3"):
        flow(3.1)


def test_events_happen_when_they_do():
    """‖∇L‖ = x³ = 1/8 at x = 1/2, t = 15/8; λ = 3x² = 2/lr = 6 at x² = 2, t = 1/8."""
    events = [GradientBelow(0.125), SharpnessCrosses(1 / 3)]
    flow = thalweg.flow(quartic(), 10.0, ExponentialAdams(1e-10), events=events)
    crossing, end = sorted(flow.occurrences, key=lambda event: event.time)
    assert crossing.time == pytest.approx(1 / 8, rel=1e-3)
    assert not crossing.is_upwards
    assert end.time == pytest.approx(15 / 8, rel=1e-6)
    assert flow.time == end.time == flow.path.end
    assert flow.ending.startswith("‖∇L‖ = 0.125")
    assert flow.readings[-1].gradient_norm == pytest.approx(0.125, rel=1e-6)
    assert flow.energy_defect < 1e-7
    assert flow.is_finished


def test_sharpness_is_read_along_the_way():
    flow = thalweg.flow(quartic(), 3.0)
    assert len(flow.sharpness) > 10
    for reading in flow.sharpness:
        assert reading.value == pytest.approx(3 * place(reading.time) ** 2, rel=1e-6)
    assert flow.stiffness.ratio == pytest.approx(1, rel=1e-6), "one direction only"
    assert flow.stiffness.steps_of_descent == pytest.approx(12 * 3 / 2)
    assert thalweg.flow(quartic(), 1.0, reads_sharpness=False).sharpness == ()


def test_methods_with_a_step_stand_at_their_time():
    methods = [gradient_descent(0.02), momentum(0.01, 0.5), adam(0.01)]
    flow = thalweg.flow(quadratic((1.0, 4.0)), 1.0, discrete=methods)
    descent, heavy, adaptive = flow.discrete
    assert descent.times[1:3] == pytest.approx((0.02, 0.04))
    assert heavy.times[1:3] == pytest.approx((0.02, 0.04))
    assert descent.limit == 100
    assert adaptive.limit is None
    # Euler's method by hand.
    point = Surface(quadratic((1.0, 4.0))).here()
    step = -0.02 * point.gradient_vector
    assert descent.values[1] == pytest.approx(
        Surface(quadratic((1.0, 4.0))).at(point.vector + step).value
    )
    # Adam's first step is lr in each of two coordinates.
    norm = float(point.gradient_vector.norm())
    assert adaptive.times[1] == pytest.approx(0.01 * 2**0.5 / norm, rel=1e-6)
    assert descent.distances[0] == 0
    assert 0 < max(descent.distances) < 0.05
    finer = thalweg.flow(quadratic((1.0, 4.0)), 1.0, discrete=[gradient_descent(0.01)])
    halved = max(finer.discrete[0].distances) / max(descent.distances)
    assert halved == pytest.approx(0.5, abs=0.05), "Euler's method is of first order"


def test_a_step_beyond_the_limit_leaves_the_flow():
    methods = [gradient_descent(0.6), gradient_descent(1e-5)]
    flow = thalweg.flow(
        quartic(), 30.0, discrete=methods, max_discrete_steps=50, reads_sharpness=False
    )
    assert "diverged" in flow.discrete[0].ending
    assert "stopped after 50 steps" in flow.discrete[1].ending


def test_a_budget_ends_it_unfinished():
    flow = thalweg.flow(tanh_digits(), 100.0, max_gradients=60, reads_sharpness=False)
    assert not flow.is_finished
    assert "60 gradients" in flow.ending
    assert 0 < flow.time < 100
    assert flow.cost.gradient_equivalents < 80
    assert flow.page().verdict.startswith("Not finished")


def test_at_a_critical_point_it_stays():
    problem = from_function(lambda x: (x**2).sum(), torch.zeros(2, dtype=F64))
    flow = thalweg.flow(problem, 5.0, discrete=[gradient_descent(0.1)])
    assert flow.is_finished
    assert "the gradient is zero" in flow.ending
    assert flow(2.0)["theta"].tolist() == [0.0, 0.0]
    assert flow.energy_defect == 0


def test_ctrl_c_leaves_what_there_is():
    def interrupted(_, share):
        if share > 0.2:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedFlow) as caught:
        thalweg.flow(quartic(), 3.0, progress=interrupted)
    flow = caught.value.found
    assert not flow.is_finished
    assert "interrupted" in flow.ending
    assert 0.6 < flow.time < 3
    assert float(flow(flow.time)["theta"]) == pytest.approx(place(flow.time), rel=1e-6)
    assert "Not finished" in flow.page().verdict


def test_some_parameters_alone():
    flow = thalweg.flow(tanh_digits(), 0.5, params="2.bias", reads_sharpness=False)
    assert flow.num_parameters == 10
    assert set(flow(0.25)) == {"2.bias"}
    assert flow(0.25)["2.bias"].dtype == F64


def test_the_result_is_strict_json():
    flow = thalweg.flow(quartic(), 1.0, discrete=[gradient_descent(0.01)])

    def refuse(constant):
        raise AssertionError(constant)

    told = json.loads(flow.to_json(), parse_constant=refuse)
    assert told["time"] == 1.0
    assert told["is_finished"] is True
    assert len(told["readings"]) == flow.num_steps + 1
    assert "path" not in told


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"span": 0.0}, "give a positive, finite time"),
        ({"span": float("inf")}, "give a positive, finite time"),
        ({"max_gradients": 0.5}, "give 1 or more"),
        ({"max_discrete_steps": 0}, "give 1 or more"),
        ({"seed": -1}, "from 0 to"),
        ({"params": "no.such"}, "the names are theta"),
    ],
)
def test_arguments_that_cannot_be(settings, said):
    span = settings.pop("span", 1.0)
    with pytest.raises(ThalwegError, match=said):
        thalweg.flow(quartic(), span, **settings)


def test_an_integrator_is_an_object(unchecked):
    with pytest.raises(ThalwegError, match=r"give an object, such as thalweg\.gradient_flow\.Exp"):
        thalweg.flow(quartic(), 1.0, "dopri5")


@pytest.mark.parametrize("make", [gradient_descent, momentum, adam])
def test_learning_rates_are_positive(make):
    with pytest.raises(ThalwegError, match="give a positive learning rate"):
        make(0.0)
    if make is momentum:
        with pytest.raises(ThalwegError, match="from 0 to below 1"):
            make(0.1, 1.0)
