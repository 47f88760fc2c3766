"""thalweg reads the loss surface under a neural network and walks it."""

import lazy_loader

from thalweg._version import __version__ as __version__

# A room is loaded where it is first asked for: each stands on torch, some on SymPy or SciPy, too,
# and nobody waits for what they do not use. What there is, `__init__.pyi` says.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
