"""The problem as a program: what every layer received, returned and got back as gradient."""

from thalweg.passes._pass import ActivationPass, LayerPass, Pass

__all__ = ["ActivationPass", "LayerPass", "Pass"]
