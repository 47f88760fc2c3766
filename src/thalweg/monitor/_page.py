"""The page of a training that was watched: alerts first, then curves over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite

from thalweg.monitor._figures import (
    decrease_figure,
    layer_figure,
    loss_figure,
    noise_figure,
    sharpness_figure,
    spectrum_figure,
)
from thalweg.monitor._record import Alert, Cost, Record
from thalweg.report import Block, Fact, Facts, Page, Section, Table, Text, Tone


def page_of(
    records: Sequence[Record], alerts: Sequence[Alert], cost: Cost, notes: Sequence[str]
) -> Page:
    """Describes the page."""
    sections = (
        _alert_section(alerts),
        _section("Loss", "On the batch of the step, before it.", loss_figure(records, alerts)),
        _section(
            "Gradient by layer",
            "The norm of each layer's gradient, before clipping where that is known.",
            layer_figure(records, alerts, "gradient_norm", "‖gradient‖ (loss/param)"),
        ),
        _section(
            "Update by layer",
            "How far a step moves each layer, as a share of its norm.",
            layer_figure(records, alerts, "update_ratio", "‖update‖/‖weight‖"),
        ),
        _section(
            "Sharpness against the stability limit",
            "Above the limit a step overshoots along the sharpest direction; trainings often "
            "settle just below it.",
            sharpness_figure(records, alerts),
            decrease_figure(records, alerts),
        ),
        _section(
            "Noise and units",
            "The chance in the gradient, and units that pass no gradient on.",
            noise_figure(records, alerts),
            layer_figure(records, alerts, "dead", "share of dead units"),
            layer_figure(records, alerts, "saturated", "share of saturated entries"),
        ),
        _section("Spectrum", "Trace and index.", spectrum_figure(records, alerts)),
        _cost_section(records, cost, notes),
    )
    return Page(
        title="A training, watched",
        verdict=_verdict(records, alerts),
        tone=Tone.BAD if alerts else Tone.GOOD if records else Tone.UNSURE,
        lead=_lead(records),
        sections=tuple(section for section in sections if section is not None),
        footer=str(cost),
    )


def _verdict(records: Sequence[Record], alerts: Sequence[Alert]) -> str:
    if not records:
        return "Nothing was read"
    if not alerts:
        return "No alert"
    first = alerts[0]
    more = f", and {len(alerts) - 1} more" if len(alerts) > 1 else ""
    return f"{first.ailment[0].upper()}{first.ailment[1:]} at step {first.step}{more}"


def _lead(records: Sequence[Record]) -> str:
    if not records:
        return "The optimizer took no step while the monitor was on."
    losses = [record.values["loss"] for record in records if "loss" in record.values]
    parts = [f"{len(records)} readings, up to step {records[-1].step:,}."]
    if losses:
        parts.append(f"The loss went from {losses[0]:.4g} to {losses[-1]:.4g}.")
    return " ".join(parts)


def _alert_section(alerts: Sequence[Alert]) -> Section:
    if not alerts:
        return Section("Alerts", "None of the rules was met.", tone=Tone.GOOD)
    rows = [
        (f"{alert.step:,}", alert.ailment, alert.sentence, _evidence(alert), alert.rule)
        for alert in alerts
    ]
    table = Table(
        ("step", "alert", "in words", "evidence", "rule"), rows, "Each is told when it begins."
    )
    return Section("Alerts", alerts[0].sentence, (table,), Tone.BAD)


def _evidence(alert: Alert) -> str:
    return "; ".join(
        f"{name} {value:.4g}" if isfinite(value) else f"{name} {value}"
        for name, value in alert.evidence.items()
    )


def _section(title: str, sentence: str, *blocks: Block | None) -> Section | None:
    found = tuple(block for block in blocks if block is not None)
    return Section(title, sentence, found) if found else None


def _cost_section(records: Sequence[Record], cost: Cost, notes: Sequence[str]) -> Section:
    facts = Facts(
        (
            Fact("time", cost.percent, "of the training's", f"{cost.seconds:.3g} s"),
            Fact("gradients", f"{cost.gradient_share:.2g} a step", "", f"{cost.num_gradients:.3g}"),
            Fact("readings", f"{cost.num_readings:,}", "", f"in {cost.num_steps:,} steps"),
        )
    )
    counts: dict[str, int] = {}
    for record in records:
        for name in record.instruments:
            counts[name] = counts.get(name, 0) + 1
    blocks: list[Block] = [facts]
    if counts:
        rows = [(name, f"{count:,}") for name, count in counts.items()]
        blocks.append(Table(("instrument", "readings"), rows, "How often each was read."))
    blocks += [Text(sentence) for sentence in notes]
    return Section("What the monitor cost, and what it could not read", "", tuple(blocks))
