r"""Paper's tokens: mathematics as people write it, LaTeX or plain, cut into pieces with places."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from thalweg.symbolic._spelling import GREEK


class Mark(Enum):
    """What a piece is."""

    NUMBER = "number"
    CUT = "number with dots after it"
    WORD = "letters"
    NAME = "letter of a name"
    STYLE = "command before what it sets"
    COMMAND = "another command"
    SIGN = "sign"
    RELATION = "relation"
    BREAK = "end of a statement"
    ROW = "end of a row"
    CELL = "end of a cell"
    TEXT = "words"
    OPEN = "begin of an environment"
    CLOSE = "end of an environment"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of written mathematics.

    Args:
        mark: what it is.
        text: in plain letters: a decimal point, - for −, * for ·, names of Greek letters.
        start: its place in the text, from 0.
        end: where it ends.
        is_apart: whether a space stands before it.
    """

    mark: Mark
    text: str
    start: int
    end: int
    is_apart: bool

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs."""
        return self.mark is Mark.SIGN and self.text in signs


_SIGN_COMMANDS = {
    "cdot": "*", "times": "*", "ast": "*", "star": "*", "bullet": "*", "div": "/", "odot": "⊙",
    "circ": "⊙", "otimes": "⊗", "pm": "±", "mp": "±", "lvert": "|", "rvert": "|", "vert": "|",
    "mid": "|", "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "langle": "⟨", "rangle": "⟩",
    "prime": "'", "top": "ᵀ", "intercal": "ᵀ", "transpose": "ᵀ", "trans": "ᵀ", "dots": "…",
    "ldots": "…", "cdots": "…", "dotsc": "…", "dotsb": "…", "vdots": "…", "ddots": "…",
    "partial": "∂", "nabla": "∇", "sum": "∑", "prod": "∏", "%": "%", "lbrace": r"\{",
    "rbrace": r"\}", "{": r"\{", "}": r"\}", "lbrack": "[", "rbrack": "]", "_": "_",
    "slash": "/", "colon": ":", "lparen": "(", "rparen": ")", "setminus": "\\",
}  # fmt: skip
_RELATION_COMMANDS = {
    "approx": "≈", "thickapprox": "≈", "approxeq": "≈", "simeq": "≈", "cong": "≈", "doteq": "≈",
    "fallingdotseq": "≈", "equiv": "=", "triangleq": "=", "coloneqq": ":=", "coloneq": ":=",
    "eqqcolon": "=", "leftarrow": ":=", "gets": ":=", "longleftarrow": ":=", "le": "≤",
    "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "lt": "<", "gt": ">",
    "ll": "<", "gg": ">", "ne": "≠", "neq": "≠", "in": "∈", "notin": "∉", "propto": "∝",
    "sim": "~", "ni": "∋", "subset": "⊂", "subseteq": "⊂", "hateq": "=", "stackrel": "stackrel",
    "overset": "stackrel", "eq": "=",
}  # fmt: skip
_BREAK_COMMANDS = frozenset(
    [
        "quad",
        "qquad",
        "Rightarrow",
        "implies",
        "Longrightarrow",
        "Leftrightarrow",
        "iff",
        "Longleftrightarrow",
        "therefore",
        "because",
        "rightarrow",
        "to",
        "longrightarrow",
        "mapsto",
        "longmapsto",
        "land",
        "wedge",
        "lor",
        "vee",
        "hookrightarrow",
        "rightsquigarrow",
        "leadsto",
        "Leftarrow",
        "impliedby",
    ]
)
_IGNORED = frozenset(
    [
        "left",
        "right",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "biggl",
        "biggr",
        "Biggl",
        "Biggr",
        "bigm",
        "Bigm",
        "middle",
        "displaystyle",
        "textstyle",
        "scriptstyle",
        "limits",
        "nolimits",
        "nonumber",
        "notag",
        "hfill",
        "allowbreak",
        "checkmark",
        "square",
        "blacksquare",
        "Box",
        "qedhere",
        "rm",
        "bf",
        "it",
        "cal",
        "mathstrut",
        "strut",
        "thinspace",
        "medspace",
        "thickspace",
        "negthinspace",
        "enspace",
        "hline",
        "centering",
        "noindent",
        "small",
        "large",
        "Large",
        "tiny",
        "normalsize",
        "smallskip",
        "medskip",
        "bigskip",
        "newline",
        "par",
        ",",
        ";",
        ":",
        "!",
        ">",
        "/",
        "-",
        "@",
        "(",
        ")",
        "[",
        "]",
    ]
)
_SWALLOWING = frozenset(
    [
        "label",
        "tag",
        "ref",
        "eqref",
        "color",
        "hspace",
        "vspace",
        "phantom",
        "hphantom",
        "vphantom",
        "kern",
        "cite",
        "footnote",
        "mspace",
        "mathchoice",
        "rule",
        "require",
        "newcommand",
        "definecolor",
        "hskip",
    ]
)
_WORDS = frozenset(
    [
        "text",
        "textbf",
        "textit",
        "textrm",
        "textsf",
        "texttt",
        "mbox",
        "textup",
        "textnormal",
        "emph",
    ]
)
STYLES = frozenset(
    [
        "mathbf",
        "boldsymbol",
        "bm",
        "mathcal",
        "mathit",
        "mathsf",
        "mathtt",
        "mathbb",
        "vec",
        "underline",
        "boxed",
        "fbox",
        "cancel",
        "bcancel",
        "xcancel",
        "mathrm",
        "operatorname",
        "mathop",
        "mathfrak",
        "mathscr",
        "ensuremath",
        "pmb",
        "mathbfit",
        "textcolor",
        "colorbox",
        "bold",
        "overrightarrow",
        "overset",
        "mathnormal",
        "smash",
        "mathord",
        "mathbin",
    ]
)
"""Commands that only say how the group after them looks."""
_GREEK_NAMES = frozenset(GREEK.values())
_VARIANTS = {"varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varrho": "rho",
             "varsigma": "sigma", "ell": "ell", "infty": "infinity", "imath": "i",
             "jmath": "j", "hbar": "hbar"}  # fmt: skip

_PLAIN_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "·": "*", "⋅": "*",
    "∙": "*", "×": "*", "∗": "*", "•": "*", "✕": "*", "✖": "*", "*": "*", "÷": "/", "∕": "/",
    "⁄": "/", "⊙": "⊙", "∘": "⊙", "◦": "⊙", "⊗": "⊗", "ᵀ": "ᵀ", "⊤": "ᵀ", "‖": "‖", "∥": "‖",
    "√": "√", "′": "'", "’": "'", "‘": "'", "'": "'", "`": "'", "″": "''", "∂": "∂", "∇": "∇",
    "∑": "∑", "∏": "∏", "±": "±", "%": "%", "…": "…", "[": "[", "]": "]", "(": "(", ")": ")",
    "{": "{", "}": "}", "+": "+", "-": "-", "/": "/", "^": "^", "_": "_", "@": "@", "|": "|",
    "!": "!", "⟨": "⟨", "⟩": "⟩", ":": ":", ".": ".", "?": "?", "<": "<", ">": ">", "°": "°",
}  # fmt: skip
_PLAIN_RELATIONS = {
    "=": "=", "≈": "≈", "≃": "≈", "≅": "≈", "≐": "≈", "≡": "=", "≔": ":=", "≜": "=", "←": ":=",
    "≤": "≤", "≥": "≥", "<": "<", ">": ">", "≠": "≠", "∈": "∈", "∝": "∝", "∼": "~", "≪": "<",
    "≫": ">", "＝": "=", "≟": "=", "⩽": "≤", "⩾": "≥",
}  # fmt: skip
_LONG_RELATIONS = {
    ":=": ":=", "==": "=", "~=": "≈", "=~": "≈", "<=": "≤", ">=": "≥", "!=": "≠", "<-": ":=",
    "≈=": "≈",
}  # fmt: skip
_BREAKS = {"⇒", "→", "⇔", "⟹", "⟶", "↦", "∧", "∴", "⟺", "➔", "➜", "➡"}
_LONG_BREAKS = {"=>", "->", "<=>", "==>", "-->"}
_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾"
_RAISED_LETTERS = {"ⁿ": "n", "ⁱ": "i", "ᵗ": "t", "ᵏ": "k", "ˡ": "l", "⁺": "+"}
_LOWERED = "₀₁₂₃₄₅₆₇₈₉₊₋ᵢⱼₖₗₘₙₒₚₜₓₐₑₕₛ"

_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_LETTERS = re.compile(r"[A-Za-z]+")
_SPACE = re.compile(r"(?:\s|\\[,;:!> ]|~(?!=)|[\u2009\u202f\u00a0])+")
_ENVIRONMENT = re.compile(r"\\(begin|end)\s*\{\s*([A-Za-z]+\*?)\s*\}")
_MAX_NUMBER = 120

_POINT_NUMBER = re.compile(
    r"\d{1,3}(?:(?:\\,|\\;|[\u2009\u202f]|\{,\})\d{3})+(?!\d)(?:\.\d+)?"
    r"|\d{1,3}(?:,\d{3})+\.\d+"
    r"|\d*\.\d+(?:(?:\\,|[\u2009\u202f])\d{1,3})*|\d+"
)
_COMMA = r"(?:\{,\}|,)"
_COMMA_NUMBER = re.compile(
    rf"\d{{1,3}}(?:(?:\\,|\\;|[\u2009\u202f]|\.)\d{{3}})+(?!\d){_COMMA}\d+"
    r"|\d{1,3}(?:(?:\\,|\\;|[\u2009\u202f])\d{3})+(?!\d)"
    rf"|\d+{_COMMA}\d+(?:(?:\\,|[\u2009\u202f])\d{{1,3}})*|\d*\.\d+|\d+"
)
_BRACED_COMMA = re.compile(r"\d+\{,\}\d+")
_EXPONENT = re.compile(r"[eE]([+\-−–]?\d{1,5})(?![\d.A-Za-z])")
_BLURRED = re.compile(r"[\dOolI]*[.,][\dOolI]+")
"""A number in which a reader of print has taken 0 for O or 1 for l."""


@dataclass(frozen=True)
class Hand:
    """How a page writes numbers.

    Args:
        has_comma: a decimal comma, 0,5.
        is_plain: not LaTeX: letters side by side are one name.
    """

    has_comma: bool = False
    is_plain: bool = False


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

    def _space(self) -> bool:
        found = _SPACE.match(self._text, self._at)
        if found is None:
            return False
        self._at = found.end()
        self._is_apart = True
        return True

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
        found = re.compile(r"\s*\{[^{}]*\}").match(self._text, at)
        return found.end() if found else at

    def _command(self) -> bool:
        found = _COMMAND.match(self._text, self._at)
        if found is None:
            if self._text[self._at] == "\\":
                self._at += 1
                return True
            return False
        name, end = found[1], found.end()
        if name == "\\":
            spacing = re.compile(r"\*?(?:\[[^\]\n]{0,12}(?:pt|em|ex|mm|cm)\])?").match(
                self._text, end
            )
            return self._add(Mark.ROW, r"\\", spacing.end() if spacing else end)
        if name in _IGNORED or name == "\n":
            if name in ("left", "right") and self._text.startswith(".", end):
                return self._add(Mark.COMMAND, name + ".", end + 1)
            self._at = end
            self._is_apart = True
            return True
        if name in _SWALLOWING:
            self._at = self._after_group(end)
            return True
        if name in _WORDS:
            return self._words(end)
        if name in _SIGN_COMMANDS:
            return self._add(Mark.SIGN, _SIGN_COMMANDS[name], end)
        if name in _RELATION_COMMANDS:
            return self._add(Mark.RELATION, _RELATION_COMMANDS[name], end)
        if name in _BREAK_COMMANDS:
            return self._add(Mark.BREAK, "quad" if name.endswith("quad") else "⇒", end)
        if name in _GREEK_NAMES or name in _VARIANTS:
            return self._add(Mark.NAME, _VARIANTS.get(name, name), end)
        if name in STYLES:
            if name in ("textcolor", "colorbox"):
                end = self._after_group(end)
            return self._add(Mark.STYLE, name, end)
        return self._add(Mark.COMMAND, name, end)

    def _words(self, end: int) -> bool:
        r"""The words of a \\text{…}; a single word may be a name, and what is mathematics is read."""  # noqa: E501
        opening = re.compile(r"\s*\{").match(self._text, end)
        if opening is None:
            self._at = end
            return True
        found = re.compile(r"[^{}]*\}").match(self._text, opening.end())
        if found is None:  # Groups within: the parser sees them one by one.
            return self._add(Mark.STYLE, "text", end)
        inside = found[0][:-1].strip()
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", inside):
            if inside.lower() in PROSE:
                return self._add(Mark.TEXT, inside, found.end())
            return self._add(Mark.NAME, inside, found.end())
        if re.fullmatch(r"[\d.,\s+\-=]+|[.,;:]*", inside):
            self._at = opening.end() - 1
            return True
        return self._add(Mark.TEXT, inside, found.end())

    def _number(self) -> bool:
        text, at = self._text, self._at
        if not ("0" <= text[at] <= "9" or text[at] in ".OolI"):
            return False
        pattern = _COMMA_NUMBER if self._hand.has_comma else _POINT_NUMBER
        if _BRACED_COMMA.match(text, at):
            pattern = _COMMA_NUMBER
        blurred = self._blurred()
        if blurred is not None:
            shown, end = blurred
        else:
            found = pattern.match(text, at)
            if found is None or not found[0]:
                return False
            shown, end = self._joined(*self._plain_digits(found[0], found.end()))
        if exponent := _EXPONENT.match(text, end):
            shown += "e" + exponent[1].replace("−", "-").replace("–", "-")
            end = exponent.end()
        dots = re.compile(r"\s?(?:\\[lc]?dots(?![A-Za-z])|…|\.\.\.)").match(text, end)
        is_cut = dots is not None and "." in shown
        if is_cut and dots is not None:
            end = dots.end()
        if len(shown) > _MAX_NUMBER:
            return self._add(Mark.COMMAND, "a number of too many digits", end)
        return self._add(Mark.CUT if is_cut else Mark.NUMBER, shown, end)

    def _plain_digits(self, found: str, end: int) -> tuple[str, int]:
        shown = re.sub(r"\\[,;]|[\u2009\u202f]", "", found)
        if self._hand.has_comma or "{,}" in found:
            groups = shown.replace("{,}", ",")
            if re.fullmatch(r"\d{1,3}(,\d{3})+\.\d+", groups):
                return groups.replace(",", ""), end
            if "," in groups:
                return groups.replace(".", "").replace(",", "."), end
            return groups, end
        return shown.replace(",", ""), end

    def _joined(self, shown: str, end: int) -> tuple[str, int]:
        """Takes up what a reader of print has torn off: "0. 9975", "0 .9975"."""
        point = "," if self._hand.has_comma else "."
        if "." not in shown and shown.isdigit() and not self._hand.is_plain:
            torn = re.compile(
                rf"(?: ?{re.escape(point)} (?=\d)| {re.escape(point)}(?=\d))(\d+)"
            ).match(self._text, end)
            # "0. 9975" only: "3. 5" may be an item of a list, and "1, 5" two numbers.
            if torn and (shown == "0" if point == "." else False):
                return f"{shown}.{torn[1]}", torn.end()
        return shown, end

    def _blurred(self) -> tuple[str, int] | None:
        found = _BLURRED.match(self._text, self._at)
        if found is None or not re.search("[OolI]", found[0]) or not re.search(r"\d", found[0]):
            return None
        before = self._text[self._at - 1 : self._at]
        after = self._text[found.end() : found.end() + 1]
        if before.isalpha() or before == "\\" or after.isalpha():
            return None
        if "," in found[0] and not self._hand.has_comma:
            return None
        plain = found[0].translate(str.maketrans("OolI,", "0011."))
        return plain, found.end()

    def _word(self) -> bool:
        text, at = self._text, self._at
        letter = text[at]
        if self._hand.is_plain and (letter.isalpha() and letter not in _SPECIAL_LETTERS):
            found = _PLAIN_NAME.match(text, at)
            if found:
                return self._add(Mark.WORD, found[0], found.end())
        found = _LETTERS.match(text, at)
        if found is None:
            return False
        return self._add(Mark.WORD, found[0], found.end())

    def _other(self) -> bool:
        text, at = self._text, self._at
        for length in (3, 2):
            part = text[at : at + length]
            if part in _LONG_BREAKS:
                return self._add(Mark.BREAK, "⇒", at + length)
        if (part := text[at : at + 2]) in _LONG_RELATIONS:
            return self._add(Mark.RELATION, _LONG_RELATIONS[part], at + 2)
        if part == "**":
            return self._add(Mark.SIGN, "^", at + 2)
        if part == "||":
            return self._add(Mark.SIGN, "‖", at + 2)
        if part == ".*":
            return self._add(Mark.SIGN, "⊙", at + 2)
        if text.startswith("...", at):
            return self._add(Mark.SIGN, "…", at + 3)
        letter = text[at]
        if letter in _PLAIN_RELATIONS:
            return self._add(Mark.RELATION, _PLAIN_RELATIONS[letter], at + 1)
        if letter in _BREAKS:
            return self._add(Mark.BREAK, "⇒", at + 1)
        if letter in ",;":
            return self._add(Mark.BREAK, letter, at + 1)
        if letter == "&":
            return self._add(Mark.CELL, "&", at + 1)
        if letter in _RAISED:
            end = at
            while end < len(text) and text[end] in _RAISED:
                end += 1
            shown = unicodedata.normalize("NFKC", text[at:end]).replace("−", "-")
            return self._add(Mark.SIGN, f"^{shown}", end)
        if letter in _RAISED_LETTERS:
            return self._add(Mark.SIGN, f"^{_RAISED_LETTERS[letter]}", at + 1)
        if letter in _LOWERED:
            end = at
            while end < len(text) and text[end] in _LOWERED:
                end += 1
            shown = unicodedata.normalize("NFKC", text[at:end]).replace("−", "-")
            return self._add(Mark.SIGN, f"_{shown}", end)
        if letter in _PLAIN_SIGNS:
            return self._add(Mark.SIGN, _PLAIN_SIGNS[letter], at + 1)
        return self._letter(letter)

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
        accents = "".join(f"_{_ACCENTS[mark]}" for mark in marks if mark in _ACCENTS)
        if stem.isalpha() and stem.isascii():
            return self._add(Mark.NAME, stem + accents, end)
        return self._add(Mark.COMMAND, letter, end)


_SPECIAL_LETTERS = frozenset(_RAISED_LETTERS) | frozenset(_LOWERED) | {"ᵀ"}
_ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u0307": "dot"}
_PLAIN_NAME = re.compile(r"[A-Za-z]+(?:_?[A-Za-z0-9]+)*")

PROSE = frozenset(
    [
        "and",
        "or",
        "with",
        "where",
        "so",
        "since",
        "because",
        "if",
        "then",
        "else",
        "for",
        "thus",
        "hence",
        "und",
        "oder",
        "mit",
        "wo",
        "also",
        "da",
        "weil",
        "wenn",
        "dann",
        "sonst",
        "fuer",
        "et",
        "ou",
        "avec",
        "car",
        "si",
        "donc",
        "alors",
        "pour",
        "sonst",
        "otherwise",
        "falls",
        "is",
        "ist",
        "est",
        "the",
        "der",
        "die",
        "das",
        "le",
        "la",
        "les",
        "we",
        "get",
        "gives",
        "by",
        "von",
        "bei",
        "at",
        "as",
        "in",
        "on",
        "to",
        "from",
        "using",
        "yields",
        "einsetzen",
        "soit",
        "ergibt",
        "folgt",
        "daraus",
        "therefore",
        "such",
        "that",
        "let",
        "sei",
        "given",
        "gegeben",
        "not",
        "nicht",
        "pas",
        "non",
        "yes",
        "ja",
        "oui",
        "correct",
        "wrong",
        "richtig",
        "falsch",
        "see",
        "siehe",
        "voir",
    ]
)
"""Words that are prose wherever they stand."""


def shifted(piece: Piece, by: int) -> Piece:
    """The same piece at another place."""
    return replace(piece, start=piece.start + by, end=piece.end + by)
