# SPDX-License-Identifier: MIT
"""`python -m mpsnn`: the command."""

import sys

from mpsnn.cli import main

sys.exit(main())
