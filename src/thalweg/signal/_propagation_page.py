"""The page of a propagation: the sentence first, then pictures, theory, spectra, and doubt."""

from __future__ import annotations

from math import inf, sqrt

from thalweg.passes import Births
from thalweg.report import Block, Code, Fact, Facts, Page, Section, Table, Tone
from thalweg.signal._depth import DepthRow, Signal, Trend
from thalweg.signal._figures import (
    edge_figure,
    gradient_figure,
    ratio_figure,
    scale_figure,
    time_figure,
    units_figure,
)
from thalweg.signal._initialisation import EdgeInitialisation
from thalweg.signal._jacobian import LayerJacobian
from thalweg.signal._mean_field import MeanField
from thalweg.signal._propagation import Propagation
from thalweg.signal._rank import LayerRank, NetworkRank
from thalweg.signal._trainability import LIVE, STARVED

_EXPLODED = 1e3
"""Between the first layer's gradient and the last one's, as the doctor has it."""

_LOOSE = 100.0
"""A factor between whose bounds lies more than this is not told."""

_MOST_ROWS = 40
"""Of a table; longer ones show both ends."""


def page_of(found: Propagation) -> Page:
    """Describes the page."""
    sections = [
        *_births_sections(found),
        *_signal_sections(found),
        *_time_sections(found),
        *_edge_sections(found),
        *_jacobian_sections(found),
        *_rank_sections(found),
        *_half_sections(found),
        *_unknown_sections(found),
    ]
    return Page(
        title=f"Signal through {found.title}",
        verdict=headline_of(found),
        tone=_tone(found),
        lead=_lead(found),
        sections=tuple(sections),
        footer=f"seed {found.seed} · {found.machine}",
    )


def headline_of(found: Propagation) -> str:
    """What stops the signal, or by how much a layer changes it."""
    said = _headline(found)
    return f"Interrupted: {said[0].lower()}{said[1:]}" if found.is_partial else said


def _headline(found: Propagation) -> str:
    if found.births is not None:
        return f"Not finite: {found.births}"
    signal, trainability = found.signal, found.trainability
    if signal is None or trainability is None or not signal.rows:
        return "No layer mixes units, so that nothing runs in depth"
    if trainability.gradient_share < STARVED:
        return (
            f"The gradient vanishes: {trainability.starved_layer!r} gets "
            f"{trainability.gradient_share:.1g} of what the last layer's weights get"
        )
    if trainability.live_share < LIVE:
        return (
            f"Units cannot move: {trainability.live_share:.0%} of the slopes are above 1 % of the "
            f"steepest"
        )
    if (growth := _growth(signal)) > _EXPLODED:
        return (
            f"The gradient explodes: {growth:.1g} times as large at the first layer as at the last"
        )
    if signal.gradient is None or not _is_told(signal.gradient):
        return "The gradient reaches every layer"
    return f"The gradient reaches every layer, times {signal.gradient.factor:.3g} with each"


def _growth(signal: Signal) -> float:
    first, last = signal.rows[0].gradient_norm, signal.rows[-1].gradient_norm
    return first / last if last > 0 else inf


def _tone(found: Propagation) -> Tone:
    if found.births is not None:
        return Tone.BAD
    signal, trainability = found.signal, found.trainability
    if signal is None or trainability is None or not signal.rows:
        return Tone.PLAIN
    if trainability.can_train and _growth(signal) <= _EXPLODED:
        return Tone.GOOD
    # Where blocks are added up or normalised, early layers may get little and the network trains.
    return Tone.BAD if signal.predicted_factor is not None else Tone.UNSURE


def _lead(found: Propagation) -> str:
    signal = found.signal
    if signal is None or not signal.rows:
        return ""
    if signal.prediction is None:
        return (
            "Measured only: mean-field theory speaks of plain chains of layers and activations, "
            "and this network pools, adds, normalises or recurs between them."
        )
    said = (
        f"Mean-field theory predicts a factor of {signal.prediction.factor:.3g} a layer towards "
        f"the input, between {signal.prediction.low:.3g} and {signal.prediction.high:.3g} for "
        f"95 % of networks of this width."
    )
    if signal.gradient is not None:
        inside = signal.prediction.low <= signal.gradient.factor <= signal.prediction.high
        said += f" Measured is {signal.gradient.factor:.3g}, {'inside' if inside else 'outside'}."
    return said


