"""A forward pass written down as its operations, each with its first and second derivative."""

from thalweg.tape._multiply import library_of
from thalweg.tape._tape import Tape

__all__ = ["Tape", "library_of"]
