"""A worked pass as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from thalweg.sheet._worked import WorkedPass


def record_of(worked: WorkedPass) -> dict[str, Any]:
    """Dictionaries and lists; numbers in full."""
    graph = worked.graph
    return {
        "generator": "thalweg",
        "title": worked.title,
        "text": worked.text,
        "loss": graph.loss,
        "nodes": [
            {
                "name": node.name,
                "operation": node.operation or ("constant" if node.is_constant else "given"),
                "formula": node.formula.text,
                "latex": f"{node.label.latex} = {node.formula.latex}",
                "inputs": list(node.inputs),
                "shape": list(node.shape),
                "value": node.value,
                "locals": [
                    {
                        "towards": local.towards,
                        "formula": local.formula.text,
                        "value": local.value,
                        "rule": local.rule.text,
                        "gradient": local.gradient,
                    }
                    for local in node.locals
                ],
                "gradient": node.gradient if node.takes_gradient else None,
                "paths": [{"through": p.through, "gradient": p.gradient} for p in node.paths],
                "line": node.line,
                "origin": node.origin,
                "note": node.note,
            }
            for node in graph.nodes
        ],
        "checked": {
            "by": "torch autograd in float64",
            "numbers": graph.num_checked,
            "within_rounding_only": graph.num_rounded,
            "largest_relative_difference": graph.deviation,
        },
        "remarks": [remark.text for remark in worked.remarks],
        "alternatives": worked.alternatives,
    }
