"""Words: letters side by side: a derivative, a function, one name, or factors."""

from __future__ import annotations

from thalweg.symbolic._expression import Expression, Name
from thalweg.symbolic._spelling import GREEK, normalised
from thalweg.symbolic.paper._derivatives import Derivatives
from thalweg.symbolic.paper._functions import Functions
from thalweg.symbolic.paper._names import Names
from thalweg.symbolic.paper._pieces import Piece
from thalweg.symbolic.paper._place import Place
from thalweg.symbolic.paper._prose import PROSE

_GREEK = frozenset(GREEK.values())


class Words:
    """Reads letters that no command sets.

    Args:
        place: where they stand.
        names: by which an index is read.
        functions: by which arguments are read.
        derivatives: which a d may begin.
    """

    def __init__(
        self, place: Place, names: Names, functions: Functions, derivatives: Derivatives
    ) -> None:
        self._place = place
        self._names = names
        self._functions = functions
        self._derivatives = derivatives

    def word(self, word: Piece) -> Expression:
        """What the word that stands here is, or its first letter, where its letters are factors."""
        place, text = self._place, word.text
        if text[0] == "d":
            derivative = self._derivatives.word()
            if derivative is not None:
                return derivative
        if self._functions.is_word(text):
            place.at += 1
            return self._functions.call(text)
        name = normalised(text)
        if len(text) == 1 or place.known.is_value(name) or text in _GREEK:
            return self._whole(name)
        after = place.peek()
        if text in ("net", "out", "err") or (
            len(text) == 3 and after is not None and after.text.startswith("_")
        ):
            # net_{h1} is a name; wx_1 is a product.
            return self._whole(name)
        if text.lower() in PROSE:
            raise place.refuse(f"the word {text!r}")
        if place.hand.is_plain or len(text) > 3:
            return self._whole(name)
        place.split(1)
        return Name(text[0])

    def _whole(self, name: str) -> Expression:
        self._place.at += 1
        return self._functions.after_name(self._names.indexed(name))
