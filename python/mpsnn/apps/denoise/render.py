# SPDX-License-Identifier: MIT
"""Renders training pictures with Mitsuba 3 and keeps them on disk.

Example::

    training = render_set("renders", count=24, size=(96, 96))
    validation = render_set("renders", count=2, size=(96, 96), first_seed=1000)
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias
from zipfile import BadZipFile

import numpy as np

from mpsnn.apps.denoise.dataset import (
    ROLES,
    DataSet,
    FloatArray,
    Sample,
    atomic_path,
    inverse_tonemap,
    optional_module,
    tonemap,
)
from mpsnn.apps.denoise.scenes import (
    SCENE_VERSION,
    Spec,
    load_mitsuba,
    path_integrator,
    random_scene,
)
from mpsnn.memory import array_bytes, check_fits

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

__all__ = [
    "DataSet",
    "Sample",
    "inverse_tonemap",
    "render_scene",
    "render_set",
    "tonemap",
]

PASS_SAMPLES = 16  # four by four: the jittered sampler's strata are square
FIREFLY = 2.0  # how far above the median a pass may be; against a long render it gains 0.6 dB

MitsubaScene: TypeAlias = Any  # the plugins of Mitsuba have no static types

_log = logging.getLogger(__name__)


def render_scene(
    seed: int, size: tuple[int, int], noisy_samples: int = 4, clean_samples: int = 256
) -> Sample:
    """Renders one random scene twice: quickly with features, and slowly as the target.

    The two renders draw independent random numbers, so nothing of the noise is in the target.
    The features come with the noisy render, as they would in use. Equal arguments give equal
    bits, whatever the number of cores.

    Args:
        seed: Picks the scene and its noise, from 0 on.
        size: Height and width in pixels.
        noisy_samples: Samples per pixel of the noisy colour and the features.
        clean_samples: Samples per pixel of the clean colour, rounded up to a multiple of 16.

    Returns:
        Linear radiance, albedo, and camera-space normals, each (H, W, 3).

    Raises:
        ImportError: Mitsuba is not installed.
        ValueError: The seed is negative, or a size or sample count is not positive.
    """
    if clean_samples < 1:
        raise ValueError(f"clean_samples: expected at least 1, got {clean_samples}")
    mi = load_mitsuba()
    spec = random_scene(seed, size=size, samples=noisy_samples)
    # The optimizer would put the lights in an order of its own at every call, and threads might.
    scene = mi.load_dict(spec, parallel=False, optimize=False)
    # The words of a seed sequence keep all renders on different numbers.
    first, *others = _noise_seeds(seed, 1 + -(-clean_samples // PASS_SAMPLES))
    layers = np.array(mi.render(scene, spp=noisy_samples, seed=first), np.float32)
    return Sample(
        noisy=_radiance(layers[..., :3]),
        clean=_render_clean(mi, scene, spec["sensor"], others),
        albedo=np.clip(np.nan_to_num(layers[..., 3:6]), 0.0, 1.0),
        normals=np.clip(_to_camera(layers[..., 6:9], scene), -1.0, 1.0),
    )


def render_set(
    folder: str | Path,
    count: int,
    size: tuple[int, int],
    first_seed: int = 0,
    noisy_samples: int = 4,
    clean_samples: int = 256,
    *,
    progress: bool = True,
) -> DataSet:
    """Renders the scenes of ``count`` consecutive seeds, or reads them where they are on disk.

    Every scene has a file of its own, named by its seed and settings, so an interrupted run
    goes on where it stopped. A damaged file is rendered again.

    Args:
        folder: Where the files are kept; made if missing.
        count: Number of scenes.
        size: Height and width in pixels.
        first_seed: Seed of the first scene.
        noisy_samples: Samples per pixel of the noisy colour and the features.
        clean_samples: Samples per pixel of the clean colour, rounded up to a multiple of 16.
        progress: Shows a progress bar.

    Returns:
        The tone-mapped pictures in the order of their seeds.

    Raises:
        ImportError: A scene is missing on disk and Mitsuba is not installed.
        InvalidArgumentError: More scenes than fit in memory.
        ValueError: ``count`` is not positive, or a scene's setting is out of range.
    """
    if count < 1:
        raise ValueError(f"count: expected at least 1 scene, got {count}")
    check_fits(
        "render: count",
        "as many scenes as fit",
        array_bytes(*len(ROLES) * [(count, *size, 3)]),
        f"{count} of {size[0]} x {size[1]}",
    )
    seeds: Iterable[int] = range(first_seed, first_seed + count)
    if progress:
        seeds = optional_module("tqdm").tqdm(seeds, desc="rendering", unit="scene")
    samples = []
    for seed in seeds:
        file = Path(folder) / (
            f"scene{seed:06d}_{size[0]}x{size[1]}_spp{noisy_samples}-{clean_samples}"
            f"_v{SCENE_VERSION}.npz"
        )
        sample = _read_sample(file, size)
        if sample is None:
            sample = render_scene(seed, size, noisy_samples, clean_samples)
            _write_sample(file, sample)
        samples.append(sample)
    return DataSet.from_samples(samples)


def _noise_seeds(seed: int, count: int) -> list[int]:
    return [int(word) for word in np.random.SeedSequence(seed).generate_state(count)]


def _render_clean(
    mi: ModuleType, scene: MitsubaScene, sensor: Spec, seeds: list[int]
) -> FloatArray:
    """Averages passes of ``PASS_SAMPLES`` well spread samples per pixel, without fireflies.

    A firefly is a rare path of great weight, which no affordable number of samples averages out.
    It shows up in one pass only, so each pass is cut off at a multiple of the median pass.
    """
    # The features triple the cost of a sample: the target is rendered without them.
    tracer = mi.load_dict(path_integrator())
    sampler = {"type": "multijitter", "sample_count": PASS_SAMPLES}
    camera = mi.load_dict({**sensor, "sampler": sampler})
    passes = np.stack(
        [
            _radiance(np.array(mi.render(scene, sensor=camera, integrator=tracer, seed=seed)))
            for seed in seeds
        ]
    )
    limit = FIREFLY * np.median(passes, axis=0) + 0.05 if len(seeds) > 3 else np.inf
    return np.asarray(np.minimum(passes, limit).mean(axis=0), np.float32)


def _radiance(pixels: FloatArray) -> FloatArray:
    """Replaces the rare sample that is no number, which would spoil a whole training."""
    return np.maximum(np.nan_to_num(pixels, nan=0.0, posinf=0.0, neginf=0.0), 0.0)


def _to_camera(normals: FloatArray, scene: MitsubaScene) -> FloatArray:
    """Turns world-space normals to x right, y up, z towards the camera."""
    camera = np.array(scene.sensors()[0].world_transform().matrix, np.float32)[:3, :3]
    axes = camera * np.array([-1, 1, -1], np.float32)  # Mitsuba's x is left, its z forward
    return np.asarray(np.nan_to_num(normals) @ axes, np.float32)


def _write_sample(file: Path, sample: Sample) -> None:
    with atomic_path(file) as draft:
        np.savez(draft, **{role: getattr(sample, role) for role in ROLES})


def _read_sample(file: Path, size: tuple[int, int]) -> Sample | None:
    """Reads a cached scene; None if there is no sound one."""
    if not file.exists():
        return None
    try:
        with file.open("rb") as stream:
            content = np.load(stream)
            arrays = {role: content[role] for role in ROLES}
    except (OSError, ValueError, EOFError, LookupError, RuntimeError, BadZipFile) as error:
        _log.warning("%s is damaged (%s): rendering it again", file, error)
        return None
    for role, array in arrays.items():
        if array.shape != (*size, 3) or array.dtype != np.float32 or not np.isfinite(array).all():
            _log.warning("%s is damaged (%s): rendering it again", file, role)
            return None
    return Sample(**arrays)
