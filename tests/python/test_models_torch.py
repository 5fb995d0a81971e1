# SPDX-License-Identifier: MIT
"""mpsnn.models against the same nets in PyTorch in float64: every activation, every gradient."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn import models
from mpsnn.models.tensor_files import read_tensors

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import nets_torch  # noqa: E402

ROUNDING = 2.0**-23
# Our roundings over PyTorch's own in float32: the two differ by chance, and Winograd's sums round
# more.
SLACK = 16
SHARE = 0.1  # of a gradient, that a turned neuron may change
CLASSES = 5
BATCH = 4

Activations = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Case:
    """A net of ours, the same in PyTorch, and how deep it is."""

    name: str
    size: tuple[int, int]
    depth: int
    ours: Callable[..., models.Net]
    theirs: Callable[[], Any]
    batch: int = BATCH


def resnet_case(stem: str, size: tuple[int, int]) -> Case:
    return Case(
        f"resnet50-{stem}",
        size,
        50,
        lambda **options: models.resnet50(
            mps.ImageNode("images"), classes=CLASSES, stem=stem, size=size, width=8, **options
        ),
        lambda: nets_torch.ResNet(classes=CLASSES, stem=stem, width=8),
    )


def vgg_case(depth: int, *, normalised: bool = False) -> Case:
    build = {16: models.vgg16, 19: models.vgg19}[depth]
    blocks = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}[depth]
    size, grid = (64, 96), (1, 3)
    return Case(
        f"vgg{depth}{'_bn' if normalised else ''}",
        size,
        depth,
        lambda **options: build(
            mps.ImageNode("images"),
            classes=CLASSES,
            batch_normalization=normalised,
            size=size,
            grid=grid,
            width=8,
            hidden=48,
            **options,
        ),
        lambda: nets_torch.VGG(
            blocks, classes=CLASSES, normalised=normalised, grid=grid, width=8, hidden=48
        ),
    )


def inception_case(size: tuple[int, int], batch: int, *, auxiliary: bool = False) -> Case:
    return Case(
        f"inception_v3{'-auxiliary' if auxiliary else ''}",
        size,
        48,
        lambda **options: models.inception_v3(
            mps.ImageNode("images"), classes=CLASSES, auxiliary=auxiliary, size=size, **options
        ),
        lambda: nets_torch.InceptionV3(classes=CLASSES, auxiliary=auxiliary),
        batch,
    )


RESNETS = [resnet_case("imagenet", (64, 96)), resnet_case("cifar", (32, 32))]
VGGS = [vgg_case(16), vgg_case(19), vgg_case(16, normalised=True)]
SMALL = [*RESNETS, *VGGS, inception_case((107, 139), 2)]


def named(cases: list[Case]) -> Any:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


def peer(case: Case) -> Any:
    """The peer with statistics, scales and shifts away from their first values, in float64.

    Its numbers are float32's, so that both nets have the same.
    """
    torch.manual_seed(7)
    net = case.theirs()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.weight, module.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (module.bias, module.running_mean):
                torch.nn.init.normal_(tensor, std=0.3)
        elif isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    return net.double()


def tensors_of(net: Any) -> dict[str, NDArray[Any]]:
    return {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}


def pictures_of(case: Case) -> NDArray[np.float32]:
    generator = np.random.default_rng(2)
    return generator.standard_normal((case.batch, *case.size, 3), dtype=np.float32)


def watch(case: Case, ours: models.Net, theirs: Any) -> Activations:
    """What PyTorch's modules make, in our layout; filled when the peer runs."""
    found: Activations = {}
    if case.name.startswith("vgg"):
        names = [name for name in ours.activations if name not in ("avgpool", "relu6", "relu7")]
        modules = dict(zip(names, theirs.features, strict=True))
        modules |= {"avgpool": theirs.avgpool}
        modules |= {"relu6": theirs.classifier[1], "relu7": theirs.classifier[4]}
    else:
        children = dict(theirs.named_modules())
        modules = {name: children[name] for name in ours.activations}
    assert modules.keys() == ours.activations.keys()
    for name, module in modules.items():

        def keep(_module: Any, _inputs: Any, output: Any, name: str = name) -> None:
            values = output.detach().numpy()
            found[name] = (
                values.transpose(0, 2, 3, 1) if values.ndim == 4 else values[:, None, None]
            )

        module.register_forward_hook(keep)
    return found


