"""Order: the statements of a program, each after those that it names."""

from __future__ import annotations

from thalweg._errors import FormulaError
from thalweg.symbolic import Call, Program, Statement, text_of_name


def in_order(program: Program) -> list[Statement]:
    """The statements, each after those that it names; otherwise as written.

    Raises:
        FormulaError: if some name one another in a circle.
    """
    statements = {statement.name: statement for statement in program}
    order: list[Statement] = []
    state: dict[str, str] = {}
    for first in program:
        waiting = [first.name]
        while waiting:
            name = waiting[-1]
            if state.get(name) == "done":
                waiting.pop()
                continue
            needed = [n for n in needs_of(statements[name]) if n in statements]
            open_ = [n for n in needed if state.get(n) != "done"]
            state[name] = "open"
            if not open_:
                state[name] = "done"
                order.append(statements[name])
                waiting.pop()
            elif any(state.get(n) == "open" for n in open_):
                circle = next(n for n in open_ if state.get(n) == "open")
                raise FormulaError(
                    f"line {statements[name].line}: {text_of_name(name)} needs "
                    f"{text_of_name(circle)}, which needs {text_of_name(name)} itself; give one "
                    f"of them a value"
                )
            else:
                waiting.append(open_[0])
    return order


def needs_of(statement: Statement) -> list[str]:
    """The names in a statement, functions included."""
    called = {n.function for n in statement.expression.walk() if isinstance(n, Call)}
    return sorted(statement.expression.names | called)
