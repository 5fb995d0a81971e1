# SPDX-License-Identifier: MIT
"""The denoiser against PyTorch: one training step and one inference, time and peak memory.

    python bench/denoiser.py [--rounds 5] [--seconds 4] [--case train|infer]

Training: 128 x 128, batch 4, widths 32/64/128, SGD with momentum, two losses. Inference: 512 x 512,
batch 1. PyTorch runs eager, channels-last, float32. Both get 2 threads and a process of their own.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from harness import Contestant, PeakMemory, compare, report

WIDTHS = (32, 64, 128)
CASES = {"train": (4, 128), "infer": (1, 512)}


def pictures(case: str) -> dict[str, np.ndarray[Any, Any]]:
    """Random sources of the case's size."""
    batch, edge = CASES[case]
    generator = np.random.default_rng(0)
    sources = {
        name: generator.random((batch, edge, edge, 4), np.float32)
        for name in ("noisy", "albedo", "normals")
    }
    for picture in sources.values():
        picture[..., 3] = 0
    if case == "train":
        sources["clean"] = generator.random((batch, edge, edge, 3), np.float32)
    return sources


def ours(case: str) -> tuple[Callable[[], object], PeakMemory]:
    """Our step."""
    import mpsnn as mps
    from mpsnn.apps.denoise.model import ModelOptions, build_inference, build_net, build_training

    sources = pictures(case)
    memory = PeakMemory()
    device = mps.Device("cpu")
    queue = device.command_queue()
    optimizer = mps.OptimizerStochasticGradientDescent(1e-3, 0.9)
    net = build_net(ModelOptions(WIDTHS), optimizer)
    batch, edge = CASES[case]
    graph = (
        build_training(device, net, batch, (edge, edge))
        if case == "train"
        else build_inference(device, net)
    )

    def step() -> object:
        commands = mps.CommandBuffer(queue)
        outputs = graph.encode(commands, sources)
        commands.commit()
        commands.wait_until_completed()
        return outputs

    return step, memory


def torch_step(case: str) -> tuple[Callable[[], object], PeakMemory]:
    """PyTorch's step for the same net."""
    import torch
    from torch.nn import functional as f

    torch.set_num_threads(2)
    sources = pictures(case)
    memory = PeakMemory()
    net = _torch_net().to(memory_format=torch.channels_last)

    def image(array: np.ndarray[Any, Any]) -> Any:
        return torch.from_numpy(array).permute(0, 3, 1, 2)

    inputs = [image(sources[name]) for name in ("noisy", "albedo", "normals")]
    if case == "infer":

        def infer() -> object:
            with torch.no_grad():
                return net(torch.cat(inputs, 1).contiguous(memory_format=torch.channels_last))

        return infer, memory

    from mpsnn.apps.denoise.model import LAPLACIAN_OF_GAUSSIAN

    clean = image(sources["clean"])
    edges = torch.from_numpy(LAPLACIAN_OF_GAUSSIAN).expand(3, 1, 5, 5).contiguous()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def train() -> object:
        optimizer.zero_grad(set_to_none=True)
        output = net(torch.cat(inputs, 1).contiguous(memory_format=torch.channels_last))
        loss = f.mse_loss(output, clean) + f.mse_loss(
            f.conv2d(output, edges, padding=2, groups=3),
            f.conv2d(clean, edges, padding=2, groups=3),
        )
        loss.backward()
        optimizer.step()
        return loss

    return train, memory


def _torch_net() -> Any:
    import torch
    from torch import nn
    from torch.nn import functional as f

    def stage(channels: list[int]) -> nn.Sequential:
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        return nn.Sequential(*layers)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            before = (12, *WIDTHS)
            self.down = nn.ModuleList(
                [
                    stage([inputs] + [width] * 3)
                    for inputs, width in zip(before, WIDTHS, strict=False)
                ]
            )
            self.bottom = stage([WIDTHS[-1]] * 4)
            self.up = nn.ModuleList(
                [stage([w, w, WIDTHS[max(i - 1, 0)]]) for i, w in enumerate(WIDTHS)]
            )
            self.last = nn.Conv2d(WIDTHS[0], 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            skips = []
            for block in self.down:
                x = block(x)
                skips.append(x)
                x = f.max_pool2d(x, 2)
            x = self.bottom(x)
            for block, skip in zip(reversed(self.up), reversed(skips), strict=True):
                x = block(f.interpolate(x, scale_factor=2, mode="bilinear") + skip)
            return self.last(x)

    return Net()


def main() -> None:
    """Compares, or measures one contestant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--case", choices=list(CASES), action="append")
    parser.add_argument("--contestant", choices=["mpsnn", "torch"], help="run one, print its times")
    arguments = parser.parse_args()
    cases = arguments.case or list(CASES)
    if arguments.contestant is not None:
        step, memory = (ours if arguments.contestant == "mpsnn" else torch_step)(cases[0])
        report(step, memory, seconds=arguments.seconds)
        return
    for case in cases:
        batch, edge = CASES[case]
        command = [__file__, "--seconds", str(arguments.seconds), "--case", case, "--contestant"]
        compare(
            f"denoiser {case}, {edge} x {edge}, batch {batch}",
            [Contestant("mpsnn", [*command, "mpsnn"]), Contestant("PyTorch", [*command, "torch"])],
            arguments.rounds,
        )


if __name__ == "__main__":
    main()
