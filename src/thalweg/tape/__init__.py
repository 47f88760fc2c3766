"""A forward pass written down as its operations, each with its first and second derivative."""

from thalweg.tape._tape import Tape

__all__ = ["Tape"]
