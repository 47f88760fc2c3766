"""JSON schema of a result, from the types of its fields: what `to_jsonable` makes of each."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from torch import Tensor

from thalweg._untold import is_told
from thalweg.report._json import AS_TEXT

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_NUMBER: Schema = {
    "description": "a number; those that JSON lacks are spelled",
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
}
_ENTRIES: Schema = {
    "description": "the entries of an array, nested as its dimensions are",
    "anyOf": [
        {"$ref": "#/$defs/number"},
        {"type": "boolean"},
        {"type": "array", "items": {"$ref": "#/$defs/entries"}},
    ],
}
_SUMMARY: Schema = {
    "description": "an array with more entries than are written out",
    "type": "object",
    "properties": {
        "shape": {"type": "array", "items": {"type": "integer"}},
        "dtype": {"type": "string"},
        "min": {"description": "least finite entry", "$ref": "#/$defs/extreme"},
        "max": {"description": "greatest finite entry", "$ref": "#/$defs/extreme"},
        "num_nonfinite": {"type": "integer"},
    },
    "required": ["shape", "dtype"],
}
_EXTREME: Schema = {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]}
_ARRAY: Schema = {"anyOf": [{"$ref": "#/$defs/entries"}, {"$ref": "#/$defs/summary"}]}

_SHARED: dict[str, Schema] = {
    "number": _NUMBER, "entries": _ENTRIES, "extreme": _EXTREME, "summary": _SUMMARY,
    "array": _ARRAY,
}  # fmt: skip

_PLAIN: dict[Any, Schema] = {
    bool: {"type": "boolean"}, int: {"type": "integer"}, str: {"type": "string"},
    NoneType: {"type": "null"}, float: {"$ref": "#/$defs/number"},
}  # fmt: skip


def schema_of(kind: type, name: str, properties: Collection[str] = ()) -> Schema:
    """The JSON schema, draft 2020-12, of a document that tells a result.

    What is not listed is allowed, so that a later version may say more.

    Args:
        kind: a dataclass.
        name: of the schema with its version, such as `thalweg/spectrum/1`.
        properties: of `kind` that are told besides its fields.

    Returns:
        The schema, with the docstrings' descriptions, as plain values.

    Raises:
        TypeError: if a field's type is none that `to_jsonable` tells.
    """
    walk = _Walk()
    head: Schema = {
        "schema": {"description": "name and version of this schema", "const": name},
        "version": {"description": "of the thalweg that wrote it", "type": "string"},
    }
    body = walk.body(kind, properties)
    return {
        "$schema": DIALECT,
        "$id": f"urn:{name.replace('/', ':')}",
        "title": name,
        **body,
        "properties": head | body["properties"],
        "required": [*head, *body["required"]],
        "$defs": {each: walk.definitions[each] for each in sorted(walk.definitions)} | _SHARED,
    }


def schema_of_list(kind: type, name: str) -> Schema:
    """The JSON schema of a document that is a list of results.

    Args:
        kind: of the entries, a dataclass.
        name: of the schema with its version.

    Example:
        >>> from thalweg.report import Fact
        >>> schema_of_list(Fact, "thalweg/facts/1")["type"]
        'array'
    """
    walk = _Walk()
    items = walk.body(kind)
    return {
        "$schema": DIALECT,
        "$id": f"urn:{name.replace('/', ':')}",
        "title": name,
        "type": "array",
        "items": items,
        "$defs": walk.definitions | _SHARED,
    }


class _Walk:
    """Goes down the types, and defines each dataclass once."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def body(self, kind: type, properties: Collection[str] = ()) -> Schema:
        """An object with the fields of a dataclass."""
        said, hints = _said(kind), get_type_hints(kind, include_extras=True)
        told: dict[str, Schema] = {}
        for name in properties:
            getter = inspect.getattr_static(kind, name).fget
            returned = get_type_hints(getter, include_extras=True)["return"]
            told[name] = self._described(returned, _sentence(getter))
        own: tuple[Field[Any], ...] = fields(kind)
        for each in own:
            if is_told(each):
                told[each.name] = self._described(hints[each.name], said.get(each.name, ""))
        return {
            "description": _sentence(kind),
            "type": "object",
            "properties": told,
            "required": list(told),
        }

    def _described(self, hint: Any, description: str) -> Schema:
        schema = self._of(hint)
        return {"description": description, **schema} if description else schema

    def _of(self, hint: Any) -> Schema:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._of(arguments[0])
        if hint in _PLAIN:
            return dict(_PLAIN[hint])
        if hint is Any:
            return {}
        if origin in (Union, UnionType):
            return _any_of([self._of(each) for each in arguments])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin is not None:
            return self._of_many(origin, arguments)
        if not isinstance(hint, type):
            raise TypeError(f"no schema for {hint!r}")
        if _is_array(hint):
            return {"$ref": "#/$defs/array"}
        if issubclass(hint, Enum):
            return {"enum": [each.value for each in hint]}
        if is_dataclass(hint):
            return self._defined(hint)
        # Paths, dtypes and fractions as text; functions and other objects by name.
        if issubclass(hint, AS_TEXT) or hint.__module__.startswith("thalweg."):
            return {"type": "string"}
        raise TypeError(f"no schema for {hint!r}")

    def _of_many(self, origin: Any, arguments: tuple[Any, ...]) -> Schema:
        if origin is Callable:
            return {"type": "string"}
        if issubclass(origin, Mapping):
            return {"type": "object", "additionalProperties": self._of(arguments[1])}
        if issubclass(origin, np.ndarray):
            return {"$ref": "#/$defs/array"}
        if origin is tuple and arguments[-1:] != (...,):
            return {
                "type": "array",
                "prefixItems": [self._of(each) for each in arguments],
                "minItems": len(arguments),
                "maxItems": len(arguments),
            }
        return {"type": "array", "items": self._of(arguments[0])}

    def _defined(self, kind: type) -> Schema:
        """A reference; a dataclass may hold others of its own kind."""
        name = kind.__name__
        if name in self.definitions and self.definitions[name]["title"] != kind.__qualname__:
            raise TypeError(f"two classes are called {name}")
        if name not in self.definitions:
            self.definitions[name] = {"title": kind.__qualname__}
            self.definitions[name] |= self.body(kind)
        return {"$ref": f"#/$defs/{name}"}


def _any_of(schemas: list[Schema]) -> Schema:
    return {"anyOf": schemas}


def _is_array(hint: type) -> bool:
    """A tensor or array, also one with a shape of jaxtyping's."""
    return issubclass(getattr(hint, "array_type", hint), (Tensor, np.ndarray, np.generic))


def _sentence(value: Any) -> str:
    """The first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def _said(kind: type) -> dict[str, str]:
    """What a docstring says about each field."""
    _, _, listed = (
        (inspect.getdoc(kind) or "").replace("Attributes:\n", "Args:\n").partition("Args:\n")
    )
    block = re.split(r"\n(?=\S)", listed)[0]
    entries = re.split(r"^ {4}(?=\w+: )", block, flags=re.MULTILINE)[1:]
    pairs = (entry.partition(": ") for entry in entries)
    return {name: " ".join(text.split()) for name, _, text in pairs}
