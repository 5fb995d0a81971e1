# SPDX-License-Identifier: MIT
"""One contestant of `mpsnn bench resnet50`, in a process of its own: prints a line of JSON.

python -m mpsnn.apps.resnet50.contestant '{"way": "single", "options": {…}}'
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mpsnn as mps
from mpsnn.apps.resnet50 import cifar10, images, ways
from mpsnn.apps.resnet50.images import Batch
from mpsnn.committing import StepTimeline, Way, way_named
from mpsnn.measuring import PeakMemory

PEER = "torch"

Step = Callable[[Iterable[Batch]], Iterator[float]]


@dataclass(frozen=True)
class Options:
    """What is measured.

    Attributes:
        dataset: "cifar10" or "synthetic".
        data: Where CIFAR-10 is; empty for synthetic pictures.
        device: Device kind; empty: the best here.
        batch: Images of a step.
        steps: Steps that are measured in a round.
        warm: Steps before them.
        width: Channels after the stem; ResNet-50 has 64.
        threads: Threads of both libraries.
        seed: Fixes weights, batches and synthetic pictures.
    """

    dataset: str = "synthetic"
    data: str = ""
    device: str = ""
    batch: int = 32
    steps: int = 4
    warm: int = 1
    width: int = 64
    threads: int = 2
    seed: int = 0


def pictures(options: Options) -> cifar10.LabelledImages:
    """The pictures to train on.

    Raises:
        FileError: CIFAR-10 is not there, or damaged.
    """
    if options.dataset == "cifar10":
        return cifar10.load(Path(options.data))
    return images.synthetic(drawn(options), options.seed)


def drawn(options: Options) -> int:
    """How many synthetic pictures there are."""
    return max(16 * options.batch, 256)


def ours(way: Way, options: Options, classes: int) -> tuple[Step, str]:
    """Our step, and the device's name."""
    device = mps.Device(options.device)
    queue = device.command_queue("training")
    net = ways.build_net(options.width, classes, options.seed, ways.optimizer())
    training = ways.build_training(device, net, options.batch)
    return lambda batches: ways.run(way, training, queue, batches), device.name


def torchs(options: Options, classes: int) -> tuple[Step, str]:
    """PyTorch's step, from the same first weights."""
    import torch

    from mpsnn.apps.resnet50 import peer

    torch.set_num_threads(options.threads)
    net = peer.ResNet50(classes, options.width)
    peer.load_weights(net, ways.build_net(options.width, classes, options.seed).data_sources)
    # to() gives back the same module.
    net.to(memory_format=torch.channels_last)
    return lambda batches: peer.run(net, batches), f"PyTorch {torch.__version__}"


def measure(key: str, options: Options, timeline: str = "") -> dict[str, Any]:
    """Runs one contestant.

    Args:
        key: A way's key, or "torch".
        options: What is measured.
        timeline: File for a capture of the measured steps: a picture, or with the suffix .json a
            trace for Perfetto. Empty: nothing is captured.

    Returns:
        Images a second over the measured steps, the batches' preparation included; peak memory in
        MiB beside the pictures; the loss of every step, the warm ones first; the device in words;
        the capture's summary as text, empty where there is none.
    """
    data = pictures(options)
    if key == PEER:
        import torch  # noqa: F401  before memory is counted: libraries are no part of it
    memory = PeakMemory()
    classes = len(data.classes)
    if key == PEER:
        step, name = torchs(options, classes)
    else:
        step, name = ours(way_named(key), options, classes)
    count = options.warm + options.steps
    memory.forget()  # copies of first weights that are gone again
    batches = images.batches(data, options.batch, count, seed=options.seed)
    losses = list(step(_first(batches, options.warm)))
    started = time.perf_counter()
    capture = StepTimeline(Path(timeline) if timeline else None)
    with capture.whole():
        losses += step(batches)
        seconds = time.perf_counter() - started
    return {
        "way": key,
        "images_per_second": options.batch * options.steps / seconds,
        "memory": memory.mebibytes(),
        "losses": losses,
        "device": name,
        "summary": capture.summary,
    }


def _first(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    for _ in range(count):
        yield next(batches)


def arguments(key: str, options: Options, timeline: str = "") -> list[str]:
    """What follows `python` to run `measure` in a process of its own."""
    given = {"key": key, "options": asdict(options), "timeline": timeline}
    return ["-m", "mpsnn.apps.resnet50.contestant", json.dumps(given)]


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    given["options"] = Options(**given["options"])
    print(json.dumps(measure(**given)), flush=True)