def channels_first(pictures: NDArray[np.float32]) -> Any:
    return torch.from_numpy(pictures.transpose(0, 3, 1, 2).astype(np.float64))


def close(found: NDArray[Any], expected: NDArray[np.float64], name: str, limit: float) -> None:
    """Relative to the largest value."""
    assert found.shape == expected.shape, name
    error = np.abs(found - expected).max() / np.abs(expected).max()
    assert error <= limit, f"{name}: {error:.2e} > {limit:.2e}"


def root_mean_square(values: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def encode(graph: mps.Graph, sources: dict[str, NDArray[np.float32]]) -> mps.GraphOutputs:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, sources)
    commands.commit()
    commands.wait_until_completed()
    return outputs


def check_inference(case: Case, device: mps.Device) -> None:
    theirs = peer(case).eval()
    ours = case.ours()
    assert models.load_state_dict(ours, tensors_of(theirs)) == []
    expected = watch(case, ours, theirs)
    pictures = pictures_of(case)
    with torch.no_grad():
        expected["logits"] = theirs(channels_first(pictures)).numpy()[:, None, None]
    images = {**ours.activations, "logits": ours.logits}
    if isinstance(ours, models.InceptionV3) and ours.auxiliary_logits is not None:
        images["auxiliary"] = ours.auxiliary_logits
        expected["auxiliary"] = theirs.auxiliary_logits.numpy()[:, None, None]
    graph = mps.Graph(device, list(images.values()))
    outputs = encode(graph, {"images": pictures})
    # A layer adds a few roundings of its largest values to what came in.
    limit = 2 * case.depth * ROUNDING
    for name, image in zip(images, outputs, strict=True):
        close(np.asarray(image), expected[name], name, limit)


@named(SMALL)
def test_inference_layer_by_layer(case: Case, device: mps.Device) -> None:
    check_inference(case, device)


@pytest.mark.long
def test_auxiliary_classifier(device: mps.Device) -> None:
    check_inference(inception_case((299, 299), 1, auxiliary=True), device)


def training_graph(device: mps.Device, net: models.Net, batch: int) -> mps.Graph:
    """Trains by the mean cross entropy and shows every activation."""
    descriptor = mps.LossDescriptor(
        mps.LossType.SOFT_MAX_CROSS_ENTROPY, mps.ReductionType.SUM, weight=1.0 / batch
    )
    loss = mps.ForwardLossNode(net.logits, mps.ImageNode("labels"), descriptor, label="loss")
    for name, image in {**net.activations, "logits": net.logits}.items():
        image.handle, image.export_from_graph = name, True
    last = mps.InitialGradientNode(loss, label="start").training_graph()
    return mps.Graph(device, [last[0].result_image], results_are_needed=[False])


