"""What is put on paper: worked passes and checked solutions."""

from thalweg.sheet._build import graph_of
from thalweg.sheet._graph import Graph, Local, Node, Path
from thalweg.sheet._operation import Form
from thalweg.sheet._remarks import Alternative
from thalweg.sheet._worked import WorkedPass, worked
from thalweg.sheet.marking import CheckedSolution, Slip, Step, Verdict, check
from thalweg.symbolic import Label

__all__ = [
    "Alternative",
    "CheckedSolution",
    "Form",
    "Graph",
    "Label",
    "Local",
    "Node",
    "Path",
    "Slip",
    "Step",
    "Verdict",
    "WorkedPass",
    "check",
    "graph_of",
    "worked",
]
