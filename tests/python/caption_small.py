# SPDX-License-Identifier: MIT
"""Small pictures with captions, and a small net for them: what tests of the captioner share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mpsnn.apps.caption import Captioned, ModelOptions, TrainOptions, render
from mpsnn.apps.caption.pictures import CAPTIONS

SMALL = ModelOptions(size=32, widths=(6, 8, 8), embedding=16, hidden=24)


def options(epochs: int, **changes: object) -> TrainOptions:
    values = {
        "epochs": epochs,
        "batch": 4,
        "learning_rate": 5e-3,
        "halve_every": 0,
        "refresh_every": 0,
        "checkpoint_every": 1,
        "model": SMALL,
    }
    return TrainOptions(**{**values, **changes})  # type: ignore[arg-type]


def pictures(count: int, seed: int = 0, edge: int = 32) -> Captioned:
    return render(count, seed, edge)


def folder_of(folder: Path, data: Captioned) -> Path:
    """Pictures as files, with captions as people write them."""
    folder.mkdir()
    lines = []
    for index, (picture, sentence) in enumerate(zip(data.pictures, data.sentences, strict=True)):
        Image.fromarray((picture * 255).astype(np.uint8)).save(folder / f"{index}.png")
        lines.append(f"{index}.png\t{sentence.capitalize()}.")
    (folder / CAPTIONS).write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    return folder
