# SPDX-License-Identifier: MIT
"""`python -m mpsnn` is the command `mpsnn`."""

import sys

from mpsnn.cli import main

if __name__ == "__main__":
    sys.exit(main())
