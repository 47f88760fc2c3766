"""Parameters that cannot learn: frozen, detached, unused, or not given to the optimizer."""

from __future__ import annotations

from torch import nn

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings

LEARNING = (
    *(nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.RNNBase, nn.RNNCellBase),
    *(nn.Embedding, nn.MultiheadAttention),
)
"""Layers whose parameters are there to learn; a fixed one elsewhere may be a constant."""


def cannot_learn(readings: Readings) -> Finding | None:
    """Trainable or not, they are what they were when the training ends, and nobody said why."""
    problem, watched = readings.problem, readings.watched
    if not watched.num_optimizer_steps and not watched.losses and not _is_detached(readings):
        return None
    model = problem.model
    owners = {
        f"{name}.{own}" if name else own: module
        for name, module in model.named_modules()
        for own, _ in module.named_parameters(recurse=False)
    }
    reasons: dict[str, list[str]] = {}
    for name, parameter in model.named_parameters():
        if problem.is_on_purpose(name):
            continue
        if not parameter.requires_grad:
            if isinstance(owners[name], LEARNING):
                reasons.setdefault("frozen (requires_grad is False)", []).append(name)
        elif name not in watched.given:
            reasons.setdefault("not given to the optimizer, or with lr = 0", []).append(name)
        elif name not in watched.arrived and (watched.losses or _is_detached(readings)):
            reasons.setdefault(
                "never reached by a gradient: detached, or not used by the forward pass", []
            ).append(name)
    if readings.head.foreign:
        reasons["not registered with the model (kept in a list or a dict of Python's)"] = []
    if watched.losses and not watched.num_optimizer_steps:
        reasons = {"never updated: the step does not call optimizer.step()": list(owners)}
    elif watched.is_cleared:
        why = "never updated: their gradients are cleared before optimizer.step()"
        reasons = {why: list(owners)}
    if not reasons:
        return None
    stuck = [name for names in reasons.values() for name in names]
    size = sum(p.numel() for n, p in model.named_parameters() if n in stuck)
    total = sum(p.numel() for p in model.parameters())
    layers = tuple(dict.fromkeys(name.rpartition(".")[0] for name in stuck))
    listed = "; ".join(f"{_named(names)}{why}" for why, names in reasons.items())
    return Finding(
        Ailment.CANNOT_LEARN,
        f"Parameters cannot learn: {listed}. They are {size:,} of {total:,} numbers. Mend it, or "
        f"declare it: Problem(..., on_purpose=({layers[0] + '.*' if layers else '...'!r},)).",
        layers,
        {"parameters that cannot learn": float(size), "parameters": float(total)},
        "a parameter of a layer that learns is frozen, or missing in the optimizer, or no gradient "
        "reaches it in the training that was watched, or none is left when the optimizer takes its "
        "step; and it is not declared on purpose",
        1 + size / max(total, 1),
        1,
    )


def _is_detached(readings: Readings) -> bool:
    return "does not require grad" in readings.watched.failure


def _named(names: list[str]) -> str:
    if not names:
        return ""
    some = ", ".join(map(repr, names[:4])) + (", …" if len(names) > 4 else "")
    return f"{some} {'is' if len(names) == 1 else 'are'} "
