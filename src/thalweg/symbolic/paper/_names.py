"""Names: a letter with all that stands below, above and behind it."""

from __future__ import annotations

import re

from thalweg.symbolic._expression import Name
from thalweg.symbolic._spelling import normalised
from thalweg.symbolic.paper._pieces import Mark
from thalweg.symbolic.paper._place import Place

INDEX = re.compile(r"\d+|[a-zA-Z]([+-]\d+)?|new|old|neu|alt")
"""What in brackets above a letter counts layers, steps or samples."""

_VERSIONS = ("+", "*", "'", "new", "old", "neu", "alt", "nouveau", "next", "prev")


class Names:
    """Reads names.

    Args:
        place: where they stand.
    """

    def __init__(self, place: Place) -> None:
        self._place = place

    def indexed(self, stem: str) -> Name:
        """A name whose letter has been taken, with what belongs to it."""
        place = self._place
        parts: list[str] = []
        above = ""
        while (now := place.now) is not None:
            if now.mark is Mark.NUMBER and not now.is_apart and now.text.isdigit() and not parts:
                before = place.pieces[place.at - 1]
                if before.mark not in (Mark.WORD, Mark.NAME):
                    break
                parts.append(now.text)
                place.at += 1
            elif now.mark is not Mark.SIGN:
                break
            elif now.text.startswith("_"):
                parts.append(self.lowered())
            elif stem == "e" and place.hand.is_plain and not place.known.is_value("e"):
                # e^(a) is a power where e is no quantity of the page.
                break
            elif (index := self._index_above()) is not None:
                above += f"^{index}"
            elif now.text in ("'", "''") and not place.opens_arguments(1):
                place.at += 1
                above += now.text
            else:
                break
        name = "_".join((stem, *(part for part in parts if part)))
        return Name(normalised(name) + above)

    def _index_above(self) -> str | None:
        """Takes the (1) of W^{(1)}, the [l] of a^{[l]}, the new of w^{new}; None if a power."""
        place = self._place
        now = place.now
        assert now is not None, "a piece stands here"
        if now.text.startswith("^("):
            index = now.text[2:].rstrip(")")
            if not INDEX.fullmatch(index):
                return None
            place.at += 1
            return index
        if now.text != "^":
            return None
        end = place.after(place.at + 1)
        inside = place.pieces[place.at + 1 : min(end, place.end)]
        if inside and inside[0].is_sign("{"):
            inside = inside[1:-1]
        elif inside and inside[0].is_sign("(", "[") and (place.at + 1) in place.matches:
            end = place.matches[place.at + 1] + 1
            inside = place.pieces[place.at + 1 : end]
        shown = "".join(p.text for p in inside)
        if re.fullmatch(r"[(\[].*[)\]]|\\\{.*\\\}", shown):
            index = shown.strip("()[]\\{}")
            if not INDEX.fullmatch(index):
                return None
        elif shown in _VERSIONS:
            index = shown
        else:
            return None
        if index == "'" and place.opens_arguments(end - place.at):
            return None
        place.at = end
        return index

    def lowered(self) -> str:
        """Takes what stands below a name, as text."""
        place = self._place
        now = place.now
        assert now is not None, "a piece stands here"
        place.at += 1
        if now.text != "_":
            return now.text[1:]
        now = place.now
        if now is None:
            raise place.refuse()
        if now.is_sign("{"):
            return self._lowered_group()
        if now.mark is Mark.WORD and len(now.text) == 2 and not place.hand.is_plain:
            following = place.peek()
            if following is not None and following.is_sign("_", "^", "("):
                place.split(1)
                return now.text[0]
        if now.is_sign("+", "-", "±"):
            place.at += 1
            return now.text
        if now.mark is Mark.STYLE:
            start, place.at = place.at + 1, place.after(place.at + 1)
            return place.shown(start, place.at)
        if now.mark not in (Mark.WORD, Mark.NUMBER, Mark.NAME, Mark.TEXT):
            raise place.refuse()
        place.at += 1
        return now.text

    def _lowered_group(self) -> str:
        inside = self._place.pieces[slice(*self._place.enclosed())]
        shown = "".join(
            p.text.replace(" ", "_") for p in inside
            if p.mark is not Mark.STYLE and not p.is_sign("{", "}", "_", "|")
        )  # fmt: skip
        if any(p.mark in (Mark.OPEN, Mark.COMMAND, Mark.RELATION) for p in inside):
            raise self._place.refuse(f"the index {shown!r}")
        # w_{1,1} and w_{11} are one name.
        return re.sub(r"(?<=\d),(?=\d)", "", shown)
