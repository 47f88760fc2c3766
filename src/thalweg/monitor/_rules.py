"""Rules: what the last records say is wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf, isfinite
from statistics import median

import torch

from thalweg.monitor._record import Alert, Record

PATIENCE = 3
"""Readings in a row that a rule has to hold at, where one may be chance."""

EPSILON = torch.finfo(torch.float32).eps / 2
"""A change below this share of a number is lost in rounding."""

Rule = Callable[[Sequence[Record]], Alert | None]


def not_finite(records: Sequence[Record]) -> Alert | None:
    """The loss or a gradient is NaN or infinite."""
    record = records[-1]
    loss, norm = record.values.get("loss", 0.0), record.values.get("gradient_norm", 0.0)
    if isfinite(loss) and isfinite(norm) and not record.values.get("non_finite"):
        return None
    layers = tuple(name for name, count in _layers(record, "non_finite").items() if count)
    count = record.values.get("non_finite", 0.0)
    where = f"; {count:,.0f} gradient entries are not finite, in {_list(layers)}" if layers else ""
    return Alert(
        record.step,
        "not finite",
        f"the loss is {loss:.4g} and the gradient norm {norm:.4g}{where}.",
        {"loss": loss, "gradient norm": norm, "entries not finite": count},
        "the loss, the gradient norm or an entry of a gradient is NaN or infinite",
        layers,
    )


def exploding(records: Sequence[Record]) -> Alert | None:
    """The gradient norm leaves the scale it had."""
    norms = [(r.step, r.values["gradient_norm"]) for r in records if "gradient_norm" in r.values]
    if len(norms) < 6 or norms[-1][0] != records[-1].step:
        return None
    usual = median(norm for _, norm in norms[:-1] if isfinite(norm)) if norms[:-1] else 0.0
    last = norms[-1][1]
    if not (isfinite(last) and usual > 0 and last > 100 * usual):
        return None
    return Alert(
        records[-1].step,
        "exploding gradient",
        f"the gradient norm is {last:.3g}, {last / usual:.0f} times its median so far.",
        {"gradient norm": last, "median so far": usual},
        "a gradient norm above 100 times the median of all readings before, at least five",
    )


def no_update(records: Sequence[Record]) -> Alert | None:
    """Updates are so small that rounding swallows them."""
    last = _last(records, "update_ratio")
    lr = records[-1].values.get("lr", 1.0)
    if last is None or not lr > 0 or not all(ratio < EPSILON for ratio in last):
        return None
    return Alert(
        records[-1].step,
        "no progress",
        f"a step moves the parameters by {last[-1]:.2g} of their norm, which is below the rounding "
        f"of float32: nothing is learned.",
        {"update over weight": last[-1], "half of epsilon": EPSILON, "learning rate": lr},
        f"‖Δ‖/‖θ‖ below {EPSILON:.2g} at {PATIENCE} readings in a row, at a learning rate above 0",
    )


def large_update(records: Sequence[Record]) -> Alert | None:
    """Updates are as large as the weights, and lead nowhere."""
    last = _last(records, "update_ratio")
    losses = _last(records, "loss")
    is_falling = losses is not None and losses[-1] < losses[0]
    if last is None or is_falling or not all(ratio > 0.3 for ratio in last):
        return None
    return Alert(
        records[-1].step,
        "learning rate too large",
        f"a step moves the parameters by {last[-1]:.2g} of their norm, where about 0.001 is usual, "
        f"and the loss does not fall.",
        {"update over weight": last[-1]},
        f"‖Δ‖/‖θ‖ above 0.3 at {PATIENCE} readings in a row, over which the loss has not fallen",
    )


def diverging(records: Sequence[Record]) -> Alert | None:
    """The loss leaves the scale it began with, upwards."""
    losses = [record.values["loss"] for record in records if "loss" in record.values]
    if len(losses) < 2 or "loss" not in records[-1].values:
        return None
    first, last = losses[0], losses[-1]
    if not (0 < first < inf and 10 * first < last < inf):
        return None
    return Alert(
        records[-1].step,
        "learning rate too large",
        f"the loss is {last:.3g}, {last / first:.3g} times what it began with.",
        {"loss at first": first, "loss now": last},
        "a loss above ten times that of the first reading",
    )


def starved(records: Sequence[Record]) -> Alert | None:
    """Some layers move far less than the others."""
    read = [record for record in records if "update_ratio" in record.values]
    if len(read) < PATIENCE or read[-1] is not records[-1]:
        return None
    tables = [_layers(record, "update_ratio") for record in read[-PATIENCE:]]
    low: set[str] | None = None
    for table in tables:
        middle = median(table.values()) if table else 0.0
        largest = max(table.values(), default=0.0)
        here = {n for n, ratio in table.items() if ratio < 1e-3 * middle or ratio == 0 < largest}
        low = here if low is None else low & here
    table = tables[-1]
    if not low or max(table.values()) < EPSILON:
        return None
    layers = tuple(name for name in table if name in low)
    worst = min(layers, key=lambda name: table[name])
    best = max(table, key=lambda name: table[name])
    verb = "do" if len(layers) > 1 else "does"
    return Alert(
        records[-1].step,
        "vanishing gradient",
        f"{_list(layers)} {verb} not learn: a step moves {worst} by {table[worst]:.2g} of its "
        f"norm, and {best} by {table[best]:.2g}.",
        {"smallest update over weight": table[worst], "largest": table[best]},
        f"‖Δ‖/‖θ‖ of a layer below a thousandth of the median, or 0, at {PATIENCE} readings in a "
        f"row",
        layers,
    )


def dead(records: Sequence[Record]) -> Alert | None:
    """Half of a layer's units get no gradient any more."""
    table = {name: s for name, s in _layers(records[-1], "dead").items() if s >= 0.5}
    what = "had a gradient of zero at each of the last eight readings"
    rule = "half of the units of a layer without gradient at eight readings in a row"
    return _units(records[-1], table, "dead units", what, rule)


