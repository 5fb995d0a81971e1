# SPDX-License-Identifier: MIT
"""Randomised little scenes for Mitsuba 3, each following from one integer seed.

A scene is a room or an open floor with four to ten shapes, one to three area lights, often a
sky, and a camera that looks at the shapes from somewhere around them. The world has z up and the
floor at z = 0; lengths are in arbitrary units, a shape being about one unit across.

Example::

    mi = load_mitsuba()
    picture = mi.render(mi.load_dict(random_scene(7, size=(128, 128), samples=64)))
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from mpsnn.apps.denoise.dataset import optional_module

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from numpy.typing import NDArray

__all__ = ["SCENE_VERSION", "VARIANT", "Spec", "load_mitsuba", "path_integrator", "random_scene"]

SCENE_VERSION = 1
"""Part of the name of every cached render: raise it when a seed gives another scene."""

VARIANT = "scalar_rgb"
"""The Mitsuba variant in use: it needs no LLVM, runs on every core, and repeats bit for bit."""

MAX_DEPTH = 7
SPREAD = 1.9  # shapes stand within this distance of the origin
ILLUMINANCE = 4.5  # of all area lights together at the origin: mid-grey comes out near 0.7

Spec: TypeAlias = dict[str, Any]  # an entry for mitsuba.load_dict
Transform: TypeAlias = Any  # mitsuba.ScalarTransform4f, which has no static type
Choice = TypeVar("Choice")


def load_mitsuba() -> ModuleType:
    """Imports Mitsuba and selects the variant of this package.

    The variant is a setting of the whole process: a program that uses another one has to select
    it again afterwards.

    Returns:
        The module ``mitsuba`` with the variant ``scalar_rgb`` in force.

    Raises:
        ImportError: Mitsuba is not installed.
    """
    mi = optional_module("mitsuba")
    if mi.variant() != VARIANT:
        mi.set_variant(VARIANT)
    return mi


def path_integrator() -> Spec:
    """Describes the path tracer that all pictures are rendered with.

    Returns:
        An integrator entry for ``mitsuba.load_dict``.
    """
    # Small blocks keep all cores busy to the end of a small picture.
    return {"type": "path", "max_depth": MAX_DEPTH, "rr_depth": 4, "block_size": 16}


def random_scene(seed: int, *, size: tuple[int, int] = (128, 128), samples: int = 4) -> Spec:
    """Makes up a scene that follows from its seed.

    Args:
        seed: Any integer from 0 on; every seed is another scene.
        size: Height and width of the picture in pixels.
        samples: Samples per pixel unless ``mitsuba.render`` is told otherwise.

    Returns:
        A scene for ``mitsuba.load_dict``. Its integrator delivers nine channels: linear
        radiance, albedo, and world-space shading normals, three each.

    Raises:
        ImportError: Mitsuba is not installed.
        ValueError: The seed is negative, or a size or the sample count is not positive.
    """
    if seed < 0:
        raise ValueError(f"a scene's seed counts from 0, not {seed}")
    if min(*size, samples) < 1:
        raise ValueError(f"need a positive size and sample count, not {size} and {samples}")
    kit = _Kit(load_mitsuba(), np.random.Generator(np.random.Philox(seed)))
    height, width = size
    indoors = kit.chance(0.45)
    azimuth = kit.between(0.0, 2.0 * np.pi)
    scene: Spec = {
        "type": "scene",
        "integrator": {
            "type": "aov",
            "aovs": "albedo:albedo,normal:sh_normal",
            "image": path_integrator(),
        },
        "sensor": {
            **_camera(kit, azimuth, indoors=indoors),
            "film": {
                "type": "hdrfilm",
                "width": width,
                "height": height,
                "pixel_format": "rgb",
                "component_format": "float32",
                "rfilter": {"type": "box"},  # no pixel shares samples with its neighbours
            },
            "sampler": {"type": "independent", "sample_count": samples},
        },
    }
    surroundings = _room(kit, azimuth) if indoors else _open_floor(kit)
    parts = surroundings + _still_life(kit) + _lights(kit, azimuth, indoors=indoors)
    scene.update({f"part{index:02d}": part for index, part in enumerate(parts)})
    return scene


@dataclass(frozen=True)
class _Kit:
    """What every part of a scene is made with: Mitsuba and the scene's random numbers."""

    mi: ModuleType
    rng: np.random.Generator

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))

    def pick(self, *choices: Choice, weights: tuple[float, ...] | None = None) -> Choice:
        return choices[int(self.rng.choice(len(choices), p=weights))]

    def move(self, x: float, y: float, z: float) -> Transform:
        return self.mi.ScalarTransform4f().translate([x, y, z])

    def turn(self, axis: list[float], degrees: float) -> Transform:
        return self.mi.ScalarTransform4f().rotate(axis, degrees)

    def scale(self, x: float, y: float, z: float) -> Transform:
        return self.mi.ScalarTransform4f().scale([x, y, z])

    def facing(self, origin: list[float], target: list[float]) -> Transform:
        """Puts the z axis of an object at ``origin`` in the direction of ``target``."""
        steep = abs(target[2] - origin[2]) > 3.0 * float(np.hypot(*np.subtract(target, origin)[:2]))
        up = [0.0, 1.0, 0.0] if steep else [0.0, 0.0, 1.0]
        return self.mi.ScalarTransform4f().look_at(origin=origin, target=target, up=up)


