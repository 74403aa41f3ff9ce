"""`python -m lsweep` is `lsweep`."""

import sys

from lsweep.cli import main

if __name__ == "__main__":
    sys.exit(main())
