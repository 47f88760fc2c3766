"""The page of an escape: who leaves, step by step, beside theory."""

from __future__ import annotations

from math import isfinite

from thalweg.critical._escape import Escape
from thalweg.critical._escape_figures import (
    displacement_figure,
    nearest,
    number_in_words,
    power,
    steps_figure,
)
from thalweg.critical._escape_run import EscapeRun
from thalweg.report import Block, Fact, Facts, Page, Section, Table, Tone

SIDE = 2
"""Eigenvalues of either end in the table of factors."""


def page_of(found: Escape) -> Page:
    """Describes the page."""
    sections = [
        _steps_section(found),
        _displacement_section(found),
        _factors_section(found),
        Section("The saddle", "", (_facts(found),)),
        _unknown_section(found),
    ]
    return Page(
        title=f"Near a saddle of {found.title}",
        verdict=headline_of(found),
        tone=Tone.PLAIN,
        lead=_lead(found),
        sections=tuple(section for section in sections if section is not None),
        footer=f"seed {found.seed} · {found.machine}",
    )


def headline_of(found: Escape) -> str:
    """Who is attracted, and who leaves in how many steps, from the nearest start."""
    runs = nearest(found)
    out = [run for run in runs if run.escaped_at is not None]
    out.sort(key=lambda run: (-(run.escaped_at or 0), run.method))
    drawn = [run.method for run in runs if run.ending.startswith("attracted")]
    late = [run.method for run in runs if run.ending.startswith("not out")]
    parts = []
    if drawn:
        verb = "is" if len(drawn) == 1 else "are"
        parts.append(f"{_joined(drawn)} {verb} drawn into the saddle")
    if late:
        verb = "does" if len(late) == 1 else "do"
        parts.append(f"{_joined(late)} {verb} not leave in time")
    if out:
        slow, quick = out[0], out[-1]
        said = f"from {power(slow.distance)} {slow.method} leaves in {_steps(slow)}"
        if len(out) > 1 and slow.escaped_at != quick.escaped_at:
            said += f", {quick.method} in {_steps(quick)}"
        parts.append(said)
    said = "; ".join(parts) or "No method moves"
    prefix = "Interrupted: " if found.is_partial else ""
    return prefix + said[0].upper() + said[1:]


def _steps(run: EscapeRun) -> str:
    return "one step" if run.escaped_at == 1 else f"{run.escaped_at:,} steps"