def _rgb(value: list[float]) -> Spec:
    return {"type": "rgb", "value": [float(part) for part in value]}


def _colour(kit: _Kit, saturation: tuple[float, float], value: tuple[float, float]) -> list[float]:
    return list(
        colorsys.hsv_to_rgb(kit.between(0.0, 1.0), kit.between(*saturation), kit.between(*value))
    )


def _paint(kit: _Kit, repeats: float) -> Spec:
    """A reflectance: a plain colour, a checkerboard, or a drawn pattern."""
    kind = kit.pick("plain", "checker", "pattern", weights=(0.4, 0.25, 0.35))
    if kind == "plain":
        return _rgb(_colour(kit, (0.15, 0.85), (0.25, 0.9)))
    dark, light = _colour(kit, (0.1, 0.8), (0.06, 0.35)), _colour(kit, (0.0, 0.6), (0.5, 0.9))
    if kind == "checker":
        to_uv = kit.scale(repeats, repeats, 1.0)
        return {"type": "checkerboard", "color0": _rgb(dark), "color1": _rgb(light), "to_uv": to_uv}
    weight = _pattern(kit)[..., None]
    pixels = weight * np.asarray(light) + (1.0 - weight) * np.asarray(dark)
    return {
        "type": "bitmap",
        "bitmap": kit.mi.Bitmap(pixels.astype(np.float32)),
        "raw": True,
        "to_uv": kit.scale(repeats / 4.0, repeats / 4.0, 1.0),
    }


def _pattern(kit: _Kit, edge: int = 128) -> NDArray[np.float64]:
    """Draws a repeating pattern of shape (edge, edge) in [0, 1]."""
    v, u = np.mgrid[0:edge, 0:edge] / edge * 2.0 * np.pi
    wobble = sum(
        kit.between(-1.0, 1.0) / order * np.sin(order * (u * a + v * b) + kit.between(0.0, 6.3))
        for order in (1, 2, 3, 4)
        for a, b in ((1, 0), (0, 1), (1, 1), (1, -1))
    )
    kind = kit.pick("stripes", "dots", "grain", "clouds")
    if kind == "stripes":
        wave = np.sin(8.0 * u + 0.15 * wobble) * 6.0
    elif kind == "dots":
        wave = (np.cos(5.0 * u) * np.cos(5.0 * v) - 0.25) * 10.0
    elif kind == "grain":
        wave = np.sin(3.0 * v + 1.5 * wobble) * 2.0
    else:
        wave = 2.0 * wobble
    return np.asarray(1.0 / (1.0 + np.exp(-wave)))


def _material(kit: _Kit) -> Spec:
    """An opaque material, the same on both sides of a surface."""
    repeats = kit.between(3.0, 7.0)
    kinds = ("diffuse", "plastic", "roughplastic", "roughconductor")
    kind = kit.pick(*kinds, weights=(0.52, 0.18, 0.12, 0.18))
    inner: Spec
    if kind == "diffuse":
        inner = {"type": kind, "reflectance": _paint(kit, repeats)}
    elif kind == "roughconductor":
        inner = {"type": kind, "material": kit.pick("Al", "Au", "Cu", "Ag", "Cr")}
    else:
        inner = {"type": kind, "diffuse_reflectance": _paint(kit, repeats)}
    if kind.startswith("rough"):
        inner["alpha"] = kit.between(0.08, 0.35)
    return {"type": "twosided", "material": inner}


def _wall_material(kit: _Kit, textured: float, repeats: float) -> Spec:
    """A matt material of a wall or a floor, with a pattern in some cases."""
    pale = _rgb(_colour(kit, (0.0, 0.55), (0.45, 0.85)))
    paint = _paint(kit, repeats) if kit.chance(textured) else pale
    return {"type": "diffuse", "reflectance": paint}


def _sphere(kit: _Kit, x: float, y: float, radius: float, material: Spec) -> list[Spec]:
    place = kit.move(x, y, radius) @ kit.turn([0, 0, 1], kit.between(0, 360))
    to_world = place @ kit.scale(radius, radius, radius)
    return [{"type": "sphere", "to_world": to_world, "bsdf": material}]


