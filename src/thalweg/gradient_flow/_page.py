"""The page of a flow: how far it came and how surely, then pictures, cost and doubt."""

from __future__ import annotations

from math import isfinite

from thalweg.gradient_flow._figures import (
    distance_figure,
    energy_figure,
    loss_figure,
    sharpness_figure,
)
from thalweg.gradient_flow._result import Flow
from thalweg.report import Block, Fact, Facts, Page, Section, Table, Tone

GOOD_DEFECT = 1e-6
"""Up to this defect of the energy identity the verdict is good."""


def page_of(flow: Flow) -> Page:
    """Describes the page."""
    sections = [
        Section("Loss", _loss_sentence(flow), tuple(_loss_blocks(flow))),
        _sharpness_section(flow),
        _event_section(flow),
        Section("Energy identity", _energy_sentence(flow), (energy_figure(flow),)),
        Section("What it cost", "", (_cost_table(flow),)),
        Section("Numbers and doubt", "", (_facts(flow),)),
    ]
    return Page(
        title=f"{flow.title}: gradient flow",
        verdict=_verdict(flow),
        tone=_tone(flow),
        lead=_lead(flow),
        sections=tuple(section for section in sections if section is not None),
        footer=f"{flow.integrator} · seed {flow.seed} · {flow.machine}",
    )


def _tone(flow: Flow) -> Tone:
    if not flow.is_finished:
        return Tone.BAD
    return Tone.GOOD if flow.energy_defect <= GOOD_DEFECT else Tone.UNSURE


def _verdict(flow: Flow) -> str:
    first = flow.readings[0].value
    said = f"the loss falls from {first:.4g} to {flow.value:.4g} in time {flow.time:.4g}"
    return said[0].upper() + said[1:] if flow.is_finished else f"Not finished: {said}"


def _lead(flow: Flow) -> str:
    parts = [f"{flow.ending[0].upper()}{flow.ending[1:]}." if flow.ending else ""]
    parts.append(f"What the loss fell by and ∫‖∇L‖² differ by {_share(flow.energy_defect)} of it.")
    if flow.stiffness is not None:
        s, steps = flow.stiffness, max(flow.stiffness.steps_of_descent, 1)
        parts.append(
            f"The sharpest direction is {s.ratio:.3g} times as fast as the way the flow goes at "
            f"the end; gradient descent would need at least {steps:,.0f} "
            f"{'step' if round(steps) == 1 else 'steps'}, and the integrator took "
            f"{flow.num_steps:,}."
        )
    return " ".join(part for part in parts if part)


def _loss_sentence(flow: Flow) -> str:
    end = flow.readings[-1]
    return (
        f"{flow.num_parameters:,} parameters moved by {end.distance:.4g}; the gradient fell from "
        f"{flow.readings[0].gradient_norm:.3g} to {end.gradient_norm:.3g}."
    )


def _loss_blocks(flow: Flow) -> list[Block]:
    blocks: list[Block] = [loss_figure(flow)]
    if (distances := distance_figure(flow)) is not None:
        blocks.append(distances)
    if flow.discrete:
        rows = [
            (
                path.said,
                f"{len(path.times) - 1:,}",
                f"{path.values[-1]:.4g}",
                f"{max(path.distances):.3g}",
                path.ending or "as far as the flow",
            )
            for path in flow.discrete
        ]
        header = ("method", "steps", "loss at its end", "farthest from the flow", "how far")
        caption = "Adam's learning rate is a length: its steps last as long as the flow would take."
        blocks.append(Table(header, rows, caption if _has_adam(flow) else ""))
    return blocks


def _has_adam(flow: Flow) -> bool:
    return any(path.limit is None for path in flow.discrete)


def _sharpness_section(flow: Flow) -> Section | None:
    figure = sharpness_figure(flow)
    if figure is None:
        return None
    first, last = flow.sharpness[0], flow.sharpness[-1]
    largest = max(flow.sharpness, key=lambda reading: reading.value)
    sentence = (
        f"λ_max is {first.value:.4g} at the start, {last.value:.4g} at the end, and at most "
        f"{largest.value:.4g}, at t = {largest.time:.4g}; gradient descent stays stable all the "
        f"way below a learning rate of {2 / largest.value:.3g}."
        if largest.value > 0
        else "λ_max is nowhere positive."
    )
    return Section("Sharpness", sentence, (figure,))


def _event_section(flow: Flow) -> Section | None:
    if not flow.occurrences:
        return None
    rows = [
        (
            event.said,
            f"{event.time:.6g}",
            "upwards" if event.is_upwards else "downwards",
            "ends here" if event.ended_flow else "goes on",
        )
        for event in flow.occurrences
    ]
    table = Table(("event", "time [param²/loss]", "crossed", "the flow"), rows)
    return Section("Events", "", (table,))


def _energy_sentence(flow: Flow) -> str:
    first, last = flow.readings[0], flow.readings[-1]
    return (
        f"Along the true flow L(0) − L(t) = ∫‖∇L‖². Here the loss fell by "
        f"{first.value - last.value:.9g}, and the integral, carried along by the method's own "
        f"rule, is {last.energy:.9g}: a relative difference of {_share(flow.energy_defect)}."
    )


def _cost_table(flow: Flow) -> Table:
    rows = [
        (
            name,
            f"{cost.num_gradients:,}",
            f"{cost.num_products:,}",
            f"{cost.gradient_equivalents:,.0f}",
        )
        for name, cost in (
            (flow.integrator, flow.cost),
            ("sharpness, events, discrete methods", flow.reading_cost),
        )
    ]
    header = ("for", "gradients", "Hessian products", "gradient-equivalents")
    caption = (
        "A gradient is one pass over all data, forward and backward; a product with the Hessian "
        "counts two, or three where its graph does not fit."
    )
    return Table(header, rows, caption)


def _facts(flow: Flow) -> Facts:
    rows = [
        Fact("time", f"{flow.time:.6g}", f"of {flow.span:g}", "param²/loss"),
        Fact("steps", f"{flow.num_steps:,}"),
        Fact("energy defect", _share(flow.energy_defect)),
        Fact(
            "error estimate",
            f"{flow.error_estimate:.2g}" if isfinite(flow.error_estimate) else "none",
            "",
            "local errors added up [param]; the method has no estimate"
            if not isfinite(flow.error_estimate)
            else "local errors added up [param]; the flow itself may draw together or stretch them",
        ),
    ]
    if (s := flow.stiffness) is not None:
        rows += [
            Fact("largest sharpness read", f"{s.sharpness:.4g}", "", "loss/param²"),
            Fact("λ_max t", f"{s.sharpness * flow.time:.4g}", "", "stiff where far above 1"),
            Fact("curvature along the path", f"{s.along:.3g}", "", "at the end, loss/param²"),
            Fact("ratio of the two there", f"{s.ratio:.3g}"),
        ]
    return Facts(tuple(rows))


def _share(share: float) -> str:
    return f"{share:.1e}" if isfinite(share) else "an unknown share"