@pytest.mark.long
@named(SMALL)
def test_training_step(case: Case, device: mps.Device) -> None:
    rate = 1.0
    theirs = peer(case).train()
    ours = case.ours(optimizer=mps.OptimizerStochasticGradientDescent(rate))
    first = tensors_of(theirs)
    models.load_state_dict(ours, first)
    single = copy.deepcopy(theirs).float()
    expected = watch(case, ours, theirs)
    pictures = pictures_of(case)
    labels = np.arange(case.batch) % CLASSES
    singles = watch(case, ours, single)
    for net, into in ((theirs, expected), (single, singles)):
        logits = net(channels_first(pictures).to(next(net.parameters()).dtype))
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels)).backward()
        into["logits"] = logits.detach().numpy()[:, None, None]

    one_hot = np.eye(CLASSES, dtype=np.float32)[labels][:, None, None]
    graph = training_graph(device, ours, case.batch)
    outputs = encode(graph, {"images": pictures, "labels": one_hot})
    for name, values in expected.items():
        # Statistics of few values multiply roundings: by how much, PyTorch in float32 tells.
        drift = np.abs(singles[name] - values).max() / np.abs(values).max()
        close(np.asarray(outputs[name]), values, name, 2 * case.depth * ROUNDING + SLACK * drift)
    after = models.state_dict(ours, device)
    gradients = {name: tensor.grad.numpy() for name, tensor in theirs.named_parameters()}
    roundings = {name: tensor.grad.numpy() for name, tensor in single.named_parameters()}
    over = []
    for name, gradient in gradients.items():
        # The step's length over the rate is the gradient, told by float32 weights. A bias that a
        # normalisation takes away has none but roundings, of the size of its weights' ones. Norms,
        # not largest values: a rounding that turns a neuron or moves a maximum changes single
        # values by much, in PyTorch's float32 as in ours, and not the same ones. So one tensor in
        # ten may be off by more than both drift, but none by a share of itself.
        weight = name.rpartition(".")[0] + ".weight"
        scale = max(root_mean_square(gradients[weight]), root_mean_square(gradient))
        drift = root_mean_square(roundings[name] - gradient)
        error = root_mean_square((first[name] - after[name]) / rate - gradient)
        limit = ROUNDING * (2 * case.depth * scale + np.abs(after[name]).max() / rate)
        limit += SLACK * drift
        assert error <= SHARE * scale + limit, f"{name}: {error:.2e}, of {scale:.2e}"
        over.append(error > limit)
    assert np.mean(over) <= 0.1
    for name, statistic in theirs.state_dict().items():
        if name.endswith("running_mean"):
            values, rounded = statistic.numpy(), single.state_dict()[name].numpy()
            drift = np.abs(rounded - values).max() / np.abs(values).max()
            close(after[name], values, name, 2 * case.depth * ROUNDING + SLACK * drift)


def test_names_and_layouts_make_the_round_trip() -> None:
    for case in SMALL[1:]:
        theirs = peer(case).float()
        ours = case.ours()
        first = tensors_of(theirs)
        models.load_state_dict(ours, first)
        back = models.state_dict(ours)
        kept = {name for name in first if not name.endswith("num_batches_tracked")}
        assert back.keys() == kept
        for name in kept:
            assert np.array_equal(back[name], first[name]), name


