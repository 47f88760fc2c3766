"""Tone: whether something shown is good news, bad news or undecided."""

from enum import Enum


class Tone(Enum):
    """Drives a colour, an icon and a word together, never the colour alone."""

    GOOD = "good"
    BAD = "bad"
    UNSURE = "unsure"
    PLAIN = "plain"

    @property
    def word(self) -> str:
        """The word that stands beside the colour; "" for PLAIN."""
        return _WORDS[self]


_WORDS = {Tone.GOOD: "good", Tone.BAD: "problem", Tone.UNSURE: "undecided", Tone.PLAIN: ""}
