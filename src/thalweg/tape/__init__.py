"""A forward pass written down as its operations, each with its first and second derivative."""

from thalweg.tape._fast_linear import FastLinear
from thalweg.tape._multiply import library_of, product
from thalweg.tape._tape import Tape

__all__ = ["FastLinear", "Tape", "library_of", "product"]
