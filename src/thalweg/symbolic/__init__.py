"""Formulas: a small computation as an expression tree, read from text that is never run."""

from thalweg.symbolic._derive import Derivation, derive
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
from thalweg.symbolic._finding import Finding, Verification
from thalweg.symbolic._label import Label
from thalweg.symbolic._spelling import FUNCTIONS, function_named, normalised
from thalweg.symbolic._text import Program, Statement, parse_expression, parse_program
from thalweg.symbolic._written import latex_of_name, text_of_name

__all__ = [
    "FUNCTIONS",
    "Array",
    "Binary",
    "Call",
    "Derivation",
    "Expression",
    "Finding",
    "Label",
    "Name",
    "Negative",
    "Number",
    "Operator",
    "Program",
    "Statement",
    "Transpose",
    "Verification",
    "derive",
    "function_named",
    "latex_of_name",
    "normalised",
    "parse_expression",
    "parse_program",
    "text_of_name",
]
