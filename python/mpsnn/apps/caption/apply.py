# SPDX-License-Identifier: MIT
"""The finished captioner: restored from an archive, applied to pictures, and timed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import mpsnn as mps
from mpsnn.apps.caption.decoder import Decoder, Recording
from mpsnn.apps.caption.model import STORE, DecoderSources, ModelOptions
from mpsnn.apps.caption.scenes import FloatArray
from mpsnn.apps.caption.words import STEPS, Vocabulary
from mpsnn.committing import CONTINUE, SINGLE, Way

FEATURES_KEY, OPTIONS_KEY, WORDS_KEY = "features", "model", "words"


@dataclass(frozen=True)
class Caption:
    """What was found for a picture.

    Attributes:
        sentence: The words.
        tokens: Their numbers, without the end.
        executed: Steps of the decoder that ran.
        skipped: Steps that were recorded and that their predicates switched off.
    """

    sentence: str
    tokens: list[int]
    executed: int
    skipped: int


@dataclass(frozen=True)
class Span:
    """Milliseconds that one picture takes; the fastest of the rounds: other work only adds.

    Attributes:
        device: From the first kernel to the last one, all of them recorded before.
        whole: By the clock, from pixels to the words' numbers on the host: the recording included,
            in pieces, so that the device works while the host records.
    """

    device: float
    whole: float


@dataclass(frozen=True)
class Timing:
    """How long a picture takes with and without predicates.

    Attributes:
        predicated: All steps recorded, each under the predicate.
        unpredicated: All steps recorded and run.
        cut: As many steps recorded as the sentence needs, which the host was told.
    """

    predicated: Span
    unpredicated: Span
    cut: Span

    @property
    def ratio(self) -> float:
        """Device time with predicates over that of a loop that was cut at the right length."""
        return self.predicated.device / self.cut.device

    @property
    def whole_ratio(self) -> float:
        """The same of the time by the clock."""
        return self.predicated.whole / self.cut.whole


def device_for_pictures(kind: str = "") -> mps.Device:
    """Where pictures are captioned one by one.

    The host records a sentence's steps while the device works. On the processors of a machine it
    keeps one of them for that: kernels on all of them would take turns with it.

    Args:
        kind: Of the device; "": the best here.

    Returns:
        The device; of a CPU one with a thread less than there are.

    Raises:
        InvalidArgumentError: There is none of that kind.
    """
    device = mps.Device(kind)
    return mps.Device(device.kind, threads=device.threads - 1) if device.threads > 1 else device


def centred(pictures: FloatArray) -> FloatArray:
    """Values from 0 to 1 become those from -1 to 1 that the nets take."""
    values: FloatArray = np.ascontiguousarray(pictures, np.float32) * np.float32(2) - np.float32(1)
    return values


class Captioner:
    """Both nets for use, on one device.

    Args:
        features: From "pictures" to "vector"; see `model.FeatureNet.whole`.
        sources: The decoder's weights, as they are on the device now.
        vocabulary: Its words.
        options: Sizes.
        beam: Sentences that are followed at once; 1: greedy.

    Raises:
        InvalidArgumentError: A beam that is too narrow or wide.
    """

    def __init__(
        self,
        features: mps.Graph,
        sources: DecoderSources,
        vocabulary: Vocabulary,
        options: ModelOptions,
        beam: int = 1,
    ) -> None:
        self.features, self.vocabulary, self.options = features, vocabulary, options
        self.decoder = Decoder(features.device, sources, options, beam)
        self._queue = features.device.command_queue("captions")

    @classmethod
    def load(cls, path: str | Path, device: mps.Device | None = None, beam: int = 1) -> Captioner:
        """Restores what training wrote.

        Args:
            path: The archive.
            device: Where it shall run; None: `device_for_pictures()`.
            beam: As for the constructor.

        Raises:
            FileError: The file cannot be read.
            ArchiveError: It is damaged, or not a captioner's.
        """
        archive = mps.KeyedUnarchiver(device or device_for_pictures()).open(str(path))
        options, vocabulary = read_metadata(archive, str(path))
        sources = DecoderSources.from_graph(archive.decode_graph(STORE))
        return cls(archive.decode_graph(FEATURES_KEY), sources, vocabulary, options, beam)

    def each(
        self, pictures: Iterable[FloatArray], *, way: Way = CONTINUE, predicated: bool = True
    ) -> Iterator[Caption]:
        """Captions one picture after the other.

        A picture is one command buffer: the feature net, and all steps of the decoder, recorded
        ahead. Where the way commits in pieces, the feature net runs while the host records steps.

        Args:
            pictures: (size, size, 3) each, from 0 to 1.
            way: How they are handed to the device.
            predicated: Switch off the steps behind the end. False: all of them run.

        Yields:
            The captions, in order.

        Raises:
            InvalidArgumentError: A picture of another shape.
            BatchError: The device failed.
        """

        def encode(commands: mps.CommandBuffer, picture: FloatArray) -> Recording:
            return self.encode(commands, picture, predicated=predicated, pieces=way.pieces)

        for recording in way.run(self._queue, map(self._checked, pictures), encode):
            tokens = recording.numbers()
            sentence = self.vocabulary.sentence(tokens)
            caption = Caption(sentence, tokens, recording.executed, recording.skipped)
            recording.release()
            yield caption

    def encode(
        self,
        commands: mps.CommandBuffer,
        picture: FloatArray,
        *,
        steps: int = STEPS,
        predicated: bool = True,
        pieces: bool = False,
    ) -> Recording:
        """Records a picture's caption.

        Args:
            commands: Where it is recorded.
            picture: (size, size, 3), from 0 to 1.
            steps: Steps of the decoder that are recorded.
            predicated: As for `each`.
            pieces: Commit while it is recorded.

        Returns:
            What can be read when the command buffer has completed.
        """
        vector = self.features.encode(commands, {"pictures": centred(picture)[None]})["vector"]
        return self.decoder.encode(
            commands, vector, steps=steps, predicated=predicated, pieces=pieces
        )

    def time(self, picture: FloatArray, rounds: int = 101) -> Timing:
        """Measures one picture with and without predicates, in turn.

        Args:
            picture: As for `each`.
            rounds: How often each is measured; the fastest counts.

        Returns:
            The times.
        """
        (caption,) = self.each([picture])
        contestants = ((STEPS, True), (STEPS, False), (caption.executed, False))
        spans: list[list[Span]] = [[] for _ in contestants]
        for number in range(rounds + 1):
            for (steps, predicated), found in zip(contestants, spans, strict=True):
                span = self._run(picture, steps, predicated=predicated)
                if number:  # the first round makes plans
                    found.append(span)
        return Timing(*map(_fastest, spans))

    def _run(self, picture: FloatArray, steps: int, *, predicated: bool) -> Span:
        seconds: list[float] = []
        for way in (SINGLE, CONTINUE):
            started = time.perf_counter()
            commands = way.command_buffer(self._queue, "timed")
            recording = self.encode(
                commands, picture, steps=steps, predicated=predicated, pieces=way.pieces
            )
            commands.commit()
            commands.wait_until_completed()
            recording.numbers()
            whole = time.perf_counter() - started
            recording.release()
            times = commands.times
            seconds.append(whole if way.pieces else times.gpu_end - times.gpu_start)
        return Span(*(1e3 * value for value in seconds))

    def _checked(self, picture: FloatArray) -> FloatArray:
        wanted = (self.options.size, self.options.size, 3)
        if picture.shape != wanted:
            raise mps.InvalidArgumentError(
                f"caption: picture: expected shape {wanted}, got {picture.shape}"
            )
        return picture


def _fastest(spans: list[Span]) -> Span:
    return Span(min(span.device for span in spans), min(span.whole for span in spans))


def read_metadata(archive: mps.Archive, path: str) -> tuple[ModelOptions, Vocabulary]:
    """Sizes and words of a captioner's archive.

    Raises:
        ArchiveError: It is not a captioner's.
    """
    texts, keys = archive.metadata, set(archive.keys())
    if not {OPTIONS_KEY, WORDS_KEY} <= texts.keys() or not {FEATURES_KEY, STORE} <= keys:
        raise mps.ArchiveError(
            f"{path}: expected a captioner's archive with the keys '{FEATURES_KEY}' and '{STORE}', "
            f"got keys {sorted(keys)}"
        )
    try:
        values = json.loads(texts[OPTIONS_KEY])
        options = ModelOptions(**{**values, "widths": tuple(values["widths"])})
        vocabulary = Vocabulary(json.loads(texts[WORDS_KEY]))
    except (KeyError, TypeError, ValueError, mps.InvalidArgumentError) as error:
        raise mps.ArchiveError(f"{path}: the captioner's sizes cannot be read: {error}") from error
    return options, vocabulary
