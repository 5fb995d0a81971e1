# SPDX-License-Identifier: MIT
"""Command buffers in asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mpsnn._core import CommandBuffer


def completed(commands: CommandBuffer) -> asyncio.Future[None]:
    """A future that ends when all that was committed so far is completed.

    Args:
        commands: The command buffer.

    Returns:
        A future of the running event loop, with the result None or the first failure.

    Raises:
        StateError: Nothing was committed.
        RuntimeError: No event loop is running.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def settle() -> None:
        if future.done():  # cancelled
            return
        error = commands.error
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(error)

    def from_queue() -> None:
        # A loop that was closed meanwhile has no one left who awaits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(settle)

    commands.when_completed(from_queue)
    return future
