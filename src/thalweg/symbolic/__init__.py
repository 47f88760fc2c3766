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
from thalweg.symbolic._written import latex_of_name, text_of_name

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
    "latex_of_name",
    "normalised",
    "parse_expression",
    "parse_program",
    "text_of_name",
]
