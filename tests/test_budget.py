"""Budgets as they are typed, and what they buy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thalweg import BudgetError
from thalweg.doctor import Budget


@pytest.mark.parametrize(
    ("text", "amount", "is_seconds"),
    [
        ("60", 60, True),
        ("60s", 60, True),
        ("  60 s ", 60, True),
        ("2m", 120, True),
        ("1.5m", 90, True),
        ("1h", 3600, True),
        (".5s", 0.5, True),
        ("2.", 2, True),
        ("5000g", 5000, False),
        ("0.5 g", 0.5, False),
    ],
)
def test_what_is_read(text, amount, is_seconds):
    assert Budget.parse(text) == Budget(amount, is_seconds)


@pytest.mark.parametrize(
    "text",
    ["", "g", "s", "-5s", "0", "0g", "0.0s", "5k", "5 0s", "1e3g", "five", "5sg", "inf"],
)
def test_what_is_not(text):
    with pytest.raises(BudgetError, match="60s or 2m, or gradients as 5000g") as refusal:
        Budget.parse(text)
    assert repr(text) in str(refusal.value)


@given(st.floats(1e-3, 1e7), st.floats(1.001, 1e4), st.booleans())
def test_a_larger_budget_is_rounded_up_and_can_be_typed(amount, factor, is_seconds):
    larger = Budget(amount, is_seconds).times(factor)
    assert amount * factor * (1 - 1e-9) <= larger.amount <= 1.1 * amount * factor * (1 + 1e-9)
    typed = Budget.parse(larger.typed)
    assert typed.is_seconds is is_seconds
    assert typed.amount == pytest.approx(larger.amount, rel=1e-9)


def test_what_a_share_buys():
    assert Budget(100, False).gradients(0.3, 7.0) == pytest.approx(30)
    assert Budget(100, True).gradients(0.3, 0.5) == pytest.approx(60)
    assert str(Budget(90, True)) == "90 s"
    assert str(Budget(5000, False)) == "5000 gradients"
