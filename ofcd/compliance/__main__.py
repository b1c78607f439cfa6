"""`python -m ofcd.compliance`."""

from __future__ import annotations

import sys

from ofcd.compliance.cli import main

if __name__ == "__main__":
    sys.exit(main())
