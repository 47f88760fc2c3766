"""Terms set in text and in LaTeX: ½(A + Aᵀ)w, ‖w‖² w, E[g'(wᵀ z) z]."""

from __future__ import annotations

from fractions import Fraction

from thalweg.symbolic._label import Label
from thalweg.symbolic._setting import name_of_function
from thalweg.symbolic._terms import Atom, Factor, Sum, Term

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def label_of_sum(of: Sum) -> Label:
    """A sum of terms."""
    if of.is_zero:
        return Label("0", "0")
    parts = [_group(group) for group in _groups(of)]
    text, latex = parts[0].text, parts[0].latex
    for part in parts[1:]:
        if part.text.startswith("−"):
            text, latex = f"{text} − {part.text[1:]}", f"{latex} - {part.latex[1:]}"
        else:
            text, latex = f"{text} + {part.text}", f"{latex} + {part.latex}"
    return Label(text, latex)


def label_of_number(value: Fraction) -> Label:
    """A fraction."""
    sign, size = ("−", -value) if value < 0 else ("", value)
    minus = "-" if sign else ""
    if size.denominator == 1:
        return Label(f"{sign}{size}", f"{minus}{size}")
    return Label(f"{sign}{size}", f"{minus}\\frac{{{size.numerator}}}{{{size.denominator}}}")


def label_of_atom(atom: Atom, exponent: Fraction = Fraction(1)) -> Label:
    """An atom to a power."""
    chain = atom.chain
    if len(chain) == 2 and chain[0].transposed() == chain[1] and chain[0].expected is None:
        norm = Label.of_name(chain[1].name)
        return _powered(
            Label(f"‖{norm.text}‖", f"\\lVert {norm.latex} \\rVert"), 2 * exponent, True
        )
    if chain:
        inner = _joined([_factor(factor) for factor in chain])
        return _powered(inner, exponent, False)
    if atom.kind == "name":
        return _powered(Label.of_name(atom.name), exponent, True)
    assert atom.of is not None, "the others are of something"
    inner = label_of_sum(atom.of)
    if atom.kind == "mean":
        mean = Label(f"E[{inner.text}]", f"\\operatorname{{E}}\\left[{inner.latex}\\right]")
        return _powered(mean, exponent, True)
    if atom.kind == "power":
        held = Label(f"({inner.text})", f"\\left({inner.latex}\\right)")
        return _powered(held, exponent, True)
    text, latex = name_of_function(atom.name)
    power = "" if exponent == 1 else f"^{{{label_of_number(exponent).latex}}}"
    raised = _exponent(exponent)
    return Label(f"{text}({inner.text}){raised}", f"{latex}{power}\\left({inner.latex}\\right)")


def _powered(base: Label, exponent: Fraction, is_one: bool) -> Label:
    if exponent == 1:
        return base
    held = base if is_one else Label(f"({base.text})", f"\\left({base.latex}\\right)")
    latex = label_of_number(exponent).latex
    return Label(f"{held.text}{_exponent(exponent)}", f"{held.latex}^{{{latex}}}")


def _exponent(exponent: Fraction) -> str:
    if exponent == 1:
        return ""
    if exponent.denominator == 1:
        return str(exponent).translate(_RAISED)
    return f"^({exponent})"


def _factor(factor: Factor) -> Label:
    if factor.expected is not None:
        inner = label_of_sum(factor.expected)
        label = Label(f"E[{inner.text}]", f"\\operatorname{{E}}\\left[{inner.latex}\\right]")
    else:
        label = Label.of_name(factor.name)
    if not factor.is_transposed:
        return label
    return Label(f"{label.text}ᵀ", f"{label.latex}^{{\\top}}")


def _joined(parts: list[Label]) -> Label:
    return Label(" ".join(p.text for p in parts), r"\, ".join(p.latex for p in parts))


def _groups(of: Sum) -> list[list[Term]]:
    """Terms that differ only in A and Aᵀ at the same place are set in one bracket."""
    groups: dict[object, list[Term]] = {}
    for term in of.terms:
        untransposed = tuple(
            (f.name, f.expected, f.is_vector, f.is_vector and f.is_transposed) for f in term.chain
        )
        num_matrices = sum(not f.is_vector and f.expected is None for f in term.chain)
        is_alone = num_matrices != 1 or any(f.name == "I" for f in term.chain)
        key = (term.coefficient, term.atoms, untransposed, term if is_alone else None)
        groups.setdefault(key, []).append(term)
    return list(groups.values())


_ORDER = ("name", "mean", "call", "power", "chain")


def _clear(label: Label) -> Label:
    """A scalar product in brackets, so that it is told from what stands beside it."""
    if "ᵀ" in label.text and not label.text.endswith((")", "]")) and "(" not in label.text:
        return Label(f"({label.text})", f"\\left({label.latex}\\right)")
    return label


def _group(terms: list[Term]) -> Label:
    first = terms[0]
    chain = [_factor(factor) for factor in first.chain]
    if len(terms) > 1:
        place = next(i for i, f in enumerate(first.chain) if not f.is_vector)
        both = sorted((_factor(t.chain[place]) for t in terms), key=lambda label: len(label.text))
        chain[place] = Label(
            f"({' + '.join(label.text for label in both)})",
            f"\\left({' + '.join(label.latex for label in both)}\\right)",
        )
    atoms = sorted(first.atoms, key=lambda item: _ORDER.index(item[0].kind))
    above = [label_of_atom(a, e) for a, e in atoms if e > 0]
    below = [label_of_atom(a, -e) for a, e in atoms if e < 0]
    if len(above) + bool(chain) > 1:
        above = [_clear(label) for label in above]
    size = abs(first.coefficient)
    is_plain = bool(above or chain)
    number = [] if size == 1 and is_plain else [label_of_number(size)]
    label = _joined([*number, *above, *chain])
    if below:
        under = _joined(below)
        is_one = len(below) == 1 and (" " not in under.text or under.text.endswith((")", "⁾")))
        held = under.text if is_one else f"({under.text})"
        label = Label(f"{label.text}/{held}", f"\\frac{{{label.latex}}}{{{under.latex}}}")
    if first.coefficient < 0:
        return Label(f"−{label.text}", f"-{label.latex}")
    return label
