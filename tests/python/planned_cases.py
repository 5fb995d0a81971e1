# SPDX-License-Identifier: MIT
"""Plans every case in every format on every device, for the page of what runs where."""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict

import cases
from case_nets import GRADIENT, build, gradient_nodes, parameters_of
from cases import Case
from device_kinds import host_kinds

import mpsnn as mps

# (cases that the device has kernels for, all cases) by node class.
Counts = dict[str, tuple[int, int]]
FORMATS = (mps.DataType.FLOAT32, mps.DataType.FLOAT16)


def all_cases() -> list[Case]:
    """Every case of a node in every table."""
    names = sorted(module.name for module in pkgutil.iter_modules(cases.__path__))
    modules = [importlib.import_module(f"cases.{name}") for name in names]
    return [case for module in modules for case in getattr(module, "CASES", [])]


def _plan(device: mps.Device, image_format: mps.DataType, case: Case) -> dict[str, bool]:
    """Whether the device has kernels for the case's node and for its gradient nodes."""
    net = build(case, parameters_of(case, integers=True), image_format)
    sizes = {f"source{i}": size for i, size in enumerate(case.sources)}
    commands = mps.CommandBuffer(device.command_queue())
    forward = mps.Graph(device, [net.node.result_image])
    images = {
        name: mps.Image(device, size=size, format=image_format) for name, size in sizes.items()
    }
    try:
        result = forward.encode(commands, {name: images[name] for name in forward.source_handles})[
            0
        ]
    except mps.UnsupportedError:
        return {case.node: False}
    found = {case.node: True}
    if not case.differentiable or result is None:
        return found
    gradient = mps.ImageNode(GRADIENT)
    gradient.format = image_format
    for node in gradient_nodes(net, gradient).values():
        graph = mps.Graph(device, [node.result_image])
        known = {**sizes, GRADIENT: result.size}
        try:
            graph.plan_text({name: known[name] for name in graph.source_handles})
        except mps.UnsupportedError:
            found[node.class_name] = False
        else:
            found.setdefault(node.class_name, True)
    return found


def plan_all() -> dict[str, Counts]:
    """What each device has kernels for in each format: by "cpu, float32"."""
    counts: dict[str, Counts] = {}
    for kind in host_kinds():
        device = mps.Device(kind)
        for image_format in FORMATS:
            yes: dict[str, int] = defaultdict(int)
            total: dict[str, int] = defaultdict(int)
            for case in all_cases():
                for name, works in _plan(device, image_format, case).items():
                    yes[name] += works
                    total[name] += 1
            column = f"{kind}, {image_format.name.lower()}"
            counts[column] = {name: (yes[name], total[name]) for name in total}
    return counts