def _births_sections(found: Propagation) -> list[Section]:
    if found.births is None:
        return []
    return [
        Section(
            "Where it is born",
            "The first operation with sound inputs whose output is not finite is the one to mend.",
            (_births_table(found.births),),
            Tone.BAD,
        )
    ]


def _births_table(births: Births) -> Table:
    rows = [
        (
            birth.phase,
            birth.layer or "the model's own forward",
            birth.operation,
            f"{birth.count:,} of {birth.size:,} {birth.value}",
            "; ".join(map(str, birth.inputs)) or "–",
        )
        for birth in births.births[:_MOST_ROWS]
    ]
    return Table(
        ("pass", "layer", "operation", "made", "from"), tuple(rows), "In order of running."
    )


def _signal_sections(found: Propagation) -> list[Section]:
    signal = found.signal
    if signal is None or not signal.rows:
        return []
    blocks: list[Block] = [gradient_figure(signal)]
    if (ratios := ratio_figure(signal)) is not None:
        blocks.append(ratios)
    blocks += [scale_figure(signal), _depth_table(signal)]
    sections = [Section("Scale and gradient by layer", _trend_sentence(signal), tuple(blocks))]
    sections.append(_norms_section(signal))
    if any(row.activation for row in signal.rows):
        blocks = [units_figure(signal), _units_table(signal)]
        sections.append(Section("Units", _units_sentence(found, signal), tuple(blocks)))
    return sections


def _units_sentence(found: Propagation, signal: Signal) -> str:
    worst = max(signal.rows, key=lambda row: row.saturated)
    dead = max(signal.rows, key=lambda row: row.dead)
    said = "No unit has a flat slope."
    if worst.saturated:
        said = f"Most slopes are flat after {worst.name!r}: {worst.saturated:.1%}."
    if not dead.dead:
        return f"{said} None is dead on all {found.num_samples:,} samples."
    return (
        f"{said} After {dead.name!r} {dead.dead:.1%} of the units are dead on all "
        f"{found.num_samples:,} samples."
    )


def _trend_sentence(signal: Signal) -> str:
    if signal.gradient is None or signal.scale is None:
        return ""
    if not (_is_told(signal.gradient) and _is_told(signal.scale)):
        return f"Over {len(signal.rows)} layers no trend in depth can be told."
    return (
        f"Towards the input a layer multiplies the gradient by {signal.gradient.factor:.3g} "
        f"({signal.gradient.low:.3g} to {signal.gradient.high:.3g}) and the scale by "
        f"{signal.scale.factor:.3g} ({signal.scale.low:.3g} to {signal.scale.high:.3g}), at 95 %."
    )


def _is_told(trend: Trend) -> bool:
    """Whether the interval says anything of the factor."""
    return trend.high < _LOOSE * trend.low


def _depth_table(signal: Signal) -> Table:
    rows = [
        (
            row.name,
            row.kind,
            f"{row.scale:.3g}",
            _predicted(row.predicted_scale, row.predicted_scale_log_stderr),
            "–" if row.gradient_ratio is None else f"{row.gradient_ratio:.3g}",
            _predicted_ratio(row),
        )
        for row in _both_ends(signal.rows)
    ]
    return Table(
        ("layer", "kind", "scale", "predicted", "ratio", "predicted"),
        tuple(rows),
        "Ratio: ‖∂L/∂z‖ over that of the next layer. Predicted: mean field ± the standard error of "
        "a network of this width on one input; in the mean over many inputs it is smaller.",
    )


def _norms_section(signal: Signal) -> Section:
    rows = [
        (
            row.name,
            f"{row.num_units:,}",
            "–" if row.weight_variance is None else f"{row.weight_variance:.3g}",
            f"{row.bias_variance:.3g}",
            f"{row.gradient_norm:.3g}",
            f"{row.weight_gradient_norm:.3g}",
        )
        for row in _both_ends(signal.rows)
    ]
    table = Table(("layer", "units", "σ_w²", "σ_b²", "‖∂L/∂z‖", "‖∂L/∂W‖"), tuple(rows), "")
    said = "σ_w² = fan-in · mean(W²), σ_b² = mean(b²); gradients over all samples."
    return Section("Variances and gradient norms", said, (table,), is_folded=True)


def _both_ends(rows: tuple[DepthRow, ...]) -> tuple[DepthRow, ...]:
    half = _MOST_ROWS // 2
    return rows if len(rows) <= _MOST_ROWS else (*rows[:half], *rows[-half:])


