"""`python -m phi4mm` is the command `phi4mm`."""

import sys

from phi4mm.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
