r"""Commands: what each \name of LaTeX stands for in a formula."""

from __future__ import annotations

from thalweg.symbolic._spelling import GREEK

SIGNS = {
    "cdot": "*", "times": "*", "ast": "*", "star": "*", "bullet": "*", "div": "/", "odot": "⊙",
    "circ": "⊙", "otimes": "⊗", "pm": "±", "mp": "∓", "lvert": "|", "rvert": "|", "vert": "|",
    "mid": "|", "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "langle": "⟨", "rangle": "⟩",
    "prime": "'", "top": "ᵀ", "intercal": "ᵀ", "transpose": "ᵀ", "trans": "ᵀ", "dots": "…",
    "ldots": "…", "cdots": "…", "dotsc": "…", "dotsb": "…", "vdots": "…", "ddots": "…",
    "partial": "∂", "nabla": "∇", "sum": "∑", "prod": "∏", "%": "%", "lbrace": r"\{",
    "rbrace": r"\}", "{": r"\{", "}": r"\}", "lbrack": "[", "rbrack": "]", "_": "_",
    "slash": "/", "colon": ":", "lparen": "(", "rparen": ")", "lfloor": "⌊", "rfloor": "⌋",
    "lceil": "⌈", "rceil": "⌉", "setminus": "\\",
}  # fmt: skip
"""Commands for signs of operations and brackets."""

RELATIONS = {
    "approx": "≈", "thickapprox": "≈", "approxeq": "≈", "simeq": "≈", "cong": "≈", "doteq": "≈",
    "fallingdotseq": "≈", "equiv": "=", "triangleq": "=", "coloneqq": ":=", "coloneq": ":=",
    "eqqcolon": "=", "leftarrow": ":=", "gets": ":=", "longleftarrow": ":=", "le": "≤",
    "leq": "≤", "leqslant": "≤", "ge": "≥", "geq": "≥", "geqslant": "≥", "lt": "<", "gt": ">",
    "ll": "<", "gg": ">", "ne": "≠", "neq": "≠", "in": "∈", "notin": "∉", "propto": "∝",
    "sim": "~", "ni": "∋", "subset": "⊂", "subseteq": "⊂", "hateq": "=", "stackrel": "stackrel",
    "overset": "stackrel", "eq": "=",
}  # fmt: skip
"""Commands for relations."""

BREAKS = frozenset((
    "quad", "qquad", "Rightarrow", "implies", "Longrightarrow", "Leftrightarrow", "iff",
    "Longleftrightarrow", "therefore", "because", "rightarrow", "to", "longrightarrow", "mapsto",
    "longmapsto", "land", "wedge", "lor", "vee", "hookrightarrow", "rightsquigarrow", "leadsto",
    "Leftarrow", "impliedby",
))  # fmt: skip
"""Arrows and wide spaces, behind which another statement begins."""

IGNORED = frozenset((
    "left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr",
    "Biggl", "Biggr", "bigm", "Bigm", "middle", "displaystyle", "textstyle", "scriptstyle",
    "limits", "nolimits", "nonumber", "notag", "hfill", "allowbreak", "checkmark", "square",
    "blacksquare", "Box", "qedhere", "rm", "bf", "it", "cal", "mathstrut", "strut", "thinspace",
    "medspace", "thickspace", "negthinspace", "enspace", "hline", "centering", "noindent", "small",
    "large", "Large", "tiny", "normalsize", "smallskip", "medskip", "bigskip", "newline", "par",
    ",", ";", ":", "!", ">", "/", "-", "@", "(", ")", "[", "]",
))  # fmt: skip
"""Commands that mean nothing."""

SWALLOWING = frozenset((
    "label", "tag", "ref", "eqref", "color", "hspace", "vspace", "phantom", "hphantom", "vphantom",
    "kern", "cite", "footnote", "mspace", "mathchoice", "rule", "require", "newcommand",
    "definecolor", "hskip",
))  # fmt: skip
"""Commands that mean nothing, with the group after them."""

WORDS = frozenset((
    "text", "textbf", "textit", "textrm", "textsf", "texttt", "mbox", "textup", "textnormal",
    "emph",
))  # fmt: skip
"""Commands before words."""

STYLES = frozenset((
    "mathbf", "boldsymbol", "bm", "mathcal", "mathit", "mathsf", "mathtt", "mathbb", "vec",
    "underline", "boxed", "fbox", "cancel", "bcancel", "xcancel", "mathrm", "operatorname",
    "mathop", "mathfrak", "mathscr", "ensuremath", "pmb", "mathbfit", "textcolor", "colorbox",
    "bold", "overrightarrow", "overset", "mathnormal", "smash", "mathord", "mathbin",
))  # fmt: skip
"""Commands that only say how the group after them looks."""

LETTERS = {name: name for name in GREEK.values()} | {
    "varepsilon": "epsilon", "vartheta": "theta", "varphi": "phi", "varrho": "rho",
    "varsigma": "sigma", "ell": "ell", "infty": "infinity", "imath": "i", "jmath": "j",
    "hbar": "hbar",
}  # fmt: skip
"""Commands for letters, and the names of these."""

ACCENTS = {
    "hat": "hat", "widehat": "hat", "bar": "bar", "overline": "bar", "tilde": "tilde",
    "widetilde": "tilde", "dot": "dot", "ddot": "ddot", "check": "check",
}  # fmt: skip
"""Commands for marks upon a letter, and how a name is spelled with them."""