def _box(kit: _Kit, x: float, y: float, radius: float, material: Spec) -> list[Spec]:
    edges = [radius * kit.between(0.5, 0.75) for _ in "xy"] + [radius * kit.between(0.4, 1.5)]
    turn = kit.turn([0, 0, 1], kit.between(0, 360))
    if kit.chance(0.25):  # tipped over onto an edge
        turn = turn @ kit.turn([1, 0, 0], kit.between(20, 70))
    lowest = float(np.abs(np.array(turn.matrix)[2, :3]) @ np.array(edges))
    to_world = kit.move(x, y, lowest) @ turn @ kit.scale(*edges)
    return [{"type": "cube", "to_world": to_world, "bsdf": material}]


def _can(kit: _Kit, x: float, y: float, radius: float, material: Spec) -> list[Spec]:
    thick, length = radius * kit.between(0.4, 0.7), radius * kit.between(0.8, 2.4)
    if kit.chance(0.3):  # lying on its side
        length = min(length, 1.6 * radius)
        turn = kit.turn([0, 0, 1], kit.between(0, 360)) @ kit.turn([0, 1, 0], 90)
        place = kit.move(x, y, thick) @ turn @ kit.move(0, 0, -length / 2)
    else:
        place = kit.move(x, y, 0)
    size = kit.scale(thick, thick, 1)
    lids = (place @ kit.move(0, 0, length) @ size, place @ kit.turn([1, 0, 0], 180) @ size)
    side = {"type": "cylinder", "to_world": place @ kit.scale(thick, thick, length)}
    parts = [side] + [{"type": "disk", "to_world": lid} for lid in lids]
    return [{**part, "bsdf": material} for part in parts]


def _panel(kit: _Kit, x: float, y: float, radius: float, material: Spec) -> list[Spec]:
    kind = kit.pick("rectangle", "disk", weights=(0.65, 0.35))
    high = radius * (kit.between(0.8, 1.6) if kind == "rectangle" else 0.9)
    turn = kit.turn([0, 0, 1], kit.between(0, 360)) @ kit.turn([1, 0, 0], kit.between(55, 90))
    lift = high * float(np.array(turn.matrix)[2, 1])  # the lower rim touches the floor
    to_world = kit.move(x, y, lift) @ turn @ kit.scale(radius * 0.9, high, 1)
    return [{"type": kind, "to_world": to_world, "bsdf": material}]


def _still_life(kit: _Kit) -> list[Spec]:
    """Four to ten shapes on the floor, none through another."""
    makers: tuple[Callable[[_Kit, float, float, float, Spec], list[Spec]], ...]
    makers = (_sphere, _box, _can, _panel)
    wanted = int(kit.rng.integers(4, 11))
    glass_at = int(kit.rng.integers(wanted)) if kit.chance(0.3) else -1
    taken: list[tuple[float, float, float]] = []
    parts: list[Spec] = []
    for index in range(wanted):
        x, y, radius = _free_place(kit, taken, kit.between(0.38, 0.75))
        taken.append((x, y, radius))
        if index == glass_at:
            parts += _sphere(kit, x, y, min(radius, 0.7), {"type": "dielectric"})
        else:
            make = kit.pick(*makers, weights=(0.32, 0.32, 0.22, 0.14))
            parts += make(kit, x, y, radius, _material(kit))
    return parts


def _free_place(
    kit: _Kit, taken: list[tuple[float, float, float]], radius: float
) -> tuple[float, float, float]:
    """Finds room for a circle on the floor, shrinking it until it fits."""
    while True:
        for _ in range(20):
            distance = SPREAD * float(np.sqrt(kit.rng.random()))
            angle = kit.between(0.0, 2.0 * np.pi)
            x, y, _ = _around(angle, distance, 0.0)
            if all(np.hypot(x - a, y - b) > radius + other for a, b, other in taken):
                return x, y, radius
        radius *= 0.8


def _room(kit: _Kit, azimuth: float) -> list[Spec]:
    """Three walls, with a ceiling or the sky above, the far one or a corner before the camera."""
    wide, deep, high = kit.between(3.2, 4.2), kit.between(2.8, 3.8), kit.between(4.6, 5.2)
    near = 8.5  # the floor reaches behind the camera; the fourth wall is left open
    turn = kit.turn([0, 0, 1], float(np.degrees(azimuth)) + kit.between(-22, 22))
    middle, length, half = (near - deep) / 2, (near + deep) / 2, high / 2
    end, side = kit.scale(wide, half, 1), kit.scale(length, half, 1)
    floor, flip = kit.scale(length, wide, 1), kit.turn([1, 0, 0], 180)
    walls = [  # where, the probability of a pattern, and how often it repeats
        (kit.move(middle, 0, 0) @ floor, 0.6, 10.0),
        (kit.facing([-deep, 0, half], [0, 0, half]) @ end, 0.35, 8.0),
        (kit.facing([middle, -wide, half], [middle, 0, half]) @ side, 0.15, 8.0),
        (kit.facing([middle, wide, half], [middle, 0, half]) @ side, 0.15, 8.0),
    ]
    ceiling = kit.chance(0.35)
    if ceiling:
        walls.append((kit.move(middle, 0, high) @ flip @ floor, 0.0, 1.0))
    parts = [
        {"type": "rectangle", "to_world": turn @ place, "bsdf": _wall_material(kit, *pattern)}
        for place, *pattern in walls
    ]
    return parts if ceiling else [*parts, _sky(kit)]


