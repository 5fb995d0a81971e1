# SPDX-License-Identifier: MIT
"""Pictures of coloured shapes and the sentences that describe them.

A scene has one or two objects. Each has a size, a colour and a shape; of two, one is above or to
the left of the other. One in five combinations of objects is held out: never trained on, in
whatever places and order.

About one in four scenes to train on has a single object, and more than one in three of those that
are held out: of single objects there are so few that a net shown them more often remembers them
instead of learning what they are made of.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.memory import array_bytes, check_fits

FloatArray = NDArray[np.float32]

SIZES = {"small": 0.11, "large": 0.2}  # half the edge, in parts of the picture's
COLOURS = {
    "red": (0.9, 0.15, 0.1),
    "green": (0.1, 0.75, 0.2),
    "blue": (0.15, 0.3, 0.95),
    "yellow": (0.95, 0.85, 0.1),
    "purple": (0.65, 0.2, 0.8),
    "white": (0.95, 0.95, 0.95),
}
SHAPES = ("circle", "square", "triangle", "cross")
RELATIONS = ("above", "to the left of")
HELD_OUT_ONE_IN = 5
ALONE_ONE_IN = 4
SMALLEST_EDGE = 32


@dataclass(frozen=True, order=True)
class Thing:
    """One object of a scene."""

    size: str
    colour: str
    shape: str

    @property
    def text(self) -> str:
        """As "a small red circle"."""
        return f"a {self.size} {self.colour} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """What a picture shows.

    Attributes:
        things: One or two objects; the first is above or to the left.
        relation: Of two: one of `RELATIONS`; of one: empty.
    """

    things: tuple[Thing, ...]
    relation: str = ""

    @cached_property
    def sentence(self) -> str:
        """The scene in words: 4, 9 or 12 of them."""
        return f" {self.relation} ".join(thing.text for thing in self.things)

    @property
    def held_out(self) -> bool:
        """Whether this combination of objects, in any order and place, is never trained on."""
        names = ", ".join(sorted(thing.text for thing in self.things))
        return zlib.crc32(names.encode()) % HELD_OUT_ONE_IN == 0


@dataclass(frozen=True)
class Captioned:
    """Pictures with a sentence each.

    Attributes:
        pictures: (N, H, W, 3) of float32, from 0 to 1.
        sentences: N sentences.
        origins: What else tells one set from another, such as names of files and checksums.
    """

    pictures: FloatArray
    sentences: list[str]
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.pictures.shape
        if len(shape) != 4 or shape[-1] != 3 or shape[0] != len(self.sentences) or not shape[0]:
            raise mps.InvalidArgumentError(
                "captions: expected pictures (N, H, W, 3) and a sentence each, at least one, got "
                f"{shape} and {len(self.sentences)} sentences"
            )

    def __len__(self) -> int:
        return len(self.sentences)

    @property
    def summary(self) -> str:
        """What tells one set from another, but for the pixels: how many, and a checksum."""
        text = json.dumps([self.sentences, self.origins])
        return f"{len(self)} pictures (checksum {zlib.crc32(text.encode()):08x})"


def random_scene(generator: np.random.Generator, *, held_out: bool) -> Scene:
    """A scene of a combination that is held out, or of one that is not."""
    while True:
        alone = generator.integers(2 if held_out else ALONE_ONE_IN) == 0
        count = 1 if alone else 2
        things = tuple(_random_thing(generator) for _ in range(count))
        relation = RELATIONS[generator.integers(len(RELATIONS))] if count > 1 else ""
        scene = Scene(things, relation)
        if scene.held_out == held_out:
            return scene


def _random_thing(generator: np.random.Generator) -> Thing:
    names = (tuple(SIZES), tuple(COLOURS), SHAPES)
    return Thing(*(choice[generator.integers(len(choice))] for choice in names))


def draw(scene: Scene, generator: np.random.Generator, edge: int = 48) -> FloatArray:
    """Draws a scene: objects at random places that fit their relation, on a noisy ground.

    Args:
        scene: What is drawn.
        generator: Fixes places, shades and noise.
        edge: Height and width in pixels.

    Returns:
        The picture (edge, edge, 3), from 0 to 1.
    """
    picture = np.full((edge, edge, 3), generator.uniform(0.05, 0.25), np.float32)
    for thing, (y, x) in zip(scene.things, _places(scene, generator), strict=True):
        radius = SIZES[thing.size] * edge * generator.uniform(0.9, 1.1)
        shade = np.asarray(COLOURS[thing.colour], np.float32) * generator.uniform(0.85, 1.05)
        # Only the pixels that it can touch.
        reach = int(radius) + 2
        top, left = (max(int(centre * edge) - reach, 0) for centre in (y, x))
        window = picture[top : top + 2 * reach + 1, left : left + 2 * reach + 1]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        down, right = rows + (top + 0.5 - y * edge), columns + (left + 0.5 - x * edge)
        window += _coverage(thing.shape, down, np.abs(right), radius)[..., None] * (shade - window)
    picture += generator.standard_normal(picture.shape, np.float32) * np.float32(0.02)
    return np.clip(picture, 0.0, 1.0)


def _places(scene: Scene, generator: np.random.Generator) -> list[tuple[float, float]]:
    """Row and column of each centre, in parts of the edge."""
    if len(scene.things) == 1:
        return [(generator.uniform(0.28, 0.72), generator.uniform(0.28, 0.72))]
    first, second = generator.uniform(0.22, 0.27), generator.uniform(0.73, 0.78)
    across = generator.uniform(0.35, 0.65, 2)
    if scene.relation == RELATIONS[0]:
        return [(first, float(across[0])), (second, float(across[1]))]
    return [(float(across[0]), first), (float(across[1]), second)]


def _coverage(
    shape: str, down: NDArray[np.float64], right: NDArray[np.float64], radius: float
) -> FloatArray:
    """How much of each pixel lies inside, 0 to 1, by its distance from the centre."""
    if shape == "circle":
        inside = radius - np.hypot(down, right)
    elif shape == "square":
        inside = 0.88 * radius - np.maximum(np.abs(down), right)
    elif shape == "triangle":
        inside = np.minimum(radius - down, 0.447 * (down + radius) - 0.894 * right)
    else:
        arm = 0.36 * radius
        bars = (
            np.maximum(np.abs(down) - arm, right - radius),
            np.maximum(np.abs(down) - radius, right - arm),
        )
        inside = -np.minimum(*bars)
    return np.clip(inside + 0.5, 0.0, 1.0).astype(np.float32)


def render(count: int, seed: int, edge: int = 48, *, held_out: bool = False) -> Captioned:
    """Draws pictures.

    Args:
        count: How many.
        seed: Fixes them.
        edge: Height and width in pixels.
        held_out: Only combinations that are never trained on; False: only others.

    Returns:
        The pictures with their sentences.

    Raises:
        InvalidArgumentError: No picture, more than fit in memory, an edge below 32 pixels, or a
            seed below 0.
    """
    if count < 1 or edge < SMALLEST_EDGE:
        raise mps.InvalidArgumentError(
            f"scenes: expected 1 picture or more of {SMALLEST_EDGE} pixels or more, "
            f"got {count} of {edge}"
        )
    if seed < 0:
        raise mps.InvalidArgumentError(f"scenes: seed: expected 0 or more, got {seed}")
    shape = (count, edge, edge, 3)
    check_fits("scenes", "as many as fit", array_bytes(shape), f"{count} of {edge} x {edge}")
    pictures = np.empty(shape, np.float32)
    generator = np.random.Generator(np.random.Philox(seed))
    scenes = [random_scene(generator, held_out=held_out) for _ in range(count)]
    for picture, scene in zip(pictures, scenes, strict=True):
        picture[:] = draw(scene, generator, edge)
    return Captioned(pictures, [scene.sentence for scene in scenes])


def all_words() -> list[str]:
    """The words of all sentences, in alphabetical order."""
    parts = ["a", *SIZES, *COLOURS, *SHAPES, *RELATIONS]
    return sorted({word for part in parts for word in part.split()})
