"""Run-time checks of the shapes and types in thalweg's annotations, for the tests alone."""

import ast

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook
from jaxtyping._import_hook import JaxtypingTransformer

# As the type system has it, an int may stand for a float.
outermost_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_annotations() -> None:
    """From here on, functions that are imported from thalweg are checked; call it before that.

    Functions inside functions are left alone: jaxtyping would compile a checker for them at every
    call of the outer one, which makes the tests five times slower.
    """
    visit = JaxtypingTransformer.visit_FunctionDef

    def visit_outermost(self: JaxtypingTransformer, node: ast.FunctionDef) -> ast.FunctionDef:
        is_inner = any(isinstance(parent, ast.FunctionDef) for parent in self._parents)
        return node if is_inner else visit(self, node)

    JaxtypingTransformer.visit_FunctionDef = visit_outermost
    # Bytecode is cached under this name: change it with the above.
    install_import_hook("thalweg", "typed.outermost_checked")
