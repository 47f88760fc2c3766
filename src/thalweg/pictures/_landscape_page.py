"""The page of a landscape: the sentence first, then pictures, the path, how it was read, doubt."""

from __future__ import annotations

from math import isfinite

from thalweg.pictures._figures import (
    along_figure,
    plane_figures,
    reach_clause,
    slice_figure,
    volume_figure,
)
from thalweg.pictures._landscape import Landscape
from thalweg.pictures._track import Track
from thalweg.pictures._words import percent, shown
from thalweg.report import Block, Fact, Facts, Page, Section, Table, Tone

POOR = 0.1
"""A picture whose losses on the path are farther off than this share of their range misleads."""


def page_of(seen: Landscape) -> Page:
    """Describes the page."""
    sections: list[Section | None] = [
        _surface_section(seen),
        _path_section(seen),
        _slices_section(seen),
        Section("How it was read", _cost_sentence(seen), (_axes_table(seen), _facts(seen))),
        _unknown_section(seen),
    ]
    return Page(
        title=f"Loss landscape of {seen.title}",
        verdict=headline_of(seen),
        tone=Tone.PLAIN,
        lead=_lead(seen),
        sections=tuple(section for section in sections if section is not None),
        footer=f"seed {seen.seed} · {seen.machine}",
    )


def headline_of(seen: Landscape) -> str:
    """How much of the path the picture holds; without one, how far the quadratic model does."""
    if seen.is_partial:
        return f"Interrupted with {percent(1 - seen.num_unread / seen.values.numel())} of it read"
    if seen.tracks:
        return _path_headline(seen)
    piece, axis = seen.slices[0], seen.axes[0]
    if piece.reach is None:
        low, high = seen.range
        return (
            f"The loss runs from {shown(low, 3)} to {shown(high, 3)} around {shown(seen.centre, 3)}"
        )
    if piece.reach >= float(piece.coordinates.abs().max()):
        return f"Along the {axis.name} the quadratic model holds as far as the picture goes"
    if piece.reach == 0:
        return f"Along the {axis.name} the quadratic model fails at once"
    return f"Along the {axis.name} the quadratic model holds up to {piece.reach:.2g}"


def _path_headline(seen: Landscape) -> str:
    tracks = seen.tracks
    shares = [t.share for t in tracks]
    low, high = percent(min(shares)), percent(max(shares))
    held = low if low == high else f"{low.removesuffix(' %')} to {high}"
    whose = "the path's" if len(tracks) == 1 else f"the {len(tracks)} paths'"
    known = [t for t in tracks if isfinite(t.error)]
    if not known:
        return f"The picture holds {held} of {whose} movement"
    worst = max(known, key=lambda t: t.error)
    of = "its loss" if len(tracks) == 1 else f"the loss of {worst.name}"
    if worst.error <= POOR:
        to = percent(max(worst.error, 1e-4))
        return f"The picture holds {held} of {whose} movement, and shows {of} to within {to}"
    far = f"{worst.error:.1f} times" if worst.error > 1.05 else f"{percent(worst.error)} of"
    return f"The picture holds {held} of {whose} movement, but shows {of} wrong by {far} its fall"


def _lead(seen: Landscape) -> str:
    low, high = seen.range
    doubt = f" ± {seen.centre_stderr:.2g}" if seen.centre_stderr else ""
    said = (
        f"The loss is {shown(seen.centre)}{doubt} at the point and runs from {shown(low)} to "
        f"{shown(high)} over {'×'.join(str(len(t)) for t in seen.ticks)} cells."
    )
    if seen.num_nonfinite:
        said += f" In {seen.num_nonfinite:,} of them it is not finite."
    others = zip(seen.axes[1:], seen.slices[1:], strict=True)
    if not seen.tracks:
        said += "".join(f" Along the {a.name}, {reach_clause(s)}." for a, s in others)
    return said


def _surface_section(seen: Landscape) -> Section | None:
    if len(seen.axes) == 1:
        return None
    blocks: list[Block] = []
    sentence = ""
    if seen.num_unread < seen.values.numel() and isfinite(seen.range[0]):
        blocks += plane_figures(seen) if len(seen.axes) == 2 else [volume_figure(seen)]
    else:
        sentence = "No cell was read with a finite loss, so that there is nothing to draw."
    return Section("The surface", sentence, tuple(blocks))


def _slices_section(seen: Landscape) -> Section:
    figures = tuple(slice_figure(*pair) for pair in zip(seen.axes, seen.slices, strict=True))
    return Section(
        "Along each axis alone",
        "The loss itself, and what gradient and Hessian at the point predict of it.",
        figures,
    )


