# SPDX-License-Identifier: MIT
"""Double buffering: the device runs one batch while the host prepares and encodes the next."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from mpsnn._core import (
    BatchError,
    CommandBuffer,
    CommandQueue,
    CommitThreshold,
    InvalidArgumentError,
)

Batch = TypeVar("Batch")
Result = TypeVar("Result")


def _failure(number: int, error: Exception) -> BatchError:
    failure = BatchError(f"batch {number}: {error}")
    failure.batch = number
    return failure


class Pipeline:
    """Keeps a few command buffers in flight.

    Two are enough to keep the device busy. As the heap belongs to the queue, there is one set of
    temporaries whatever the number of buffers.

    Args:
        queue: Where the command buffers are committed.
        buffers: Command buffers in flight at most; encoding waits when there are so many.
        auto_commit: As for `CommandBuffer`.
        commit_threshold: As for `CommandBuffer`; None for the default.

    Raises:
        InvalidArgumentError: `buffers` is less than 1.

    Example:
        >>> def encode(commands, batch):
        ...     return step.encode(commands, batch)
        >>> for outputs in Pipeline(queue).run(batches, encode):  # doctest: +SKIP
        ...     print(float(np.asarray(outputs["loss"]).mean()))
    """

    def __init__(
        self,
        queue: CommandQueue,
        buffers: int = 2,
        *,
        auto_commit: bool = True,
        commit_threshold: CommitThreshold | None = None,
    ) -> None:
        if buffers < 1:
            msg = f"Pipeline: buffers: expected at least 1, got {buffers}"
            raise InvalidArgumentError(msg)
        self.queue = queue
        self.buffers = buffers
        self.auto_commit = auto_commit
        self.commit_threshold = commit_threshold

    def run(
        self, data: Iterable[Batch], encode: Callable[[CommandBuffer, Batch], Result]
    ) -> Iterator[Result]:
        """Encodes and commits each batch, with `buffers` of them in flight.

        A generator: nothing is encoded before its results are asked for.

        Args:
            data: The batches; taken one at a time, when there is room in flight.
            encode: Records one batch on the command buffer given, which is committed afterwards.

        Yields:
            What `encode` returned, in order, each when its batch has completed.

        Raises:
            BatchError: A batch failed, while it was encoded or on the device: the first one, with
                its number in `batch` and the failure as `__cause__`.
            Exception: What `data` itself raises, as it is.

        Whatever is raised, nothing is in flight then.
        """
        in_flight: deque[tuple[int, CommandBuffer, Result]] = deque()
        try:
            for number, batch in enumerate(data):
                commands = CommandBuffer(self.queue, f"batch {number}", self.auto_commit)
                if self.commit_threshold is not None:
                    commands.commit_threshold = self.commit_threshold
                try:
                    result = encode(commands, batch)
                    commands.commit()
                except Exception as error:
                    while in_flight:  # a batch before it may have failed
                        self._retire(in_flight)
                    raise _failure(number, error) from error
                in_flight.append((number, commands, result))
                if len(in_flight) >= self.buffers:
                    yield self._retire(in_flight)
            while in_flight:
                yield self._retire(in_flight)
        except GeneratorExit:  # the caller stops early; what fails is still told
            while in_flight:
                self._retire(in_flight)
            raise
        except BaseException:  # what fails from here on follows from this
            self._drain(in_flight)
            raise

    @staticmethod
    def _drain(in_flight: deque[tuple[int, CommandBuffer, Result]]) -> None:
        while in_flight:
            with contextlib.suppress(Exception):
                in_flight.popleft()[1].wait_until_completed()

    @classmethod
    def _retire(cls, in_flight: deque[tuple[int, CommandBuffer, Result]]) -> Result:
        number, commands, result = in_flight.popleft()
        try:
            commands.wait_until_completed()
        except Exception as error:
            cls._drain(in_flight)
            raise _failure(number, error) from error
        return result
