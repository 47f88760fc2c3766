"""The page of a search: the answer first, then index against loss, spectra, walks, and doubt."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from thalweg.critical._figures import index_figure, low_middle_high, spectra_figure
from thalweg.critical._found_point import FoundPoint, Status
from thalweg.critical._search import CriticalSearch
from thalweg.critical._symmetric_descent import NAME as SYMMETRIC
from thalweg.report import Block, Fact, Facts, Page, Section, Table, Tone

MOST_ROWS = 200


def page_of(search: CriticalSearch) -> Page:
    """Describes the page."""
    sections = [
        Section("Index against loss", trend_sentence([search]), (index_figure([search]),)),
        *spectra_section([("", search)]),
        Section("Different critical points", _orbits_sentence(search), tuple(_orbits(search))),
        Section("Numbers", "", (_facts(search),)),
        Section(
            "Every walk",
            "In the order of the starts; the last column says why.",
            (_walks(search.points),),
            is_folded=True,
        ),
        Section("What is not known", _doubt(search), ()),
    ]
    certified = search.count(Status.CERTIFIED)
    return Page(
        title=f"Critical points of {search.title}",
        verdict=search.headline,
        tone=Tone.UNSURE if search.is_partial or not certified else Tone.PLAIN,
        lead=_lead(search),
        sections=tuple(sections),
        footer=f"seed {search.seed} · {search.machine}",
    )


def index_against_error(searches: Sequence[CriticalSearch]) -> Page:
    """The page of several networks: index against error, spectra at three errors, and the table.

    Args:
        searches: one of each network.

    Returns:
        The page; `.save("figure.html")`, `.print()`.

    Example:
        >>> import thalweg
        >>> problem = thalweg.problems.quadratic_saddle()
        >>> index_against_error([thalweg.find_critical(problem, 2)]).title
        'Index against error at critical points'

    Source: Dauphin et al. 2014, figure 1, here with flat and unfinished points told apart.
    """
    total = sum(len(search.points) for search in searches)
    certified = sum(search.count(Status.CERTIFIED) for search in searches)
    rows = [_network_row(search) for search in searches]
    table = Table(
        ("network", "n", "weight decay", "walks", "certified", "proved", "flat",
         "unfinished", "rank correlation", "gradients a walk"),
        tuple(rows),
        "Rank correlation: Spearman's, of index and loss over certified points of different "
        "orbits.",
    )  # fmt: skip
    sections = [
        Section("Index against error", trend_sentence(searches), (index_figure(searches),)),
        *spectra_section([(search.title, search) for search in searches]),
        Section("The networks", "", (table,)),
    ]
    sections += [
        Section(f"Every walk: {search.title}", "", (_walks(search.points),), is_folded=True)
        for search in searches
    ]
    is_partial = any(search.is_partial for search in searches)
    return Page(
        title="Index against error at critical points",
        verdict=(
            f"{certified} of {total} walks ended at certified critical points"
            + ("; partial: the search was interrupted" if is_partial else "")
        ),
        tone=Tone.UNSURE if is_partial else Tone.PLAIN,
        lead="The index is the number of directions in which the loss curves down.",
        sections=tuple(sections),
        footer=f"seed {searches[0].seed} · {searches[0].machine}",
    )


def trend_sentence(searches: Sequence[CriticalSearch]) -> str:
    """Whether the index rises with the loss, by rank correlation over different points."""
    said = []
    for search in searches:
        name = f" of {search.title}" if len(searches) > 1 else ""
        correlation = rank_correlation(search.orbits)
        if correlation is None:
            said.append(
                f"Fewer than three different critical points{name} are certified: no trend is said."
            )
        else:
            said.append(
                f"Over the {len(search.orbits)} different critical points{name} the rank "
                f"correlation of index and loss is {correlation:.2f}."
            )
    return " ".join(said)


def rank_correlation(points: Sequence[FoundPoint]) -> float | None:
    """Spearman's ρ of index and loss; None for fewer than three points or a constant."""
    if len(points) < 3:
        return None
    ranks = torch.stack(
        [
            _ranks(torch.tensor([float(p.index) for p in points], dtype=torch.float64)),
            _ranks(torch.tensor([p.data_loss for p in points], dtype=torch.float64)),
        ]
    )
    if bool((ranks.std(1) == 0).any()):
        return None
    return float(torch.corrcoef(ranks)[0, 1])


def _ranks(values: torch.Tensor) -> torch.Tensor:
    """Ranks, the mean of them where values are equal."""
    less = (values[:, None] > values[None]).sum(1)
    equal = (values[:, None] == values[None]).sum(1)
    return less.double() + (equal.double() - 1) / 2


def spectra_section(searches: Sequence[tuple[str, CriticalSearch]]) -> list[Section]:
    """Histograms at low, middle and high loss, one picture a search."""
    figures: list[Block] = []
    for name, search in searches:
        chosen = low_middle_high(search.points)
        label = f"{name}: " if name else ""
        figure = spectra_figure([(f"{label}{said}", point) for said, point in chosen])
        if figure is not None:
            figures.append(figure)
    if not figures:
        return []
    return [
        Section(
            "Eigenvalues at low, middle and high loss",
            "Where the curvature lies, from the whole Hessian.",
            tuple(figures),
        )
    ]


