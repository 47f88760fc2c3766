"""What is put on paper: worked passes and checked solutions."""

from thalweg.sheet._build import graph_of
from thalweg.sheet._graph import Graph, Local, Node, Path
from thalweg.sheet._operation import Form, Label

__all__ = ["Form", "Graph", "Label", "Local", "Node", "Path", "graph_of"]