def test_files(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy")
    one, other = VGGS[2].ours(seed=1), VGGS[2].ours(seed=2)
    path = tmp_path / "vgg.safetensors"
    numpy.save_file(models.state_dict(one), path)
    assert models.load_state_dict(other, path) == []
    for name, tensor in models.state_dict(one).items():
        assert np.array_equal(models.state_dict(other)[name], tensor), name


def test_element_types_of_files(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.torch").save_file
    path = tmp_path / "net.safetensors"
    tensors = {"short": torch.linspace(-3, 3, 6).bfloat16().reshape(2, 3), "none": torch.ones(0, 2)}
    tensors |= {"one": torch.tensor(0.1).bfloat16(), "half": torch.ones(2).half()}
    save(tensors, path)
    found = read_tensors(path)
    for name, tensor in tensors.items():
        assert found[name].dtype == (np.float16 if name == "half" else np.float32)
        assert np.array_equal(found[name], tensor.float().numpy()), name
    for element in (torch.float8_e4m3fn, torch.complex64):
        save({"x": torch.ones(2).to(element)}, path)
        with pytest.raises(mps.FileError, match=r"^[^:]*net\.safetensors: x: expected one of F64"):
            read_tensors(path)


def test_files_of_torch_that_are_damaged_or_hold_other_tensors(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    others: tuple[Any, ...] = (torch.eye(2).to_sparse(), torch.ones(2).to(torch.float8_e4m3fn))
    for tensor in (*others, torch.ones(2, device="meta")):
        torch.save({"fine": torch.ones(1), "odd": tensor}, path)
        with pytest.raises(mps.FileError, match="odd: expected a tensor for NumPy"):
            read_tensors(path)
    torch.save({"state_dict": {"x": torch.ones(1)}}, path)
    with pytest.raises(mps.FileError, match="by name, got 'state_dict', a dict"):
        read_tensors(path)
    random = np.random.default_rng(0)
    refused = 0
    for zipped in (True, False):
        torch.save({"x": torch.ones(3)}, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for _ in range(60):
            changed = bytearray(whole)
            for place in random.integers(4, len(whole), 4):
                changed[place] = random.integers(256)
            path.write_bytes(changed[: random.integers(5, 2 * len(whole))])
            try:
                read_tensors(path)
            except mps.FileError:
                refused += 1
    assert refused > 20


class Harmful:
    """Its pickle runs a command when it is read by `pickle.load`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("zipped", [True, False])
def test_files_of_torch_are_read_without_running_them(tmp_path: Path, *, zipped: bool) -> None:
    case = SMALL[1]
    theirs, net = peer(case).float(), case.ours()
    path, made = tmp_path / "net.pth", tmp_path / "made"
    torch.save(theirs.state_dict(), path, _use_new_zipfile_serialization=zipped)
    assert models.load_state_dict(net, path) == []
    before = models.state_dict(net)
    for name, tensor in tensors_of(theirs).items():
        if not name.endswith("num_batches_tracked"):
            assert np.array_equal(before[name], tensor), name
    wanted = "expected PyTorch's file of tensors by name"
    hostile: tuple[Any, ...] = ({"features.0.bias": Harmful(made)}, [torch.zeros(2)], theirs)
    for content in hostile:
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(
            mps.FileError, match=r"net\.pth: expected PyTorch's file of tensors by name"
        ):
            models.load_state_dict(net, path)
    assert not made.exists()
    short = {name: tensor.bfloat16() for name, tensor in theirs.state_dict().items()}
    torch.save(short, path, _use_new_zipfile_serialization=zipped)
    assert models.load_state_dict(net, path) == []
    for name, tensor in models.state_dict(net).items():
        assert np.array_equal(tensor, short[name].float().numpy()), name
    before = models.state_dict(net)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(mps.FileError, match=wanted):
        models.load_state_dict(net, path)
    for name, tensor in models.state_dict(net).items():
        assert np.array_equal(tensor, before[name]), name


def test_one_error_names_all_that_is_wrong() -> None:
    net = VGGS[0].ours()
    tensors: dict[str, Any] = dict(models.state_dict(net))
    del tensors["features.0.bias"]
    tensors["features.2.weight"] = np.zeros((8, 3, 3, 8), np.float32)
    tensors["features.5.bias"] = np.zeros(16, np.int32)
    tensors["head.weight"] = np.zeros(3, np.float32)
    before = models.state_dict(net)
    with pytest.raises(mps.InvalidArgumentError) as error:
        models.load_state_dict(net, tensors)
    for text in (
        "features.0.bias: missing",
        "features.2.weight: expected shape (8, 8, 3, 3), got (8, 3, 3, 8)",
        "features.5.bias: expected floating point, got int32",
        "head.weight: not expected",
    ):
        assert text in str(error.value)
    for name, tensor in models.state_dict(net).items():
        assert np.array_equal(tensor, before[name]), name


def test_what_is_there_is_taken_unless_strict(cpu: mps.Device) -> None:
    net = VGGS[0].ours()
    tensors = {"features.0.bias": np.arange(8, dtype=np.float64), "head.bias": np.zeros(2)}
    left = models.load_state_dict(net, tensors, strict=False, device=cpu)
    assert "head.bias" in left
    assert "features.0.weight" in left
    assert np.array_equal(models.state_dict(net, cpu)["features.0.bias"], np.arange(8))
    with pytest.raises(mps.InvalidArgumentError, match="expected shape"):
        models.load_state_dict(net, {"features.0.bias": np.zeros(9)}, strict=False)


@pytest.mark.parametrize(
    ("build", "options", "text"),
    [
        (models.vgg16, {"size": (100, 224)}, "vgg16: size: expected multiples of 32 times"),
        (models.vgg19, {"size": (32, 32)}, "vgg19: size: expected multiples of 32 times"),
        (models.vgg19, {"width": 0}, "vgg19: width: expected 1 or more, got 0"),
        (models.vgg16, {"grid": (0, 7)}, r"vgg16: grid\[0\]: expected 1 or more, got 0"),
        (models.inception_v3, {"size": (74, 99)}, "size: expected 75 or more, got 74"),
        (
            models.inception_v3,
            {"size": (107, 299), "auxiliary": True},
            "size: expected pictures that leave the auxiliary classifier",
        ),
    ],
)
def test_bad_options_are_refused(build: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=text):
        build(mps.ImageNode("images"), classes=3, **options)