def _joined(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _lead(found: Escape) -> str:
    n = len(found.eigenvalues)
    if found.num_null == n:
        kind = "a critical point whose Hessian vanishes altogether"
    else:
        kind = f"a saddle of index {found.index} in {n:,} dimensions"
        if found.num_null:
            kind += f", {found.num_null:,} of them null"
    far, near = found.runs[0].distance, min(run.distance for run in found.runs)
    return (
        f"Started {power(near)} to {power(far)} away from {kind}. Out means more than "
        f"{found.radius:g} away, at a lower loss."
    )


def _steps_section(found: Escape) -> Section:
    figure = steps_figure(found)
    blocks: list[Block] = [] if figure is None else [figure]
    distances = sorted({run.distance for run in found.runs}, reverse=True)
    shown = distances if len(distances) <= 4 else [*distances[::3][:3], distances[-1]]
    shown = sorted(set(shown), reverse=True)
    rows = []
    for method in found.methods:
        cells = [method]
        for distance in shown:
            runs = [run for run in found.of(method) if run.distance == distance]
            cells.append(_out_cell(runs[0]) if runs else "–")
        last = found.of(method)[-1]
        cost = last.gradients_to_escape
        cells += [
            "–" if cost is None else f"{cost:,.0f}",
            "" if last.escaped_at is not None else last.ending,
        ]
        rows.append(tuple(cells))
    header = (
        "method",
        *(f"from {power(d)}" for d in shown),
        "gradients, from the nearest",
        "ending",
    )
    caption = "Steps until out, in brackets what theory says where that differs; ≤ is a bound."
    blocks.append(Table(header, tuple(rows), caption))
    return Section("How long it takes to leave", "", tuple(blocks))


def _out_cell(run: EscapeRun) -> str:
    told = run.predicted_at
    if run.escaped_at is None:
        return "never" if run.ending.startswith("attracted") else f"> {run.num_steps:,}"
    said = f"{run.escaped_at:,}"
    if told is not None and told != run.escaped_at:
        said += f" ({'≤ ' if run.is_bound else ''}{told:,})"
    return said


def _displacement_section(found: Escape) -> Section:
    n = len(found.eigenvalues)
    figures = []
    if found.index:
        figures.append(displacement_figure(found, 0, "lowest eigenvalue"))
    if float(found.eigenvalues[-1]) > 0:
        figures.append(displacement_figure(found, n - 1, "highest eigenvalue"))
    if not figures:
        figures = [displacement_figure(found, i, f"{i + 1}. eigenvalue") for i in range(min(n, 2))]
    return Section(
        "Step by step along the eigenvectors",
        "Along negative curvature a method has to grow; along positive curvature it may shrink.",
        tuple(figures),
    )


def _factors_section(found: Escape) -> Section:
    runs, n = nearest(found), len(found.eigenvalues)
    order = list(range(n)) if n <= 2 * SIDE else [*range(SIDE), *range(n - SIDE, n)]
    order = [i for i in order if float(found.eigenvalues[i]) != 0 or found.num_null == n]
    rows = []
    for run in runs:
        theory = run.predicted_factors
        measured = [number_in_words(float(run.factors[i])) for i in order]
        length = f"{run.first_length:.3g}"
        rows.append((run.method, *measured, length))
        if theory is not None:
            told = [number_in_words(float(theory[i])) for i in order]
            rows.append(("· in theory", *told, f"{run.predicted_length:.3g}"))
    header = (
        "method",
        *(f"λ = {number_in_words(float(found.eigenvalues[i]))}" for i in order),
        "length",
    )
    return Section(
        "What one step does",
        "By how much the first step multiplies the displacement along each eigenvector: above 1 it "
        "leaves, near 0 it comes to the saddle, below 0 it crosses over.",
        (
            Table(
                header, tuple(rows), f"From {power(runs[0].distance)}, and the length of that step."
            ),
        ),
    )


def _facts(found: Escape) -> Facts:
    values = found.eigenvalues
    return Facts(
        (
            Fact("loss", f"{found.value:.6g}"),
            Fact("gradient norm", f"{found.gradient_norm:.2g}", "", "loss/param"),
            Fact(
                "its place is known to",
                f"{found.saddle_error:.2g}",
                "",
                "param, the next Newton step",
            ),
            Fact("index", f"{found.index:,}", f"of {len(values):,}", f"{found.num_null:,} null"),
            Fact("lowest curvature", number_in_words(float(values[0])), "", "loss/param²"),
            Fact("highest curvature", number_in_words(float(values[-1])), "", "loss/param²"),
            Fact("learning rate", f"{found.lr:.3g}", "", "param²/loss, of gradient descent"),
            Fact("Newton's way to it", f"{found.moved:.3g}", "", "param, from the point given"),
        )
    )


def _unknown_section(found: Escape) -> Section | None:
    rows = []
    if blurred := sorted({r.distance for r in found.runs if not found.is_resolved(r)}):
        rows.append(
            (
                f"what happens from {', '.join(f'{power(d)}' for d in blurred)}",
                f"the saddle itself is known to {found.saddle_error:.1e} only",
            )
        )
    if 0 < found.num_null < len(found.eigenvalues):
        rows.append(
            (
                f"{found.num_null:,} null directions",
                "no run starts along them, and theory leaves them alone; a method that divides by "
                "their small curvature moves along them too",
            )
        )
    if found.num_null == len(found.eigenvalues):
        rows.append(("theory", "the Hessian vanishes: there is no quadratic to have one of"))
    odd = [r for r in found.runs if not r.ending.startswith(("out", "attracted", "not out"))]
    rows += [(f"the rest of {r.method} from {power(r.distance)}", r.ending) for r in odd]
    huge = [r for r in found.runs if not isfinite(r.first_length) or r.first_length > 1e6]
    rows += [
        (f"where {method} ends", "nothing bounds the loss along its way: its step has no end")
        for method in dict.fromkeys(r.method for r in huge)
    ]
    rows += [("otherwise than in training", note) for note in found.notes]
    if not rows:
        return None
    return Section("What is not known", "", (Table(("what", "why"), tuple(rows), ""),))
