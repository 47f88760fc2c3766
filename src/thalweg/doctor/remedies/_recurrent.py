"""Recurrent layers whose state keeps its size from step to step at the start."""

from __future__ import annotations

from math import log

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME, IDENTITY = "recurrent matrices orthogonal", "recurrent matrices the identity"

USUAL = 4.0
"""Times Glorot's size, or a part of it, up to which input matrices are left as they are."""

KEEPING = {nn.LSTM: "forget", nn.GRU: "update"}
"""The gate that keeps the state; it is the second of either."""


def identity_in_time(readings: Readings) -> Remedy | NotApplicable:
    """The identity as recurrent matrix of layers without gates: the state stays what it was.

    What was shown once is still there at the end, and is learned from at once; a rotation must be
    found first.

    Source: Le, Jaitly, Hinton 2015, "A simple way to initialize recurrent networks of rectified
    linear units".
    """
    found = _trained(readings)
    if not any(isinstance(each, nn.RNN) for each in found.values()):
        return NotApplicable(IDENTITY, "no recurrent layer without gates is trained")
    return _drawn_anew(readings, found, IDENTITY)


def orthogonal_in_time(readings: Readings) -> Remedy | NotApplicable:
    """Orthogonal recurrent matrices; the gate that keeps the state open for half the sequence.

    That is a bias of ln(T/2), 1 at least: the state then lasts about T/2 of T steps. Where an input
    matrix is of no usual size, or a bias is above 1, these are drawn anew as well: of Glorot's
    size, and zero.

    Source: Saxe, McClelland, Ganguli 2014 (orthogonal); Jozefowicz, Zaremba, Sutskever 2015 (a
    forget gate's bias of one); Tallec, Ollivier 2018 (that it grows like the logarithm of T).
    """
    found = _trained(readings)
    if not found:
        return NotApplicable(NAME, "the network has no recurrent layer that is trained")
    return _drawn_anew(readings, found, NAME)


def _trained(readings: Readings) -> dict[str, nn.RNNBase]:
    """The recurrent layers of which nothing is frozen."""
    return {
        name: module
        for name, module in readings.problem.model.named_modules()
        if isinstance(module, nn.RNNBase) and all(p.requires_grad for p in module.parameters())
    }


def _drawn_anew(readings: Readings, found: dict[str, nn.RNNBase], name: str) -> Remedy:
    is_whole, is_identity = any(map(_is_odd, found.values())), name == IDENTITY
    lasting = max((len(each.steps) for each in readings.in_time), default=0)
    bias = float(f"{max(1.0, log(max(lasting, 2) / 2)):.2g}")

    def apply(problem: Problem, generator: torch.Generator) -> Problem:
        for each in found:
            layer = problem.model.get_submodule(each)
            assert isinstance(layer, nn.RNNBase)
            with torch.no_grad():
                _draw(layer, is_identity, is_whole, bias, generator)
        return problem

    kinds = {type(each) for each in found.values()}
    lines = [
        "for layer in model.modules():",
        f"    if isinstance(layer, {'nn.RNN' if is_identity else 'nn.RNNBase'}):",
        "        for name, p in layer.named_parameters():",
        "            for gate in p.split(layer.hidden_size):",
        '                if "weight_hh" in name:',
        f"                    nn.init.{'eye' if is_identity else 'orthogonal'}_(gate)",
    ]
    if is_whole:
        lines += [
            '                elif "weight" in name:',
            "                    nn.init.xavier_normal_(gate)",
            "                else:",
            "                    nn.init.zeros_(gate)",
        ]
    for kind, gate in KEEPING.items():
        if kind in kinds and not is_identity:
            lines += [
                f'            if isinstance(layer, nn.{kind.__name__}) and "bias_ih" in name:',
                f"                p.split(layer.hidden_size)[1].fill_({bias})  # the {gate} gate",
            ]
    code = "\n".join(["with torch.no_grad():", *(f"    {line}" for line in lines)])
    return Remedy(name, code, apply)


def _is_odd(layer: nn.RNNBase) -> bool:
    """Whether an input matrix is far from Glorot's size, or a bias is large."""
    for name, parameter in layer.named_parameters():
        for gate in parameter.split(layer.hidden_size):
            if "bias" in name and float(gate.detach().abs().max()) > 1:
                return True
            if "weight_ih" in name:
                size = float(gate.detach().norm()) / (2 * gate.numel() / sum(gate.shape)) ** 0.5
                if not 1 / USUAL <= size <= USUAL:
                    return True
    return False


def _draw(
    layer: nn.RNNBase, is_identity: bool, is_whole: bool, bias: float, generator: torch.Generator
) -> None:
    if is_identity and not isinstance(layer, nn.RNN):
        return
    for name, parameter in layer.named_parameters():
        for gate in parameter.split(layer.hidden_size):
            # Drawn on the CPU, where the generator lives.
            drawn = torch.empty(gate.shape, dtype=gate.dtype)
            if "weight_hh" in name and is_identity:
                nn.init.eye_(gate)
            elif "weight_hh" in name:
                gate.copy_(nn.init.orthogonal_(drawn, generator=generator))
            elif is_whole and "weight" in name:
                gate.copy_(nn.init.xavier_normal_(drawn, generator=generator))
            elif is_whole:
                gate.zero_()
        if type(layer) in KEEPING and "bias_ih" in name:
            parameter.split(layer.hidden_size)[1].fill_(bias)
