"""Fixtures of the report room; the browser's stand in tests/browser.py for other rooms too."""

import sys
from pathlib import Path

_HERE = Path(__file__).parent
for folder in (_HERE, _HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from browser import browser_page, chromium  # noqa: E402, F401