def saturated(records: Sequence[Record]) -> Alert | None:
    """Nearly all of a layer's units are in the flat part of their activation."""
    if len(records) < PATIENCE:
        return None
    tables = [_layers(record, "saturated") for record in records[-PATIENCE:]]
    table = {n: s for n, s in tables[-1].items() if all(t.get(n, 0.0) >= 0.9 for t in tables)}
    return _units(records[-1], table, "saturated units", "are in the flat part of the activation, "
        "|φ'| under 1 % of its maximum", f"nine tenths of the entries saturated at {PATIENCE} "
        f"readings in a row",
    )  # fmt: skip


def unstable(records: Sequence[Record]) -> Alert | None:
    """The sharpness is past the limit of the step, and the loss goes up."""
    read = [r for r in records if "stability_ratio" in r.values]
    if len(read) < 2 or read[-1] is not records[-1]:
        return None
    ratios = [record.values["stability_ratio"] for record in read[-2:]]
    losses = [r.values["loss"] for r in records if "loss" in r.values and r.step >= read[-2].step]
    first = [r.values["loss"] for r in records if "loss" in r.values]
    is_rising = len(losses) > 1 and losses[-1] > max(losses[0], median(first[:PATIENCE]))
    if not all(ratio > 1.2 for ratio in ratios) or not is_rising:
        return None
    values = read[-1].values
    limit = values["stability_limit"]
    return Alert(
        records[-1].step,
        "learning rate too large",
        f"the sharpness is {ratios[-1] * limit:.3g}, {ratios[-1]:.2g} times the limit {limit:.3g} "
        f"of the optimizer's step, and the loss rose from {losses[0]:.3g} to {losses[-1]:.3g}.",
        {"sharpness over limit": ratios[-1], "loss before": losses[0], "loss now": losses[-1]},
        "sharpness above 1.2 times the stability limit at two measurements in a row, and a loss "
        "above that of the first of them and of the beginning",
    )


def stuck(records: Sequence[Record]) -> Alert | None:
    """The loss is where it began."""
    losses = [r.values["loss"] for r in records if "loss" in r.values]
    if len(losses) < 24 or "loss" not in records[-1].values:
        return None
    first, last = losses[:8], losses[-8:]
    if not all(map(isfinite, first + last)) or median(last) < median(first):
        return None
    return Alert(
        records[-1].step,
        "no progress",
        f"the loss has not fallen: its median was {median(first):.4g} over the first eight "
        f"readings and is {median(last):.4g} over the last eight.",
        {"median at first": median(first), "median now": median(last)},
        "after 24 readings the median loss of the last eight is not below that of the first eight",
    )


RULES: tuple[Rule, ...] = (
    not_finite,
    unstable,
    diverging,
    exploding,
    large_update,
    starved,
    dead,
    saturated,
    no_update,
    stuck,
)
"""In the order of telling: causes before symptoms."""


class Watch:
    """Tells each ailment once, and again only after it has been away for a while."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}
        self._num_readings = 0

    def alerts(self, records: Sequence[Record]) -> list[Alert]:
        """What is new at the last record."""
        self._num_readings += 1
        new = []
        for rule in RULES:
            alert = rule(records)
            if alert is None:
                continue
            last = self._seen.get(alert.ailment)
            self._seen[alert.ailment] = self._num_readings
            if last is None or self._num_readings - last > 10 * PATIENCE:
                new.append(alert)
        return new


def _last(records: Sequence[Record], name: str) -> list[float] | None:
    """The last readings of a number, if there are enough and the last record has one."""
    found = [record.values[name] for record in records if name in record.values]
    return found[-PATIENCE:] if len(found) >= PATIENCE and name in records[-1].values else None


def _layers(record: Record, name: str) -> dict[str, float]:
    """What is known of a quantity by layer."""
    prefix = f"{name}/"
    return {k.removeprefix(prefix): v for k, v in record.values.items() if k.startswith(prefix)}


def _units(
    record: Record, table: Mapping[str, float], ailment: str, what: str, rule: str
) -> Alert | None:
    if not table:
        return None
    worst = max(table, key=lambda name: table[name])
    sentence = f"{100 * table[worst]:.0f} % of the units of {worst} {what}"
    others = tuple(name for name in table if name != worst)
    sentence += f"; so it is in {_list(others)}." if others else "."
    return Alert(
        record.step, ailment, sentence, {f"share in {n}": s for n, s in table.items()}, rule,
        tuple(table),
    )  # fmt: skip


def _list(layers: Sequence[str]) -> str:
    """A few names in words."""
    shown = ", ".join(layers[:3])
    return f"{shown} and {len(layers) - 3} more" if len(layers) > 3 else shown
