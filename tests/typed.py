"""The run-time type checker of the tests; an int may stand for a float, as in the type system."""

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
