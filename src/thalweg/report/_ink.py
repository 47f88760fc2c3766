"""Ink: the colours a figure may name; what they are is decided where the page is shown."""

from enum import StrEnum


class Ink(StrEnum):
    """A colour of the page's palette, usable wherever Plotly takes a colour.

    The hues are those of Okabe and Ito (2008), darkened or lightened so that each has a contrast
    of at least 3 : 1 with the page in light and in dark mode. Roles are the same in every room.

    Source: M. Okabe and K. Ito, "Color Universal Design", 2008.
    """

    TEXT = "var(--text)"
    GREY = "var(--grey)"
    BLUE = "var(--blue)"
    VERMILION = "var(--vermilion)"
    GREEN = "var(--green)"
    PURPLE = "var(--purple)"
    ORANGE = "var(--orange)"

    MEASURED = BLUE
    PREDICTED = GREY
    BEFORE = VERMILION
    AFTER = BLUE

    @property
    def faint(self) -> str:
        """The same colour for areas behind lines."""
        return self.value.replace(")", "-faint)")
