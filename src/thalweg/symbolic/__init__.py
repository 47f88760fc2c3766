"""Formulas: a small computation as an expression tree, read from text that is never run."""

from thalweg.symbolic._expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Operator,
    Transpose,
)
from thalweg.symbolic._spelling import FUNCTIONS, function_named, normalised
from thalweg.symbolic._text import Program, Statement, parse_expression, parse_program

__all__ = [
    "FUNCTIONS",
    "Array",
    "Binary",
    "Call",
    "Expression",
    "Name",
    "Negative",
    "Number",
    "Operator",
    "Program",
    "Statement",
    "Transpose",
    "function_named",
    "normalised",
    "parse_expression",
    "parse_program",
]
