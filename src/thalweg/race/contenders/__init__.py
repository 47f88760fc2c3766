"""Methods that can enter a race, one file a family."""

from thalweg.race.contenders._closure import ClosureContender
from thalweg.race.contenders._contender import Contender
from thalweg.race.contenders._gradient import GradientContender
from thalweg.race.contenders._shelf import SHELF, contender, contenders
from thalweg.race.contenders._surface import SurfaceContender

__all__ = [
    "SHELF",
    "ClosureContender",
    "Contender",
    "GradientContender",
    "SurfaceContender",
    "contender",
    "contenders",
]
