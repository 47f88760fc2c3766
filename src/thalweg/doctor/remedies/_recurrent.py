"""Recurrent layers whose state keeps its size from step to step at the start."""

from __future__ import annotations

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME = "recurrent matrices orthogonal"


def orthogonal_in_time(readings: Readings) -> Remedy | NotApplicable:
    """Orthogonal recurrent matrices, input matrices of Glorot's size, biases zero; an LSTM's
    forget gate open.

    Source: Saxe, McClelland, Ganguli 2014 (orthogonal); Jozefowicz, Zaremba, Sutskever 2015 (a
    forget gate's bias of one).
    """
    model = readings.problem.model
    found = [n for n, m in model.named_modules() if isinstance(m, nn.RNNBase)]
    found = [n for n in found if all(p.requires_grad for p in model.get_submodule(n).parameters())]
    if not found:
        return NotApplicable(NAME, "the network has no recurrent layer that is trained")

    def apply(problem: Problem, generator: torch.Generator) -> Problem:
        for name in found:
            layer = problem.model.get_submodule(name)
            assert isinstance(layer, nn.RNNBase)
            with torch.no_grad():
                _draw(layer, generator)
        return problem

    code = (
        "for layer in model.modules():\n"
        "    if isinstance(layer, nn.RNNBase):\n"
        "        for name, p in layer.named_parameters():\n"
        "            for gate in p.split(layer.hidden_size):\n"
        '                if "weight_hh" in name:\n'
        "                    nn.init.orthogonal_(gate)\n"
        '                elif "weight" in name:\n'
        "                    nn.init.xavier_normal_(gate)\n"
        "                else:\n"
        "                    nn.init.zeros_(gate)\n"
        '            if isinstance(layer, nn.LSTM) and "bias_ih" in name:\n'
        "                p.split(layer.hidden_size)[1].fill_(1.0)  # the forget gate"
    )
    code = f"with torch.no_grad():\n{_indented(code)}"
    return Remedy(NAME, code, apply)


def _draw(layer: nn.RNNBase, generator: torch.Generator) -> None:
    for name, parameter in layer.named_parameters():
        for gate in parameter.split(layer.hidden_size):
            if "weight" not in name:
                gate.zero_()
                continue
            # Drawn on the CPU, where the generator lives.
            drawn = torch.empty(gate.shape, dtype=gate.dtype)
            if "weight_hh" in name:
                nn.init.orthogonal_(drawn, generator=generator)
            else:
                nn.init.xavier_normal_(drawn, generator=generator)
            gate.copy_(drawn)
        if isinstance(layer, nn.LSTM) and "bias_ih" in name:
            parameter.split(layer.hidden_size)[1].fill_(1.0)


def _indented(code: str) -> str:
    return "\n".join(f"    {line}" for line in code.splitlines())
