"""`python -m ofcd`: the same as the `ofcd` command."""

import sys

from ofcd.cli import main

if __name__ == "__main__":
    sys.exit(main())