def _open_floor(kit: _Kit) -> list[Spec]:
    """A wide floor under a sky that shades from the horizon to the zenith."""
    floor = {
        "type": "rectangle",
        "to_world": kit.turn([0, 0, 1], kit.between(0, 360)) @ kit.scale(14, 14, 1),
        "bsdf": _wall_material(kit, 0.65, 28.0),
    }
    return [floor, _sky(kit)]


def _sky(kit: _Kit) -> Spec:
    strength = kit.between(0.15, 0.8)
    if kit.chance(0.3):
        colour = strength * np.asarray(_colour(kit, (0.0, 0.15), (0.8, 1.0)))
        return {"type": "constant", "radiance": _rgb(colour.tolist())}
    zenith = np.array([0.25, 0.45, 0.9]) * kit.between(0.7, 1.3)
    horizon = np.array([1.1, 1.0, kit.between(0.6, 1.1)])
    up = np.clip(np.cos((np.arange(32) + 0.5) / 32 * np.pi), 0.0, 1.0)[:, None]
    rows = strength * (horizon * (1.0 - up) ** 2 + zenith * (1.0 - (1.0 - up) ** 2))
    pixels = np.repeat(rows[:, None, :], 64, axis=1).astype(np.float32)
    upright = kit.turn([1, 0, 0], 90)  # the map's own up axis is y
    return {"type": "envmap", "bitmap": kit.mi.Bitmap(pixels), "to_world": upright}


def _lights(kit: _Kit, azimuth: float, *, indoors: bool) -> list[Spec]:
    """One to three area lights above the shapes, together of a set illuminance."""
    count = int(kit.rng.integers(1, 4))
    shares = kit.rng.dirichlet(np.full(count, 3.0)) * ILLUMINANCE * kit.between(0.7, 1.4)
    return [_light(kit, azimuth, float(share), indoors=indoors) for share in shares]


def _light(kit: _Kit, azimuth: float, illuminance: float, *, indoors: bool) -> Spec:
    warmth = kit.between(-0.2, 0.35)
    tint = np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    # Not behind the shapes, where it would only fill the picture.
    angle = azimuth + kit.between(-2.2, 2.2)
    reach, high = kit.between(0.3, 2.6), kit.between(3.4, 3.9)
    bulb, grow = kit.chance(0.2), 1.0
    if not indoors:
        grow = 1.7  # higher than any camera
    elif bulb:
        high -= 0.7  # close under the ceiling it would light one bright spot there
    place = _around(angle, grow * reach, grow * high)
    squared = grow**2 * (reach**2 + high**2)
    if bulb:
        radius = grow * kit.between(0.2, 0.35)
        area, shape = np.pi * radius**2, {"type": "sphere", "center": place, "radius": radius}
    else:
        wide, long = grow * kit.between(0.3, 0.9), grow * kit.between(0.3, 0.9)
        target = [kit.between(-0.8, 0.8), kit.between(-0.8, 0.8), 0.4]
        to_world = kit.facing(place, target) @ kit.scale(wide, long, 1)
        area, shape = 4.0 * wide * long, {"type": "rectangle", "to_world": to_world}
    radiance = tint * (illuminance * squared / area)
    return {**shape, "emitter": {"type": "area", "radiance": _rgb(radiance.tolist())}}


def _around(angle: float, distance: float, high: float) -> list[float]:
    """A point at a distance from the z axis."""
    return [distance * float(np.cos(angle)), distance * float(np.sin(angle)), high]


def _camera(kit: _Kit, azimuth: float, *, indoors: bool) -> Spec:
    distance = kit.between(6.0, 7.5)
    pitch = np.radians(kit.between(12.0, 26.0) if indoors else kit.between(14.0, 45.0))
    ground = distance * float(np.cos(pitch))
    origin = _around(azimuth, ground, 0.5 + distance * float(np.sin(pitch)))
    target = [kit.between(-0.3, 0.3), kit.between(-0.3, 0.3), kit.between(0.4, 0.7)]
    return {
        "type": "perspective",
        "fov": kit.between(32.0, 40.0),
        "to_world": kit.facing(origin, target),
    }
