# SPDX-License-Identifier: MIT
"""The chart of the four ways: images a second and peak memory, relative to single buffering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mpsnn.apps.resnet50.bench import PEER_TITLE, Result
from mpsnn.files import atomic_path, optional_module
from mpsnn.measuring import Spread

OURS_COLOUR, PEER_COLOUR = "#0072B2", "#777777"  # Okabe and Ito's blue, and grey


def draw(result: Result, path: Path) -> None:
    """Draws images a second and peak memory of each contestant, relative to single buffering.

    Args:
        result: What was measured.
        path: Where to write; the suffix picks the format.

    Raises:
        MissingPackageError: Matplotlib is not installed.
    """
    agg = optional_module("matplotlib.backends.backend_agg", "plot", "the chart")
    figure = optional_module("matplotlib.figure", "plot", "the chart").Figure(
        figsize=(11, 1.6 + 0.45 * len(result.contestants)), layout="constrained"
    )
    agg.FigureCanvasAgg(figure)
    speeds, memories = figure.subplots(1, 2, sharey=True)
    titles = [one.title for one in result.contestants]
    for axes, title, spreads, texts in (
        (
            speeds,
            "images/s, relative (higher is better)",
            [result.speed(one) for one in result.contestants],
            [f"{Spread.of(one.images_per_second).median:.2f}/s" for one in result.contestants],
        ),
        (
            memories,
            "peak memory, relative (lower is better)",
            [result.memory(one) for one in result.contestants],
            [f"{Spread.of(one.memory).median:.0f} MiB" for one in result.contestants],
        ),
    ):
        _bars(axes, titles, spreads, texts)
        axes.set_title(title, fontsize=10)
    speeds.invert_yaxis()  # shared: both have the first contestant at the top
    options = result.options
    title = f"Training ResNet-50 ({options.dataset}), batch {options.batch}"
    figure.suptitle(f"{title}: {result.reference.device}", fontsize=10)
    with atomic_path(path) as draft:
        figure.savefig(draft, dpi=130)


def _bars(
    axes: Any,  # noqa: ANN401
    titles: Sequence[str],
    spreads: Sequence[Spread],
    texts: Sequence[str],
) -> None:
    colours = [PEER_COLOUR if title == PEER_TITLE else OURS_COLOUR for title in titles]
    values = [0.0 if math.isnan(spread.median) else spread.median for spread in spreads]
    around = [
        [abs(spread.median - spread.least) for spread in spreads],
        [abs(spread.most - spread.median) for spread in spreads],
    ]
    axes.barh(titles, values, color=colours, height=0.6)
    axes.errorbar(values, titles, xerr=around, fmt="none", color="black", capsize=3, linewidth=1)
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle=":")
    for row, (value, text) in enumerate(zip(values, texts, strict=True)):
        axes.text(
            0.03 * max(*values, 1.0), row, f"{value:.2f}   {text}", va="center", color="white"
        )
    axes.spines[["top", "right"]].set_visible(False)
