"""Run-time checks of the shapes and types in thalweg's annotations, for the tests alone."""

import ast
import importlib.util
from pathlib import Path

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook
from jaxtyping._import_hook import JaxtypingTransformer

# As the type system has it, an int may stand for a float.
outermost_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_annotations() -> None:
    """Functions imported from here on, from rooms that name shapes, are checked; call it early.

    The other rooms are left to mypy: what they say of types it knows as well, and a check at each
    call makes their tests ten times slower.
    Functions inside functions are left alone: jaxtyping would compile a checker for them at every
    call of the outer one, which makes the tests five times slower.
    """
    visit = JaxtypingTransformer.visit_FunctionDef

    def visit_outermost(self: JaxtypingTransformer, node: ast.FunctionDef) -> ast.FunctionDef:
        is_inner = any(isinstance(parent, ast.FunctionDef) for parent in self._parents)
        return node if is_inner else visit(self, node)

    JaxtypingTransformer.visit_FunctionDef = visit_outermost
    # Bytecode is cached under this name: change it with the above.
    install_import_hook(rooms_with_shapes(), "typed.outermost_checked")


def rooms_with_shapes() -> list[str]:
    """The modules right under thalweg where some annotation is of jaxtyping."""
    (root,) = importlib.util.find_spec("thalweg").submodule_search_locations
    return [
        f"thalweg.{place.stem}"
        for place in sorted(Path(root).iterdir())
        if any("jaxtyping" in file.read_text() for file in _sources(place))
    ]


def _sources(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place] * (place.suffix == ".py")
