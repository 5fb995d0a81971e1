# SPDX-License-Identifier: MIT
"""Words and their numbers. Number 0 is the end of a sentence, and its beginning.

A step of the decoder runs while the word before it is not 0: the number is the step's predicate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import mpsnn as mps

END = 0
END_WORD = "<end>"
STEPS = 20  # of the decoder at most: 19 words and the end


class Vocabulary:
    """The words that a decoder knows.

    Args:
        words: All words but the end, in the order of their numbers 1, 2, ….

    Raises:
        InvalidArgumentError: There is no word, or one comes twice.
    """

    def __init__(self, words: Sequence[str]) -> None:
        if not words or len({*words, END_WORD}) <= len(words):
            raise mps.InvalidArgumentError(
                f"vocabulary: expected at least one word and none twice, got {list(words)}"
            )
        self.words = [END_WORD, *words]
        self._numbers = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def of(cls, sentences: Iterable[str]) -> Vocabulary:
        """All words of sentences, in alphabetical order."""
        return cls(sorted({word for sentence in sentences for word in sentence.split()}))

    def __len__(self) -> int:
        return len(self.words)

    def numbers(self, sentence: str) -> list[int]:
        """The numbers of a sentence's words and the end.

        Raises:
            InvalidArgumentError: No word, one that is not known, or more than the decoder's steps.
        """
        words = sentence.split()
        if not 1 <= len(words) < STEPS:
            raise mps.InvalidArgumentError(
                f"sentence: expected 1 to {STEPS - 1} words, got {len(words)}: {sentence!r}"
            )
        unknown = [word for word in words if word not in self._numbers]
        if unknown:
            raise mps.InvalidArgumentError(
                f"sentence: expected words of the vocabulary, got {unknown} in {sentence!r}"
            )
        return [*(self._numbers[word] for word in words), END]

    def sentence(self, numbers: Iterable[int]) -> str:
        """The words up to the end."""
        words = []
        for number in numbers:
            if number == END:
                break
            words.append(self.words[number])
        return " ".join(words)
