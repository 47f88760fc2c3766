"""The page of a derivation: each formula, how it was checked, and the rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from thalweg.report import Block, Code, Fact, Facts, Page, Section, Tone
from thalweg.symbolic._finding import Finding
from thalweg.symbolic._written import text_of_name

if TYPE_CHECKING:
    from thalweg.symbolic._derive import Derivation


def page_of(derivation: Derivation) -> Page:
    """Describes the page."""
    sections = [_section(finding) for finding in derivation.findings]
    rules = "\n".join(rule.text for rule in derivation.rules)
    if rules:
        sections.append(Section("Rules", "What was applied, from the outside in.", (Code(rules),)))
    first = next(f for f in derivation.findings if f.title != "value")
    verified = [f.verification for f in derivation.findings if f.verification is not None]
    points = sum(v.num_points for v in verified)
    worst = max((v.deviation for v in verified), default=0.0)
    return Page(
        title=f"f = {derivation.formula.text}",
        verdict=f"{first.symbol.text} = {first.formula.text}",
        tone=Tone.PLAIN,
        lead=_lead(derivation),
        sections=tuple(sections),
        footer=f"Compared with torch autograd in float64 at {points} points; largest relative "
        f"difference {worst:.0e}.",
    )


def _lead(derivation: Derivation) -> str:
    kinds = ", ".join(f"{text_of_name(name)} a {kind}" for name, kind in derivation.kinds.items())
    towards = ", ".join(text_of_name(name) for name in derivation.variables)
    return f"f = {derivation.formula.text}, derived towards {towards}; read with {kinds}."


def _section(finding: Finding) -> Section:
    said = finding.verification.said if finding.verification else ""
    sign = "≈" if finding.title.startswith("Taylor") else "="
    text = f"{finding.symbol.text} {sign} {finding.formula.text}"
    if finding.formula.text == "none":
        text = f"{finding.symbol.text}: none"
    blocks: list[Block] = [Code(text)]
    if finding.value is not None and finding.title != "Newton step":
        blocks.append(Facts((Fact("here", finding.value.text),)))
    parts = [part[0].upper() + part[1:] for part in (said, finding.note) if part]
    title = finding.title[0].upper() + finding.title[1:]
    is_unsure = finding.verification is not None and not finding.verification.num_points
    sentence = ". ".join(parts) + ("." if parts and not parts[-1].endswith("…") else "")
    return Section(title, sentence, tuple(blocks), Tone.UNSURE if is_unsure else Tone.PLAIN)
