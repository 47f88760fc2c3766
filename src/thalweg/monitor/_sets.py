"""The three sets of instruments: cheap, ordinary, full."""

from __future__ import annotations

import torch

from thalweg.monitor._alignment import Alignment
from thalweg.monitor._along_step import AlongStep
from thalweg.monitor._gradients import Gradients
from thalweg.monitor._instrument import Instrument, Instruments
from thalweg.monitor._loss import Loss
from thalweg.monitor._noise import Noise
from thalweg.monitor._sharpness import Sharpness
from thalweg.monitor._spectrum import Spectrum
from thalweg.monitor._units import Units
from thalweg.monitor._updates import Updates


def cheap() -> Instruments:
    """What is there anyway: loss, norms, updates, noise, dead and saturated units; 2 % of the time.

    Example:
        >>> [member.name for member in cheap().members]
        ['loss', 'gradient norms', 'updates', 'units', 'gradient noise']
    """
    return Instruments("cheap", _cheap(), 0.02)


def ordinary(generator: torch.Generator | None = None) -> Instruments:
    """The cheap ones, the loss along the step, and sharpness against its limit; 2 % of the time.

    Args:
        generator: of the starts; seeded with 0 where none is given.

    Example:
        >>> [member.name for member in ordinary().members][-2:]
        ['along the step', 'sharpness']
    """
    return Instruments("ordinary", (*_cheap(), AlongStep(), Sharpness(_seeded(generator))), 0.02)


def full(generator: torch.Generator | None = None) -> Instruments:
    """Everything: also alignment, trace, index and density; a tenth of the time.

    Args:
        generator: of the starts and probes; seeded with 0 where none is given.

    Example:
        >>> [member.name for member in full().members][-2:]
        ['alignment', 'spectrum']
    """
    generator = _seeded(generator)
    sharpness = Sharpness(generator)
    dear = (AlongStep(), sharpness, Alignment(sharpness), Spectrum(generator))
    return Instruments("full", (*_cheap(), *dear), 0.10)


def without_products() -> Instruments:
    """For networks that are too large for Hessian products: cheap, and the loss along the step.

    Example:
        >>> [member.name for member in without_products().members][-1]
        'along the step'
    """
    return Instruments("without products", (*_cheap(), AlongStep()), 0.02)


def _cheap() -> tuple[Instrument, ...]:
    return (Loss(), Gradients(), Updates(), Units(), Noise())


def _seeded(generator: torch.Generator | None) -> torch.Generator:
    return generator or torch.Generator().manual_seed(0)
