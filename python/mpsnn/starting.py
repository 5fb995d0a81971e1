# SPDX-License-Identifier: MIT
"""What the command does about Ctrl-C while its modules are still imported.

Nothing is begun by then, and an exception would come out of whatever module was on its way in.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130  # as shells tell of a program that Ctrl-C ended
INTERRUPTED_LINE = "mpsnn: interrupted"


def _is_command() -> bool:
    """Whether this process was started as `mpsnn` or `python -m mpsnn`, not as a child of one."""
    program = sys.argv[0] if sys.argv else ""
    if program == "-m":  # until runpy has found the module
        return "mpsnn" in sys.orig_argv[1:]
    return os.path.basename(program) == "mpsnn" and program in sys.orig_argv  # noqa: PTH119


def _end(_signum: int, _frame: FrameType | None) -> None:
    os.write(2, f"{INTERRUPTED_LINE}\n".encode())
    os._exit(INTERRUPTED)


def begin() -> None:
    """Lets Ctrl-C end the command in one line; elsewhere than in the command, does nothing."""
    if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _end)


def end() -> None:
    """Gives Ctrl-C back to what runs: a KeyboardInterrupt."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