def _predicted(value: float | None, log_stderr: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3g} ± {value * (log_stderr or 0.0):.1g}"


def _predicted_ratio(row: DepthRow) -> str:
    if row.predicted_gradient_ratio is None:
        return "–"
    return f"{row.predicted_gradient_ratio:.3g} ± {row.predicted_ratio_stderr or 0.0:.1g}"


def _units_table(signal: Signal) -> Table:
    rows = [
        (row.name, row.activation, f"{row.saturated:.1%}", f"{row.dead:.1%}")
        for row in _both_ends(signal.rows)
        if row.activation
    ]
    return Table(
        ("layer", "activation", "flat", "dead"),
        tuple(rows),
        "Flat: |φ'| under 1 % of its maximum. Dead: units, or channels, so on every sample.",
    )


def _time_sections(found: Propagation) -> list[Section]:
    sections = []
    for one in found.along_time:
        said = f"{len(one.steps)} steps."
        if one.gradient is not None:
            said = (
                f"A step back in time multiplies the gradient by {one.gradient.factor:.3g} "
                f"({one.gradient.low:.3g} to {one.gradient.high:.3g} at 95 %), over "
                f"{len(one.steps)} steps."
            )
        title = f"Along time: {one.name} ({one.kind})"
        sections.append(Section(title, said, (time_figure(one),)))
    return sections


def _edge_sections(found: Propagation) -> list[Section]:
    edge, signal = found.edge, found.signal
    if edge is None or signal is None:
        return []
    blocks: list[Block] = []
    if signal.theory is not None:
        blocks.append(_theory_facts(signal.theory))
    if found.critical_line:
        blocks.append(edge_figure(signal, found.critical_line))
    blocks.append(_edge_table(edge, signal))
    blocks.append(
        Code(
            "edge = thalweg.signal.edge_initialisation(problem)\n"
            "problem = edge.applied(problem, torch.Generator().manual_seed(0))",
            "Draws a copy of the model anew at the edge"
            + (", with orthogonal weights." if edge.is_isometric else "."),
        )
    )
    sentence = " ".join(
        [
            "The initialisation at which gradients keep their size, beside the one there is.",
            *edge.notes,
        ]
    )
    return [Section("Mean field and the edge of chaos", sentence, tuple(blocks))]


def _theory_facts(theory: MeanField) -> Facts:
    def layers(scale: float) -> str:
        return "∞" if scale == inf else f"{scale:.3g} layers"

    fate = "vanish" if theory.chi < 1 else "explode"
    note = "gradients keep their size" if abs(theory.chi - 1) < 1e-6 else f"gradients {fate}"
    return Facts(
        (
            Fact("q*, length of z", f"{theory.length:.4g}", note="at the layers' mean variances"),
            Fact("χ, factor of ‖∂L/∂z‖²", f"{theory.chi:.4g}", note=note),
            Fact("depth scale of gradients", layers(abs(theory.depth_scale)), note="−1/ln χ"),
            Fact("depth scale of lengths", layers(abs(theory.length_depth_scale))),
            Fact(
                "correlation two inputs tend to",
                f"{theory.correlation:.4g}",
                note=f"within {layers(abs(theory.correlation_depth_scale))}",
            ),
        )
    )


def _edge_table(edge: EdgeInitialisation, signal: Signal) -> Table:
    now = {row.name: row for row in signal.rows}
    rows = []
    for layer in edge.layers[:_MOST_ROWS]:
        row = now.get(layer.name)
        has_own = row is not None and row.weight_variance is not None
        std = sqrt(row.weight_variance / layer.fan_in) if row and row.weight_variance else 0.0
        rows.append(
            (
                layer.name,
                f"{layer.fan_in:,}",
                layer.activation or "the data",
                f"{std:.4g}" if has_own else "–",
                f"{layer.weight_std:.4g}",
                f"{sqrt(row.bias_variance):.3g}" if row is not None else "–",
                f"{layer.bias_std:.3g}",
            )
        )
    return Table(
        ("layer", "fan-in", "fed by", "weights now", "at the edge", "biases now", "at the edge"),
        tuple(rows),
        "Root mean squares of weights and biases.",
    )


