"""The command line: arguments in, one public call, a card or a page out. No mathematics."""

from thalweg.cli._app import main

__all__ = ["main"]
