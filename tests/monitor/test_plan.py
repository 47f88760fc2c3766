"""The plan of readings, on a clock that is only counted: no second is measured here."""

import math
from itertools import pairwise

import pytest

from thalweg import monitor
from thalweg.monitor._plan import Plan


class Reads:
    is_paired = needs_before = False

    def __init__(self, name, guess):
        self.name, self.guess = name, guess

    def read(self, moment):
        return {}


CHEAP, SLICE, SHARP, SPECTRUM = (
    Reads("cheap", 0.0), Reads("slice", 1.0), Reads("sharp", 7.0), Reads("spectrum", 33.0)
)  # fmt: skip
COSTS = {"cheap": 0.05, "slice": 1.0, "sharp": 6.0, "spectrum": 33.0}


def run(members, every, overhead, num_steps, costs=COSTS, a_step=1.0):
    """Steps at which each is read, and the share of the time, where a step takes a second."""
    plan = Plan(members, every, overhead)
    spent, when = 0.0, {m.name: [] for m in members}
    at, due = 1, plan.first()
    while at <= num_steps:
        seconds = {m.name: costs[m.name] * a_step for m in due}
        spent += sum(seconds.values())
        for name in seconds:
            when[name].append(at)
        plan.learn(seconds)
        at, due = plan.next(at, (at - 1) * a_step, spent)
    return when, spent / (num_steps * a_step)


@pytest.mark.parametrize("overhead", [0.02, 0.1])
def test_the_share_is_kept_and_everything_is_read(overhead):
    when, share = run([CHEAP, SLICE, SHARP, SPECTRUM], 16, overhead, 40_000)
    assert share <= overhead * 1.01
    assert share >= overhead * 0.5
    assert all(len(steps) >= 3 for steps in when.values())


def test_cheap_ones_are_read_as_often_as_asked_where_that_is_within_the_share():
    when, share = run([CHEAP], 16, 0.02, 1000)
    assert when["cheap"] == list(range(1, 1001, 16))
    assert share == pytest.approx(0.05 / 16, rel=0.1)


def test_dear_cheap_ones_wait():
    """A reading of two steps' time at a share of 2 %, of which 0.85 are aimed at: every 118th."""
    when, share = run([CHEAP], 16, 0.02, 5000, costs={"cheap": 2.0})
    # The first two come before a step's time is known; what they took is saved up after them.
    gaps = [b - a for a, b in pairwise(when["cheap"][2:])]
    assert all(110 <= gap <= 125 for gap in gaps)
    assert share <= 0.0201


def test_without_a_share_everything_is_read_at_each():
    when, _ = run([CHEAP, SPECTRUM], 16, math.inf, 100)
    assert when["cheap"] == when["spectrum"] == list(range(1, 101, 16))


def test_dear_ones_share_equally():
    """In time, so that the dearest is read least; none waits for another to be paid."""
    when, _ = run([CHEAP, SLICE, SHARP, SPECTRUM], 16, 0.1, 20_000)
    spent = {name: len(steps) * COSTS[name] for name, steps in when.items() if name != "cheap"}
    assert max(spent.values()) < 1.2 * min(spent.values())


def test_one_slow_reading_does_not_set_the_price():
    plan = Plan([CHEAP, SHARP], 1, 0.1)
    for seconds in (100.0, 6.0, 6.0):
        plan.learn({"cheap": 0.0, "sharp": seconds})
    _, due = plan.next(10_000, 10_000.0, 700.0)
    assert SHARP in due


def test_sets_say_what_they_ask_for():
    assert monitor.cheap().overhead == monitor.ordinary().overhead == 0.02
    assert monitor.full().overhead == 0.1
    for found in (monitor.cheap(), monitor.ordinary(), monitor.full(), monitor.without_products()):
        names = [member.name for member in found.members]
        assert len(set(names)) == len(names)
        assert all(isinstance(member, monitor.Instrument) for member in found.members)
