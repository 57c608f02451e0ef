"""python -m modgrad: the `modgrad` command."""

import sys

from modgrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
