"""The page of a spectrum: the sentence first, then picture, numbers, how it was read, and doubt."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, isfinite, log10

from thalweg.curvature._spectrum import Spectrum
from thalweg.curvature._spectrum_figure import spectrum_figure
from thalweg.linalg import Count, EigenPairs, Estimate
from thalweg.report import Block, Fact, Facts, Page, Section, Table, Tone

_WORDS = ("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

_CLOSE = 0.1
"""A share whose bounds are farther apart than this is said to be no more than about that."""

_SHARES = (1e-1, 1e-2, 1e-3)
"""Of max|λ|: how far from zero the eigenvalues of the table are counted."""


def page_of(spectrum: Spectrum) -> Page:
    """Describes the page."""
    sections = [
        Section(
            "Where the eigenvalues lie",
            _counted_sentence(spectrum),
            tuple(_picture(spectrum)),
        ),
        Section("The outermost eigenvalues", _ends_sentence(spectrum), (_ends_table(spectrum),)),
        Section("Numbers", "", (_facts(spectrum),)),
        Section("How it was read", _cost_sentence(spectrum), tuple(_how(spectrum))),
        _unknown_section(spectrum),
    ]
    return Page(
        title=f"{spectrum.matrix} of {spectrum.title}",
        verdict=headline_of(spectrum),
        tone=Tone.UNSURE if spectrum.is_partial else Tone.PLAIN,
        lead=_lead(spectrum),
        sections=tuple(section for section in sections if section is not None),
        footer=f"seed {spectrum.seed} · {spectrum.machine}",
    )


def headline_of(spectrum: Spectrum) -> str:
    """How many directions curve down, and how much of the gradient the sharpest ones carry."""
    said = f"{_curvature_clause(spectrum)}; {_gradient_clause(spectrum)}"
    return f"Interrupted: {said[0].lower()}{said[1:]}" if spectrum.is_partial else said


def _curvature_clause(spectrum: Spectrum) -> str:
    low, high = spectrum.index_interval
    n = f"{spectrum.num_parameters:,}"
    verb = "curves" if high == 1 else "curve"
    if low == high and low > 0:
        return f"{low:,} of {n} directions {verb} down"
    if low > 0 and high <= 1.5 * low:
        return f"{low:,} to {high:,} of {n} directions {verb} down"
    if low > 0:
        return f"At least {low:,} of {n} directions curve down"
    if spectrum.effective_rank is not None:
        rank = spectrum.effective_rank.value
        about = "" if _is_exact(spectrum) else "about "
        directions = "direction" if f"{rank:.3g}" == "1" else "directions"
        said = f"{about}{rank:.3g} {directions} of {n} hold the curvature"
        return said[0].upper() + said[1:]
    if _is_exact(spectrum):
        return f"None of {n} directions curves down"
    return f"No direction of {n} was found to curve down"


def _gradient_clause(spectrum: Spectrum) -> str:
    share = spectrum.alignment
    if share is None:
        return "the gradient is zero"
    k = len(spectrum.extremes.top.values)
    low, high = share.bounds
    about = "" if high - low <= _CLOSE else "about "
    carries = "the sharpest one carries" if k == 1 else f"the sharpest {_number(k)} carry"
    return f"{carries} {about}{_percent(share.total)} of the gradient"


def _lead(spectrum: Spectrum) -> str:
    top, bottom = spectrum.extremes.top, spectrum.extremes.bottom
    said = (
        f"The largest eigenvalue is {_shown(float(top.values[0]))} "
        f"({_bounds(top.bounds[0].tolist())}), the smallest {_shown(float(bottom.values[0]))} "
        f"({_bounds(bottom.bounds[0].tolist())})."
    )
    if spectrum.matrix == "Hessian" and float(top.values[0]) > 0:
        said += (
            f" Gradient descent is stable here below a learning rate of 2/λ_max = "
            f"{2 / float(top.values[0]):.3g}."
        )
    return said


def _counted_sentence(spectrum: Spectrum) -> str:
    counts, tol = spectrum.inertia, f"{spectrum.null_tol:.2g}"
    if counts is None:
        return (
            f"Interrupted before eigenvalues were counted: by the outermost alone, "
            f"{_index(spectrum)} lie below −{tol}, a thousandth of the largest curvature."
        )
    if _is_exact(spectrum):
        return (
            f"All eigenvalues are known: {counts.negative:,} lie below −{tol}, {counts.null:,} "
            f"within {tol} of zero, which is what rounding may move them by, {counts.positive:,} "
            f"above."
        )
    return (
        f"Counted by their density, {_index(spectrum)} eigenvalues lie below −{tol}, a thousandth "
        f"of the largest curvature."
    )


def _picture(spectrum: Spectrum) -> list[Block]:
    figure = spectrum_figure(spectrum.matrix, spectrum.extremes, spectrum.inertia, spectrum.density)
    if spectrum.density is None:
        return [figure]
    return [figure, _counts_table(spectrum)]


def _counts_table(spectrum: Spectrum) -> Table:
    largest = spectrum.null_tol / _SHARES[-1]
    rows = [
        (
            f"{share * largest:.3g}",
            *_count_cells(spectrum.below(-share * largest)),
            *_count_cells(spectrum.above(share * largest)),
        )
        for share in _SHARES
    ]
    return Table(
        ("x", "number below −x", "between", "number above x", "between"),
        tuple(rows),
        "How many eigenvalues lie beyond −x and x, with what the quadrature cannot decide and two "
        "standard deviations of the probes. The interval widens where many lie next to x.",
    )


def _count_cells(count: Count) -> tuple[str, str]:
    low, high = floor(count.low), ceil(count.high)
    return f"{count.estimate:,.0f}", f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _ends_sentence(spectrum: Spectrum) -> str:
    ends = spectrum.extremes
    if _is_exact(spectrum):
        return "From the whole matrix; each bound holds to rounding."
    return (
        f"Both ends by one Lanczos run of {ends.num_products:,} products. The inner bound of each "
        f"holds always, the outer one if nothing was missed further out."
    )


def _ends_table(spectrum: Spectrum) -> Table:
    ends, n = spectrum.extremes, spectrum.num_parameters
    k = len(ends.top.values)
    shares = ["–"] * k if spectrum.alignment is None else map(_percent, spectrum.alignment.shares)
    # A small matrix has no eigenvalue at both ends of the table.
    left = min(k, n - k)
    rows = [_pair_row(ends.top, i, i + 1, share) for i, share in enumerate(shares)]
    rows += [_pair_row(ends.bottom, i, n - i, "–") for i in reversed(range(left))]
    return Table(
        ("rank", f"λ [{_unit(spectrum)}]", "between", "residual", "gradient along it"),
        tuple(rows),
        "Residual: ‖A y − λ y‖ of the unit eigenvector y. The last column is the share of the "
        "gradient's square along y.",
    )


def _pair_row(pairs: EigenPairs, i: int, rank: int, share: str) -> tuple[str, ...]:
    value, residual = float(pairs.values[i]), float(pairs.residuals[i])
    bounds = _bounds(pairs.bounds[i].tolist())
    return f"{rank:,}", _shown(value, 5), bounds, f"{residual:.1e}", share


def _facts(spectrum: Spectrum) -> Facts:
    unit = _unit(spectrum)
    tol, null = f"{spectrum.null_tol:.2g}", _null(spectrum)
    rows = [
        Fact("loss", f"{spectrum.value:.6g}"),
        Fact("gradient norm", f"{spectrum.gradient_norm:.4g}", "", "loss/param"),
        Fact(
            "negative eigenvalues",
            _index(spectrum),
            f"of {spectrum.num_parameters:,}",
            f"below −{tol}" + (f"; {null} within {tol} of zero" if null else ""),
        ),
    ]
    if spectrum.trace is not None:
        rows.append(Fact("trace", *_estimate(spectrum.trace), unit))
    if spectrum.frobenius_norm is not None:
        rows.append(Fact("Frobenius norm", *_estimate(spectrum.frobenius_norm), unit))
    if spectrum.effective_rank is not None:
        rows.append(
            Fact("effective rank (Σλ)²/Σλ²", *_estimate(spectrum.effective_rank), "directions")
        )
    if spectrum.alignment is not None:
        low, high = spectrum.alignment.bounds
        k = len(spectrum.extremes.top.values)
        rows.append(
            Fact(
                "gradient in the top subspace",
                _percent(spectrum.alignment.total),
                "" if _percent(low) == _percent(high) else f"{_percent(low)} to {_percent(high)}",
                f"share of its square in the span of the {_number(k)} largest",
            )
        )
    return Facts(tuple(rows))


def _cost_sentence(spectrum: Spectrum) -> str:
    cost = f"{spectrum.num_products:,} products with the matrix"
    if spectrum.num_gradients is not None:
        cost += f", which count as {spectrum.num_gradients:,.0f} gradients over all "
        cost += f"{spectrum.num_samples:,} samples"
    return f"{cost}, in {spectrum.seconds:.1f} s."


def _how(spectrum: Spectrum) -> list[Block]:
    rows = []
    if spectrum.route:
        rows.append(("a product", spectrum.route))
    if _is_exact(spectrum):
        rows.append(("eigenvalues", f"the whole matrix, {spectrum.num_parameters:,} columns"))
    else:
        rows.append(("both ends", f"one Lanczos run, {spectrum.extremes.num_products:,} products"))
    if spectrum.density is not None:
        probes, steps = spectrum.density.nodes.shape
        rows.append(("density and counts", f"{probes} probes of {steps} Lanczos steps"))
    if spectrum.trace is not None and not _is_exact(spectrum):
        sums = {
            "trace": spectrum.trace,
            "Frobenius norm": spectrum.frobenius_norm,
            "effective rank": spectrum.effective_rank,
        }
        taken = ", ".join(name for name, value in sums.items() if value is not None)
        rows.append((taken, f"{spectrum.trace.num_products} products each, leave-one-out probes"))
    rows += [("otherwise than in training", note) for note in spectrum.notes]
    return [Table(("what", "how"), tuple(rows), "")]


def _unknown_section(spectrum: Spectrum) -> Section | None:
    rows = list(spectrum.omissions.items())
    low, high = spectrum.index_interval
    if high > 1.5 * low and spectrum.density is not None:
        rows.append(
            (
                "how many directions curve down",
                f"between {low:,} and {high:,} beyond −{spectrum.null_tol:.2g}: many "
                f"eigenvalues lie close to it; more steps of the density narrow it",
            )
        )
    counts = spectrum.inertia
    if (
        _is_exact(spectrum)
        and counts is not None
        and counts.null
        and "float64" not in spectrum.machine
    ):
        rows.append(
            (
                f"the sign of {counts.null:,} eigenvalues",
                "rounding is larger than they are; read in float64: `Surface(problem, "
                "dtype=torch.float64)`, `--dtype float64`",
            )
        )
    if not _is_exact(spectrum):
        least, most = spectrum.extremes.spread_bound()
        rows.append(
            (
                "eigenvalues outside those found",
                f"none outside {_shown(least)} to {_shown(most)}, with probability 99 %",
            )
        )
        if not (spectrum.extremes.top.is_converged and spectrum.extremes.bottom.is_converged):
            rows.append(("the outermost eigenvalues", "the run ended before all had converged"))
    if spectrum.alignment is not None and _is_loose(spectrum):
        rows.append(
            (
                "the gradient's share in the true top subspace",
                "the last eigenvalue of it is too close to the next for its span to be known; "
                "another number of eigenvalues may end at a gap",
            )
        )
    if not rows:
        return None
    return Section("What is not known", "", (Table(("what", "why"), tuple(rows), ""),))


def _is_exact(spectrum: Spectrum) -> bool:
    return spectrum.eigenvalues is not None


def _is_loose(spectrum: Spectrum) -> bool:
    assert spectrum.alignment is not None, "asked for first"
    low, high = spectrum.alignment.bounds
    return high - low > _CLOSE


def _index(spectrum: Spectrum) -> str:
    low, high = spectrum.index_interval
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _null(spectrum: Spectrum) -> str:
    counts, density = spectrum.inertia, spectrum.density
    if counts is None:
        return ""
    if density is None:
        return f"{counts.null:,}"
    share = density.mass(-counts.null_tol, counts.null_tol)
    return f"{share.low * density.size:,.0f} to {share.high * density.size:,.0f}"


def _unit(spectrum: Spectrum) -> str:
    return "loss²/param²" if spectrum.matrix.startswith("empirical") else "loss/param²"


def _estimate(estimate: Estimate) -> tuple[str, str]:
    """A value to the digits that its doubt leaves, and the doubt to two."""
    value, doubt = estimate.value, estimate.stderr
    if not (isfinite(doubt) and doubt > 0 and value != 0):
        return _shown(value, 6), f"± {doubt:.2g}"
    digits = floor(log10(abs(value))) - floor(log10(doubt)) + 2
    return _shown(value, min(max(digits, 1), 7)), f"± {doubt:.2g}"


def _bounds(bounds: Sequence[float]) -> str:
    """An interval with as many digits as tell its ends apart."""
    for digits in range(4, 8):
        low, high = (_shown(bound, digits) for bound in bounds)
        if low != high:
            return f"{low} to {high}"
    return "to all digits shown"


def _shown(value: float, digits: int = 4) -> str:
    text = f"{value:.{digits}g}"
    return f"−{text[1:]}" if text.startswith("-") else text


def _percent(share: object) -> str:
    value = 100 * float(share)  # type: ignore[arg-type]
    if 0 < value < 0.1:
        return f"{value:.1g} %"
    return f"{value:.1f} %" if value < 10 else f"{value:.0f} %"


def _number(k: int) -> str:
    return _WORDS[k] if k < len(_WORDS) else f"{k:,}"