def _path_section(seen: Landscape) -> Section | None:
    if not seen.tracks:
        return None
    sentence = "The picture holds a shadow of the path."
    if all("principal" in axis.name for axis in seen.axes):
        chance = percent(seen.tracks[0].share_of_chance)
        k = len(seen.axes)
        first = "principal component" if k == 1 else f"{k} principal components"
        sentence += (
            f" A large share of the variance says little: the first {first} of a long random "
            f"walk would hold {chance} of it too."
        )
    return Section(
        "The path, and what the picture leaves out",
        sentence,
        (along_figure(seen), _tracks_table(seen)),
    )


def _tracks_table(seen: Landscape) -> Table:
    header = (
        "path", "steps", "places", "length", "variance shown", *(f"axis {i + 1}" for i in
        range(len(seen.axes))), "farthest from the picture", "last loss", "shown there",
        "largest error",
    )  # fmt: skip
    return Table(
        header,
        tuple(_track_row(track) for track in seen.tracks),
        "Distances in the unit of the parameters. The largest error is of the loss shown, as a "
        "share of the range of the true loss on the path.",
    )


def _track_row(track: Track) -> tuple[str, ...]:
    return (
        track.name,
        f"{track.steps[-1]:,}",
        f"{len(track.steps):,}",
        f"{track.length:.3g}",
        percent(track.share),
        *(percent(share) for share in track.shares),
        f"{float(track.distances.max()):.3g}",
        shown(float(track.losses[-1])),
        shown(float(track.shown_losses[-1])),
        percent(track.error) if isfinite(track.error) else "–",
    )


def _axes_table(seen: Landscape) -> Table:
    rows = [
        (
            axis.name,
            axis.said,
            axis.unit,
            f"{shown(float(tick[0]), 3)} to {shown(float(tick[-1]), 3)}",
            shown(piece.slope, 3),
            "–" if piece.bend is None else shown(piece.bend, 3),
        )
        for axis, tick, piece in zip(seen.axes, seen.ticks, seen.slices, strict=True)
    ]
    return Table(
        ("axis", "how it was found", "unit", "range", "slope", "curvature"),
        tuple(rows),
        "Slope gᵀd and curvature dᵀHd at the point, for the coordinate of the axis.",
    )


def _cost_sentence(seen: Landscape) -> str:
    some = seen.num_samples < seen.num_all_samples
    data = f"{seen.num_samples:,} of {seen.num_all_samples:,} samples"
    if not some:
        data = "one sample" if seen.num_samples == 1 else f"all {seen.num_samples:,} samples"
    return (
        f"{seen.num_evaluations:,} evaluations of the loss on {data} and "
        f"{seen.num_products:,} products with the Hessian, in {seen.seconds:.1f} s; {seen.way}."
    )


def _facts(seen: Landscape) -> Facts:
    low, high = seen.range
    doubt = f"± {seen.centre_stderr:.2g}" if seen.centre_stderr else ""
    rows = [
        Fact("loss at the point", shown(seen.centre, 6), doubt),
        Fact("lowest loss seen", shown(low, 5)),
        Fact("highest loss seen", shown(high, 5)),
        Fact("cells not finite", f"{seen.num_nonfinite:,}", f"of {seen.values.numel():,}"),
        Fact("dimensions shown", f"{len(seen.axes)}", f"of {seen.num_parameters:,}"),
    ]
    return Facts(tuple(rows))


def _unknown_section(seen: Landscape) -> Section | None:
    rows = list(seen.omissions.items())
    if seen.num_unread:
        rows.append(
            (f"{seen.num_unread:,} cells", "it was interrupted before they were read; run again")
        )
    if seen.num_nonfinite:
        rows.append((f"the loss in {seen.num_nonfinite:,} cells", "it is NaN or infinite there"))
    if seen.stderr is not None:
        finite = seen.stderr[seen.stderr.isfinite()]
        worst = float(finite.max()) if len(finite) else float("nan")
        rows.append(
            (
                "the loss on all data",
                f"{seen.num_samples:,} of {seen.num_all_samples:,} samples were read: heights "
                f"above the point have a standard error of up to {worst:.2g}, the loss at the "
                f"point one of {seen.centre_stderr:.2g}",
            )
        )
    if seen.skew > 1e-6:
        rows.append(
            (
                "lengths and angles in the picture",
                f"its axes are not at right angles (largest cosine {seen.skew:.2g}), or not of "
                f"one length",
            )
        )
    if left := seen.num_parameters - len(seen.axes):
        rows.append(
            (
                "the other dimension" if left == 1 else f"the other {left:,} dimensions",
                "the picture shows nothing of it: a minimum here may be a saddle there"
                if left == 1
                else "the picture shows nothing of them: a minimum here may be a saddle there",
            )
        )
    rows += [(f"the rest of {t.name}", t.ending) for t in seen.tracks if t.ending]
    rows += [("otherwise than in training", note) for note in seen.notes]
    if not rows:
        return None
    return Section("What is not known", "", (Table(("what", "why"), tuple(rows), ""),))
