# SPDX-License-Identifier: MIT
"""The running average of the generator's weights, which draws steadier than the weights of a step.

The two nets' weights circle about each other, so that each step's generator is good at other digits
than the last one's. Their average over epochs lies in the middle.
"""

from __future__ import annotations

import mpsnn as mps


class WeightAverage:
    """Keeps the weights of one graph at the running average of another one's.

    Args:
        average: The graph whose weights are set.
        trained: The graph whose weights are averaged; its data sources are found by their labels.

    Raises:
        ArchiveError: `trained` lacks a data source of `average`.
    """

    def __init__(self, average: mps.Graph, trained: mps.Graph) -> None:
        self._device = average.device
        found = {source.label: source for source in trained.data_sources}
        missing = sorted({source.label for source in average.data_sources} - found.keys())
        if missing:
            raise mps.ArchiveError(
                f"average: expected weights of {', '.join(missing)} in the training graph, got "
                f"those of {', '.join(sorted(found))}"
            )
        self._pairs = [(source, found[source.label]) for source in average.data_sources]

    def update(self, kept: float) -> None:
        """Moves the average towards the weights as they are now.

        Wait for the steps that train them first.

        Args:
            kept: Share of the old average, from 0, which takes the weights as they are, to 1.
        """
        device = self._device
        for average, trained in self._pairs:
            for name in device.parameter_names(average):
                new = device.read_parameter(trained, name)
                if kept > 0.0:
                    old = device.read_parameter(average, name)
                    new = (kept * old + (1.0 - kept) * new).astype(new.dtype)
                device.write_parameter(average, name, new)


def kept_share(averaging: float, epoch: int) -> float:
    """The share of the old average that an epoch leaves.

    The first epochs' mean counts all of them alike, until the share has grown to `averaging`: fresh
    weights do not stay in it for long.

    Args:
        averaging: The share of later epochs.
        epoch: Counted from 0.
    """
    return min(averaging, epoch / (epoch + 1))


__all__ = ["WeightAverage", "kept_share"]
