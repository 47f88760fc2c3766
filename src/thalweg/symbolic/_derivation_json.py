"""A derivation as it is told in JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thalweg.symbolic._label import Label

if TYPE_CHECKING:
    from thalweg.symbolic._derive import Derivation


@dataclass(frozen=True)
class FindingRecord:
    """One derived formula.

    Args:
        title: gradient, Hessian, Taylor polynomial, Newton update, Newton step.
        symbol: what stands left of the equals sign.
        formula: what stands right of it.
        value: at the point asked for; null where none was.
        verification: how it compares with autograd; null where there was nothing to compare.
        num_points: at which it was compared.
        deviation: largest difference, as a share of the largest entry; null where not compared.
        note: what is to be said of it, such as that there is none.
    """

    title: str
    symbol: Label
    formula: Label
    value: Label | None
    verification: str | None
    num_points: int
    deviation: float | None
    note: str


@dataclass(frozen=True)
class DerivationRecord:
    """What follows from a formula, with the rules, each beside autograd.

    Args:
        formula: as it was understood.
        variables: towards which it is derived.
        kinds: what each name was taken for: number, vector or matrix.
        findings: value, gradient, Hessian, Taylor polynomial, Newton update and step.
        rules: of differentiation, in the order of use.
    """

    formula: Label
    variables: tuple[str, ...]
    kinds: Mapping[str, str]
    findings: tuple[FindingRecord, ...]
    rules: tuple[Label, ...]


def record_of(derivation: Derivation) -> DerivationRecord:
    """What is told of a derivation."""
    findings = tuple(
        FindingRecord(
            title=finding.title,
            symbol=finding.symbol,
            formula=finding.formula,
            value=finding.value,
            verification=finding.verification.said if finding.verification else None,
            num_points=finding.verification.num_points if finding.verification else 0,
            deviation=finding.verification.deviation if finding.verification else None,
            note=finding.note,
        )
        for finding in derivation.findings
    )
    return DerivationRecord(
        derivation.formula, derivation.variables, derivation.kinds, findings, derivation.rules
    )
