# SPDX-License-Identifier: MIT
"""Small digits and short runs: what tests of the digit generator share."""

from __future__ import annotations

import numpy as np

import mpsnn as mps
from mpsnn.apps.gan import Digits, ModelOptions, TrainOptions


def marks(count: int = 40, edge: int = 8) -> Digits:
    """Ten kinds of marks, a bright block in another place each, with a little noise."""
    generator = np.random.default_rng(3)
    labels = np.arange(count) % 10
    pictures = np.full((count, edge, edge, 1), -0.9, np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        y, x = divmod(int(label), 4)
        picture[2 * y : 2 * y + 3, 2 * x : 2 * x + 2] = 0.9
    noise = generator.normal(size=pictures.shape) * 0.05
    return Digits(np.clip(pictures + noise, -1, 1).astype(np.float32), labels)


def options(epochs: int, **changes: object) -> TrainOptions:
    values = {
        "epochs": epochs,
        "batch": 8,
        "judge_every": 2,
        "checkpoint_every": 1,
        "model": ModelOptions(edge=8, latent=4, width=4),
    }
    return TrainOptions(**{**values, **changes})  # type: ignore[arg-type]


def values_of(device: mps.Device, graph: mps.Graph) -> dict[str, np.ndarray]:
    """All parameters of a graph's data sources, moments and statistics as well."""
    return {
        f"{source.label} {name}": device.read_parameter(source, name)
        for source in graph.data_sources
        for name in device.parameter_names(source)
    }
