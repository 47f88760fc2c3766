"""Formulas as browsers draw them; what strangers write is shown and never run."""

import time
from xml.etree import ElementTree

import pytest

from thalweg.report._mathml import mathml, with_formulas


def test_a_fraction_is_set():
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in mathml(r"\frac{a}{b}")


def test_a_decimal_comma_stays_within_its_number():
    assert "<mn>0,25</mn>" in mathml("0{,}25")


def test_a_chain_breaks_before_its_relations_and_nowhere_within_brackets():
    shown = with_formulas(r"so $f(a=1) = \begin{pmatrix}1\\2\end{pmatrix} \approx 3$ there")
    assert shown.count("<math") == 3
    assert shown.startswith("so ")
    assert shown.endswith(" there")


@pytest.mark.parametrize(
    "hostile",
    [
        r"\text{<img src=x onerror=alert(1)>}",
        r"\text{<img src='x' onerror='alert(1)'/>}",
        r"\text{<script>alert(1)</script>}",
        r"\href{javascript:alert(1)}{x}",
        r"\style{background:url(x)}{x}",
        "<script>alert(1)</script>",
        r"\unknown{x}",
    ],
)
def test_nothing_but_mathematics_passes(hostile):
    shown = mathml(hostile)
    elements = {element.tag for element in ElementTree.fromstring(f"<p>{shown}</p>").iter()}
    assert not elements & {"img", "script", "a"}
    assert "javascript:" not in shown or shown.startswith("<code>")
    assert not any(
        {"href", "onerror", "style"} & set(element.attrib)
        for element in ElementTree.fromstring(f"<p>{shown}</p>").iter()
    )


@pytest.mark.parametrize(
    "text", ["{" * 900, r"\frac{" * 300, r"\left(" * 300, "^" * 900, "a" * 10**6]
)
def test_nesting_is_answered_soon(text):
    start = time.process_time()
    mathml(text)
    with_formulas(f"${text}$ " * 3)
    assert time.process_time() - start < 5