def _lead(search: CriticalSearch) -> str:
    flat, unfinished = search.count(Status.FLAT), search.count(Status.UNFINISHED)
    proved = sum(point.certificate.kind == "proved" for point in search.points)
    said = (
        f"{search.solver[0].upper()}{search.solver[1:]}, on {search.num_parameters:,} parameters."
    )
    if proved:
        said += f" {proved} certificates are proofs, rounding of float64 aside."
    if flat or unfinished:
        said += (
            f" {flat} walks ended in flat regions, where the gradient is small and no critical "
            f"point near; {unfinished} are unfinished."
        )
    return said


def _orbits_sentence(search: CriticalSearch) -> str:
    if len(search.orbits) == 1:
        return "Every certified point is this one or a mirror image of it."
    return (
        f"{len(search.orbits)} of the certified points differ in what the network computes or in "
        f"their index; the others are mirror images of these."
    )


def _orbits(search: CriticalSearch) -> list[Block]:
    found = sorted(search.orbits, key=lambda point: point.value)
    if not found:
        return []
    times = {p.number: sum(q.orbit == p.number for q in search.points) for p in found}
    rows = [
        (
            f"{point.value:.8g}",
            f"{point.data_loss:.8g}",
            f"{point.index}",
            f"{point.inertia.null}",
            f"{times[point.number]}",
            f"{point.certificate.distance:.1e}",
            point.certificate.kind,
        )
        for point in found[:MOST_ROWS]
    ]
    caption = "Distance: within which the critical point lies, by Newton and Kantorovich."
    if len(found) > MOST_ROWS:
        caption += f" The {MOST_ROWS} of least loss; JSON has all {len(found)}."
    header = ("loss", "on the data", "index", "null", "times found", "distance", "certificate")
    return [Table(header, tuple(rows), caption)]


def _walks(points: Sequence[FoundPoint]) -> Table:
    rows = [
        (
            f"{point.number}",
            f"{point.start.value:.4g}",
            f"{point.value:.6g}",
            f"{point.data_loss:.6g}",
            f"{point.gradient_square:.1e}",
            f"{point.flatness:.2f}",
            f"{point.kernel_flatness:.1e}",
            _index(point),
            f"{point.inertia.null}",
            f"{point.num_gradients:,.0f}",
            point.status.value,
            point.reason,
        )
        for point in points[:MOST_ROWS]
    ]
    header = (
        "walk", "from loss", "loss", "on the data", "|∇L|²", "r", "r_H", "index", "null",
        "gradients", "is", "why",
    )  # fmt: skip
    caption = (
        "r is near 1 where the gradient lies in directions without curvature, 0 where Newton's "
        "step annuls it; r_H is how much the Hessian makes of what is left."
    )
    return Table(header, tuple(rows), caption)


def _index(point: FoundPoint) -> str:
    low, high = point.inertia.interval
    return f"{low}" if low == high else f"{low} to {high}"


def _facts(search: CriticalSearch) -> Facts:
    count = len(search.points)
    escapes = sum(point.num_escapes for point in search.points)
    kicks = sum(point.num_kicks for point in search.points)
    each = sum(point.num_gradients for point in search.points) / max(count, 1)
    return Facts(
        (
            Fact("walks", f"{count}", "", f"of {search.num_asked} asked for"),
            Fact("weight decay", f"{search.weight_decay:g}", "", "of ½ c ‖θ‖² in the loss"),
            Fact("certified", f"{search.count(Status.CERTIFIED)}"),
            Fact("flat", f"{search.count(Status.FLAT)}"),
            Fact("unfinished", f"{search.count(Status.UNFINISHED)}"),
            Fact("escapes from flat regions", f"{escapes}"),
            Fact("times sent off from known points", f"{kicks}"),
            Fact("cost of a walk", f"{each:,.0f}", "", "gradient-equivalents"),
            Fact("time", f"{search.seconds:.1f} s"),
        )
    )


def _doubt(search: CriticalSearch) -> str:
    estimated = sum(point.certificate.kind == "estimated" for point in search.points)
    said = []
    if estimated:
        said.append(
            f"{estimated} certificates rest on an estimate of how fast the Hessian changes, or on "
            f"a trial of three directions that null ones lead along a manifold."
        )
    if search.solver == SYMMETRIC:
        said.append(
            "The method finds critical points that a smaller network has as minima, and no others: "
            "give GradientTrustRegion() for those without equal units."
        )
    said.append(
        "How likely a walk is to end at one point rather than another depends on starts and "
        "method: the marks are no fair sample of all critical points."
    )
    return " ".join(said)


def _network_row(search: CriticalSearch) -> tuple[str, ...]:
    correlation = rank_correlation(search.orbits)
    each = sum(point.num_gradients for point in search.points) / max(len(search.points), 1)
    return (
        search.title,
        f"{search.num_parameters:,}",
        f"{search.weight_decay:g}",
        f"{len(search.points)}",
        f"{search.count(Status.CERTIFIED)}",
        f"{sum(point.certificate.kind == 'proved' for point in search.points)}",
        f"{search.count(Status.FLAT)}",
        f"{search.count(Status.UNFINISHED)}",
        "–" if correlation is None else f"{correlation:.2f}",
        f"{each:,.0f}",
    )