def _jacobian_sections(found: Propagation) -> list[Section]:
    jacobians = found.jacobians
    if jacobians is None:
        return []
    rows = list(jacobians.layers)
    half = _MOST_ROWS // 2
    shown = rows if len(rows) <= _MOST_ROWS else [*rows[:half], *rows[-half:]]
    whole = jacobians.end_to_end
    sentence = f"At sample {jacobians.sample}, matrix-free."
    if whole is not None:
        shown.append(whole)
        values = whole.singular
        low = float(values.smallest.values[-1])
        sentence = (
            f"From the input to the output the network stretches by at most "
            f"{float(values.largest.values[0]):.3g} and {'' if values.is_exhausted else 'at most '}"
            f"{low:.3g} at least, at sample {jacobians.sample}."
        )
    table = Table(
        ("from", "to", "size", "σ_max", "residual", "σ_min", "known"),
        tuple(map(_jacobian_row, shown)),
        "Singular values of ∂(what a layer returns)/∂(what the layer before it returned). Known: "
        "all of them, or both ends, where σ_min is an upper bound.",
    )
    return [Section("Singular values of the Jacobians", sentence, (table,))]


def _jacobian_row(row: LayerJacobian) -> tuple[str, ...]:
    found = row.singular
    return (
        row.source,
        row.name,
        f"{row.shape[0]:,}×{row.shape[1]:,}",
        f"{float(found.largest.values[0]):.4g}",
        f"{float(found.largest.residuals[0]):.1e}",
        f"{float(found.smallest.values[-1]):.4g}",
        "all" if found.is_exhausted else "both ends",
    )


def _rank_sections(found: Propagation) -> list[Section]:
    rank = found.rank
    if rank is None or not rank.layers:
        return []
    rows = [*rank.layers[:_MOST_ROWS], *([rank.network] if rank.network else [])]
    table = Table(
        ("layer", "size", "rank", "exactly", "map", "σ_max", "σ_min"),
        tuple(
            (
                row.name,
                f"{row.shape[0]:,}×{row.shape[1]:,}",
                f"{row.rank:,}",
                "–" if row.exact is None else f"{row.exact:,}",
                _map(row),
                f"{row.largest:.3g}",
                f"{row.smallest:.3g}",
            )
            for row in rows
        ),
        " ".join(
            [
                "Rank: singular values above max(m, n)·ε·σ_max. Exactly: of the stored numbers, "
                "without rounding.",
                *rank.not_read,
            ]
        ),
    )
    return [Section("Rank", _rank_sentence(rank), (table,))]


def _map(row: LayerRank) -> str:
    if row.is_invertible:
        return "invertible"
    if row.is_injective:
        return "injective"
    return "onto" if row.is_surjective else "neither"


def _rank_sentence(rank: NetworkRank) -> str:
    said = ""
    if rank.network is not None:
        what = "invertible" if rank.network.is_invertible else "not invertible"
        said = f"The network is linear, of rank {rank.network.rank:,}, and {what}. "
    if rank.witness is None:
        return said + "No two inputs were found that the first layer cannot tell apart."
    step = float((rank.witness.second - rank.witness.first).norm())
    return said + (
        f"Two inputs at a distance of {step:.3g} give outputs that differ by "
        f"{rank.witness.difference:.2g} (a step as long across: {rank.witness.control:.2g})."
    )


def _half_sections(found: Propagation) -> list[Section]:
    if not found.underflows:
        return []
    rows = [
        (
            str(one.dtype).removeprefix("torch."),
            f"{one.flushed:.2%}",
            f"{one.subnormal:.2%}",
            f"{one.loss_scale:g}",
            f"{one.flushed_after:.2%}",
            f"{one.largest_scale:.3g}",
        )
        for one in found.underflows
    ]
    table = Table(
        (
            "format",
            "rounded to zero",
            "fewer digits",
            "loss scale",
            "lost with it",
            "overflows above",
        ),
        tuple(rows),
        "Shares of the gradient entries of layers and parameters.",
    )
    return [Section("Half precision", "What a format would lose of the gradients.", (table,))]


def _unknown_sections(found: Propagation) -> list[Section]:
    cost = (
        f"{found.num_gradients:.0f} gradients over {found.num_samples:,} samples and "
        f"{found.num_products:,} products with Jacobians, in {found.seconds:.1f} s."
    )
    blocks: tuple[Block, ...] = ()
    if found.omissions:
        blocks = (Table(("what", "why"), tuple(found.omissions.items()), ""),)
    title = "Cost, and what is not known" if found.omissions else "Cost"
    return [Section(title, cost, blocks)]
