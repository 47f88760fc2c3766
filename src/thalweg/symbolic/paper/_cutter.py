r"""Cutter: mathematics as people write it, LaTeX or plain, cut into pieces."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

from thalweg.symbolic._spelling import GREEK
from thalweg.symbolic.paper import _commands, _signs
from thalweg.symbolic.paper._numbers import number_at
from thalweg.symbolic.paper._pieces import Hand, Mark, Piece
from thalweg.symbolic.paper._prose import PROSE

_SPACE = re.compile(r"(?:\s|\\[,;:!> ]|~(?!=)|[\u2009\u202f\u00a0])+")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{\s*([A-Za-z]+\*?)\s*\}")
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_LETTERS = re.compile(r"[A-Za-z]+")
_PLAIN_NAME = re.compile(r"[A-Za-z]+(?:_?[A-Za-z0-9]+)*")
_LOST = frozenset(("times", "approx", "partial", "nabla", "odot", "leq", "geq", "neq"))
"""Commands that are no words of mathematics without their backslash."""

_GROUP = re.compile(r"\s*\{[^{}]*\}")
_OPENING = re.compile(r"\s*\{")
_UP_TO_CLOSING = re.compile(r"[^{}]*\}")
_ROW_SPACE = re.compile(r"\*?(?:\[[^\]\n]{0,12}(?:pt|em|ex|mm|cm)\])?")


def pieces_of(text: str, hand: Hand) -> list[Piece]:
    r"""Cuts written mathematics into pieces; what means nothing becomes a COMMAND or a SIGN.

    Args:
        text: without the dollars around it.
        hand: how numbers are written.

    Returns:
        The pieces, in order. Linear in the length of the text.

    Example:
        >>> [piece.text for piece in pieces_of(r"z = 4 \cdot 1{,}5", Hand(has_comma=True))]
        ['z', '=', '4', '*', '1.5']
    """
    return _Cutter(text, hand).cut()


class _Cutter:
    """Walks along a text; each rule takes what stands here, or leaves it to the next."""

    def __init__(self, text: str, hand: Hand) -> None:
        self._text = text
        self._hand = hand
        self._at = 0
        self._is_apart = True
        self._found: list[Piece] = []

    def cut(self) -> list[Piece]:
        rules: tuple[Callable[[], bool], ...] = (
            self._space, self._environment, self._command, self._number, self._word, self._other,
        )  # fmt: skip
        while self._at < len(self._text):
            for rule in rules:
                if rule():
                    break
        return self._found

    def _add(self, mark: Mark, text: str, end: int) -> bool:
        self._found.append(Piece(mark, text, self._at, end, self._is_apart))
        self._at = end
        self._is_apart = False
        return True

    def _pass(self, end: int) -> bool:
        """Goes on behind what means nothing."""
        self._at = end
        return True

    def _space(self) -> bool:
        found = _SPACE.match(self._text, self._at)
        if found is None:
            return False
        self._is_apart = True
        return self._pass(found.end())

    def _environment(self) -> bool:
        if not self._text.startswith("\\", self._at):
            return False
        found = _ENVIRONMENT.match(self._text, self._at)
        if found is None:
            return False
        end = found.end()
        name = found[2].rstrip("*")
        if found[1] == "begin" and name in ("array", "alignat", "alignedat", "tabular"):
            end = self._after_group(end)
        return self._add(Mark.OPEN if found[1] == "begin" else Mark.CLOSE, name, end)

    def _after_group(self, at: int) -> int:
        """The place after a {group} that may stand here; nested groups are none."""
        found = _GROUP.match(self._text, at)
        return found.end() if found else at

    def _command(self) -> bool:
        found = _COMMAND.match(self._text, self._at)
        if found is None:
            return self._text[self._at] == "\\" and self._pass(self._at + 1)
        name, end = found[1], found.end()
        if name == "\\":
            spacing = _ROW_SPACE.match(self._text, end)
            return self._add(Mark.ROW, r"\\", spacing.end() if spacing else end)
        if name in _commands.IGNORED or name == "\n":
            if name in ("left", "right") and self._text.startswith(".", end):
                return self._add(Mark.COMMAND, name + ".", end + 1)
            self._is_apart = True
            return self._pass(end)
        if name in _commands.SWALLOWING:
            return self._pass(self._after_group(end))
        if name in _commands.WORDS:
            return self._words(end)
        if name in _commands.SIGNS:
            return self._add(Mark.SIGN, _commands.SIGNS[name], end)
        if name in _commands.RELATIONS:
            return self._add(Mark.RELATION, _commands.RELATIONS[name], end)
        if name in _commands.BREAKS:
            return self._add(Mark.BREAK, "quad" if name.endswith("quad") else "⇒", end)
        if name in _commands.LETTERS:
            return self._add(Mark.NAME, _commands.LETTERS[name], end)
        if name in _commands.STYLES:
            if name in ("textcolor", "colorbox"):
                end = self._after_group(end)
            return self._add(Mark.STYLE, name, end)
        return self._add(Mark.COMMAND, name, end)

    def _words(self, end: int) -> bool:
        r"""The words of a \text{…}; a single word may be a name, and mathematics in it is read."""
        opening = _OPENING.match(self._text, end)
        if opening is None:
            return self._pass(end)
        found = _UP_TO_CLOSING.match(self._text, opening.end())
        if found is None:  # Groups within: the parser sees them one by one.
            return self._add(Mark.STYLE, "text", end)
        inside = found[0][:-1].strip()
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", inside):
            if inside.lower() in PROSE:
                return self._add(Mark.TEXT, inside, found.end())
            return self._add(Mark.NAME, inside, found.end())
        if re.fullmatch(r"[\d.,\s+\-=]+|[.,;:]*", inside):
            return self._pass(opening.end() - 1)
        return self._add(Mark.TEXT, inside, found.end())

    def _number(self) -> bool:
        found = number_at(self._text, self._at, self._hand)
        return found is not None and self._add(*found)

    def _word(self) -> bool:
        letter = self._text[self._at]
        found = None
        if self._hand.is_plain and letter.isalpha() and letter not in _signs.SPECIAL_LETTERS:
            found = _PLAIN_NAME.match(self._text, self._at)
        found = found or _LETTERS.match(self._text, self._at)
        if found is not None and self._has_lost_backslash(found[0], found.end()):
            return self._known_command(found[0], found.end())
        return found is not None and self._add(Mark.WORD, found[0], found.end())

    def _has_lost_backslash(self, word: str, end: int) -> bool:
        r"""Whether a reader of print has left out the \ of a command: frac{1}{2}, 4 cdot 1.5."""
        if word == "frac":
            return self._text[end : end + 1] == "{"
        return word == "cdot" or (not self._hand.is_plain and word in _LOST)

    def _known_command(self, name: str, end: int) -> bool:
        if name in _commands.SIGNS:
            return self._add(Mark.SIGN, _commands.SIGNS[name], end)
        if name in _commands.RELATIONS:
            return self._add(Mark.RELATION, _commands.RELATIONS[name], end)
        return self._add(Mark.COMMAND, name, end)

    def _other(self) -> bool:
        text, at = self._text, self._at
        for length in (3, 2):
            if text[at : at + length] in _signs.LONG_BREAKS:
                return self._add(Mark.BREAK, "⇒", at + length)
        if (part := text[at : at + 2]) == "!=" and self._is_behind_number():
            return self._add(Mark.SIGN, "!", at + 1)
        if part in _signs.LONG_RELATIONS:
            return self._add(Mark.RELATION, _signs.LONG_RELATIONS[part], at + 2)
        if part in _signs.LONG_SIGNS:
            return self._add(Mark.SIGN, _signs.LONG_SIGNS[part], at + 2)
        if text.startswith("...", at):
            return self._add(Mark.SIGN, "…", at + 3)
        letter = text[at]
        if letter in _signs.RELATIONS:
            return self._add(Mark.RELATION, _signs.RELATIONS[letter], at + 1)
        if letter in _signs.BREAKS:
            return self._add(Mark.BREAK, "⇒", at + 1)
        if letter in ",;":
            return self._add(Mark.BREAK, letter, at + 1)
        if letter == "&":
            return self._add(Mark.CELL, "&", at + 1)
        if letter in _signs.RAISED:
            return self._shifted("^", _signs.RAISED)
        if letter in _signs.RAISED_LETTERS:
            return self._add(Mark.SIGN, f"^{_signs.RAISED_LETTERS[letter]}", at + 1)
        if letter in _signs.LOWERED:
            return self._shifted("_", _signs.LOWERED)
        if letter in _signs.SIGNS:
            return self._add(Mark.SIGN, _signs.SIGNS[letter], at + 1)
        return self._letter(letter)

    def _is_behind_number(self) -> bool:
        """5!=120 is a factorial; x != 3 is none."""
        last = self._found[-1] if self._found else None
        return (
            last is not None
            and last.mark is Mark.NUMBER
            and last.text.isdigit()
            and not self._is_apart
        )

    def _shifted(self, sign: str, letters: str) -> bool:
        """Digits above or below a letter, by ^ or _ before them."""
        end = self._at
        while end < len(self._text) and self._text[end] in letters:
            end += 1
        shown = unicodedata.normalize("NFKC", self._text[self._at : end]).replace("−", "-")
        return self._add(Mark.SIGN, f"{sign}{shown}", end)

    def _letter(self, letter: str) -> bool:
        """A letter outside of ASCII: Greek, ½, ŷ, mathematical italics."""
        end = self._at + 1
        plain = unicodedata.normalize("NFKC", letter)
        if "⁄" in plain:
            over, under = plain.split("⁄")
            return self._add(Mark.COMMAND, f"frac {over} {under}", end)
        while end < len(self._text) and unicodedata.category(self._text[end]) == "Mn":
            plain += self._text[end]
            end += 1
        parts = unicodedata.normalize("NFD", plain)
        stem, marks = parts[:1], parts[1:]
        stem = GREEK.get(stem, stem)
        if stem == "ℓ":
            stem = "ell"
        accents = "".join(f"_{_signs.ACCENTS[mark]}" for mark in marks if mark in _signs.ACCENTS)
        if stem.isalpha() and stem.isascii():
            return self._add(Mark.NAME, stem + accents, end)
        return self._add(Mark.COMMAND, letter, end)
