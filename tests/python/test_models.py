# SPDX-License-Identifier: MIT
"""The nets of mpsnn.models: layers, sizes, weights, results and gradients, training."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import resnet_jax
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps.resnet50 import images, ways
from mpsnn.models import ResNet, resnet, resnet50

jax.config.update("jax_enable_x64", True)

Doubles = dict[str, NDArray[np.float64]]
Statistics = dict[str, tuple[jax.Array, jax.Array]]
TRAINED = ("weights", "bias", "gamma", "beta")
FIRST_LAYERS = (
    *("conv1", "bn1", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2"),
    *("layer1.0.conv3", "layer1.0.bn3", "layer1.0.downsample.0", "layer1.0.downsample.1"),
    "layer1.1.conv1",
)


def count(net: ResNet) -> int:
    """Trained numbers."""
    return sum(
        int(np.prod(shape))
        for source in net.data_sources.values()
        for name, shape in source.parameters.items()
        if name in TRAINED
    )


def cifar(width: int = 64, **options: object) -> ResNet:
    arguments = {"classes": 10, "stem": "cifar", "width": width, **options}
    return resnet50(mps.ImageNode("images"), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stem", "classes", "expected"),
    # 25,557,032 is torchvision's own figure.
    [("cifar", 10, 23_520_842), ("imagenet", 1000, 25_557_032)],
)
def test_number_of_parameters(stem: str, classes: int, expected: int) -> None:
    net = resnet50(mps.ImageNode("images"), classes=classes, stem=stem)
    assert count(net) == expected


def test_names_are_torchvisions() -> None:
    names = list(cifar(4).data_sources)
    assert tuple(names[: len(FIRST_LAYERS)]) == FIRST_LAYERS
    assert names[-4:] == ["layer4.2.bn2", "layer4.2.conv3", "layer4.2.bn3", "fc"]
    blocks = {name.rpartition(".conv1")[0] for name in names if name.endswith(".conv1")}
    assert [sum(b.startswith(f"layer{n}.") for b in blocks) for n in range(1, 5)] == [3, 4, 6, 3]
    assert sum("downsample.0" in name for name in names) == 4
    assert len(names) == 107
    assert [source.label for source in cifar(4).data_sources.values()] == names


def test_names_and_shapes_are_those_of_the_peer() -> None:
    pytest.importorskip("torch")
    from mpsnn.apps.resnet50 import peer

    for stem in ("cifar", "imagenet"):
        net = resnet50(mps.ImageNode("images"), classes=10, stem=stem, width=8)
        # Refuses tensors that are missing, left over, or of another shape.
        peer.load_weights(peer.ResNet50(10, 8, stem), net.data_sources)


def blocks_of(logits: mps.ImageNode) -> dict[str, mps.ImageNode]:
    """What the stem and each block make, by name."""
    found: dict[str, mps.ImageNode] = {}
    images_left = [logits]
    while images_left:
        node = images_left.pop().producer
        if node is None or node.label in found:
            continue
        found[node.label] = node.result_image
        images_left += node.sources
    last = {
        name.removesuffix(".relu3"): image
        for name, image in found.items()
        if name.endswith(".relu3")
    }
    return last | {"stem": found.get("maxpool", found["relu"])}


@pytest.mark.parametrize(
    ("stem", "size", "stem_size", "sizes"),
    [
        ("cifar", (32, 32), (32, 32), [(32, 32), (16, 16), (8, 8), (4, 4)]),
        ("cifar", (20, 33), (20, 33), [(20, 33), (10, 17), (5, 9), (3, 5)]),
        ("imagenet", (224, 224), (56, 56), [(56, 56), (28, 28), (14, 14), (7, 7)]),
        ("imagenet", (65, 40), (17, 10), [(17, 10), (9, 5), (5, 3), (3, 2)]),
    ],
)
def test_layer_sizes(
    stem: str,
    size: tuple[int, int],
    stem_size: tuple[int, int],
    sizes: list[tuple[int, int]],
    device: mps.Device,
) -> None:
    net = resnet50(mps.ImageNode("images"), classes=7, stem=stem, size=size, width=2)
    blocks = blocks_of(net.logits)
    names = ["stem", *(f"layer{stage}.0" for stage in range(1, 5))]
    graph = mps.Graph(device, [*(blocks[name] for name in names), net.logits])
    outputs = encode(graph, {"images": np.zeros((2, *size, 3), np.float32)})
    found = [image.size for image in outputs if image is not None]
    widths = (8, 16, 32, 64)
    expected = [(2, *extent, width) for extent, width in zip(sizes, widths, strict=True)]
    assert found == [(2, *stem_size, 2), *expected, (2, 1, 1, 7)]


def encode(graph: mps.Graph, sources: dict[str, NDArray[np.float32]]) -> mps.GraphOutputs:
    commands = mps.CommandBuffer(graph.device.command_queue())
    outputs = graph.encode(commands, sources)
    commands.commit()
    commands.wait_until_completed()
    return outputs


def test_another_size_than_promised_is_refused(cpu: mps.Device) -> None:
    graph = mps.Graph(cpu, [cifar(2).logits])
    with pytest.raises(mps.InvalidArgumentError, match="fc"):
        encode(graph, {"images": np.zeros((1, 64, 64, 3), np.float32)})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"stem": "vgg"}, 'stem: expected one of imagenet, cifar, got "vgg"'),
        ({"classes": 0}, "classes: expected 1 or more, got 0"),
        ({"width": -1}, "width: expected 1 or more, got -1"),
        ({"size": (0, 32)}, "height: expected 1 or more, got 0"),
        ({"size": (32, 0)}, "columns: expected 1 or more, got 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], text: str) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=f"resnet: {text}"):
        cifar(**{"width": 2, **options})  # type: ignore[arg-type]
    with pytest.raises(mps.InvalidArgumentError, match=r"blocks\[1\]: expected 1 or more, got 0"):
        resnet(mps.ImageNode("images"), (1, 0), classes=2, stem="cifar", width=2)


def test_first_weights() -> None:
    net = cifar(16, seed=5)
    for name in ("layer3.2.conv2", "layer4.0.conv3", "layer2.0.downsample.0"):
        weights = net.data_sources[name].initial("weights")
        fan_in = np.prod(weights.shape[1:])
        assert weights.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.05)
        assert abs(weights.mean()) < 0.05 * weights.std()
    last = net.data_sources["fc"]
    assert last.initial("weights").std() == pytest.approx(0.01, rel=0.05)
    assert not last.initial("bias").any()
    for name, value in (("gamma", 1), ("beta", 0), ("mean", 0), ("variance", 1)):
        assert (net.data_sources["layer1.0.bn3"].initial(name) == value).all()


def test_seeds_fix_the_weights() -> None:
    one, same, other = (cifar(4, seed=seed).data_sources["conv1"] for seed in (1, 1, 2))
    assert np.array_equal(one.initial("weights"), same.initial("weights"))
    assert not np.array_equal(one.initial("weights"), other.initial("weights"))


def test_zero_last_gamma() -> None:
    net = cifar(4, zero_last_gamma=True)
    for name, source in net.data_sources.items():
        if "gamma" in source.parameters:
            zero = name.startswith("layer") and name.endswith("bn3")
            assert (source.initial("gamma") == (0 if zero else 1)).all(), name


def test_optimizers_by_name() -> None:
    fast, slow = mps.OptimizerAdam(1e-2), mps.OptimizerAdam(1e-3)

    def choose(name: str) -> mps.Optimizer | None:
        if name == "conv1":
            return None
        return fast if name == "fc" else slow

    rates = {
        name: source.optimizer and source.optimizer.learning_rate
        for name, source in cifar(2, optimizer=choose).data_sources.items()
    }
    assert rates.pop("conv1") is None
    assert rates.pop("fc") == pytest.approx(1e-2)
    assert set(rates.values()) == {slow.learning_rate}
    shared = cifar(2, optimizer=fast).data_sources.values()
    assert all(source.optimizer is not None for source in shared)
    assert all(source.optimizer is None for source in cifar(2).data_sources.values())


# ---- against JAX ---------------------------------------------------------------------------------

BLOCKS = (1, 2)


def random_net(stem: str, size: tuple[int, int], optimizer: mps.Optimizer | None) -> ResNet:
    """A small net whose normalisations are away from their first values."""
    net = resnet(
        mps.ImageNode("images"),
        BLOCKS,
        classes=5,
        stem=stem,
        size=size,
        width=6,
        optimizer=optimizer,
    )
    generator = np.random.default_rng(3)
    for source in net.data_sources.values():
        for name, shape in source.parameters.items():
            if name != "weights":
                values = (
                    generator.uniform(0.5, 1.5, shape)
                    if name != "beta"
                    else 0.3 * (generator.standard_normal(shape))
                )
                source.set_initial(name, np.asarray(values, np.float32))
    source = net.data_sources["fc"]
    source.set_initial("weights", 10 * source.initial("weights"))
    return net


def parameters_of(
    read: Callable[[mps.DataSource, str], NDArray[np.float32]], net: ResNet
) -> Doubles:
    return {
        f"{layer}.{name}": read(source, name).astype(np.float64)
        for layer, source in net.data_sources.items()
        for name in source.parameters
    }


def first_parameters(net: ResNet) -> Doubles:
    return parameters_of(lambda source, name: source.initial(name), net)


def case(
    stem: str, seed: int = 1
) -> tuple[tuple[int, int], NDArray[np.float32], NDArray[np.float32]]:
    """Size, pictures and labels."""
    size = (16, 13) if stem == "cifar" else (40, 33)
    generator = np.random.default_rng(seed)
    pictures = generator.standard_normal((3, *size, 3), dtype=np.float32)
    return size, pictures, images.one_hot(np.array([4, 0, 2], np.uint8), 5)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_inference_block_by_block(stem: str, device: mps.Device) -> None:
    size, pictures, _ = case(stem)
    net = random_net(stem, size, None)
    forward = resnet_jax.Forward(first_parameters(net), training=False)
    logits = forward(jnp.asarray(pictures, jnp.float64), BLOCKS, stem)
    blocks = blocks_of(net.logits)
    assert blocks.keys() == forward.blocks.keys()
    graph = mps.Graph(device, [*blocks.values(), net.logits])
    *found, last = (np.asarray(image) for image in encode(graph, {"images": pictures}))
    for name, values in zip(blocks, found, strict=True):
        close(values, forward.blocks[name], name)
    close(last[:, 0, 0], logits, "logits")


def close(found: NDArray[np.float32], expected: jax.Array, name: str, limit: float = 2e-5) -> None:
    """Within float32's rounding over some fifty layers, relative to the largest value."""
    wanted = np.asarray(expected)
    assert found.shape == wanted.shape, name
    assert np.abs(found - wanted).max() <= limit * np.abs(wanted).max(), name


@pytest.mark.long
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
def test_one_training_step(stem: str, device: mps.Device) -> None:
    size, pictures, labels = case(stem)
    rate = 0.5
    net = random_net(stem, size, mps.OptimizerStochasticGradientDescent(rate))
    first = first_parameters(net)
    training = ways.build_training(device, net, len(pictures))
    outputs = encode(training.graph, {"images": pictures, "labels": labels})

    def loss_of(trained: Doubles) -> tuple[jax.Array, tuple[jax.Array, Statistics]]:
        forward = resnet_jax.Forward({**first, **trained}, training=True)
        logits = forward(jnp.asarray(pictures, jnp.float64), BLOCKS, stem)
        loss = resnet_jax.cross_entropy(logits, jnp.asarray(labels[:, 0, 0], jnp.float64))
        return loss, (logits, forward.statistics)

    trained = {name: array for name, array in first.items() if name.rpartition(".")[2] in TRAINED}
    compiled = jax.jit(jax.value_and_grad(loss_of, has_aux=True))
    (loss, (logits, statistics)), gradients = compiled(trained)
    assert float(np.asarray(outputs["loss"]).sum()) == pytest.approx(float(loss), rel=1e-5)
    close(np.asarray(outputs["logits"])[:, 0, 0], logits, "logits")
    after = parameters_of(device.read_parameter, net)
    for name, gradient in gradients.items():
        # The step's length times the gradient, told by the difference of float32 weights.
        rounding = 2.0**-23 * np.abs(after[name]).max() / rate
        error = np.abs((first[name] - after[name]) / rate - gradient).max()
        assert error <= 1e-4 * np.abs(gradient).max() + rounding, name
    for layer, (mean, variance) in statistics.items():
        for name, value in ((f"{layer}.mean", mean), (f"{layer}.variance", variance)):
            close(after[name].astype(np.float32), 0.9 * first[name] + 0.1 * value, name)


# ---- training ------------------------------------------------------------------------------------


def steps(
    training: ways.Training, batches: Iterable[images.Batch], *, way: ways.Way = ways.WAYS[0]
) -> list[float]:
    queue = training.graph.device.command_queue()
    return list(ways.run(way, training, queue, batches))


def test_training_follows_the_peer(cpu: mps.Device) -> None:
    torch = pytest.importorskip("torch")
    from mpsnn.apps.resnet50 import peer

    net = ways.build_net(8, 10, 3, ways.optimizer())
    theirs = peer.ResNet50(10, 8)
    peer.load_weights(theirs, net.data_sources)
    theirs.to(memory_format=torch.channels_last)
    batches = list(images.batches(images.synthetic(64, seed=2), 16, 2))
    found = steps(ways.build_training(cpu, net, 16), batches)
    first, second = peer.run(theirs, batches)
    assert found[0] == pytest.approx(first, rel=1e-5)
    # A step of so deep a net, fresh and without averaging, multiplies float32's rounding by
    # hundreds: PyTorch in float32 is as far from PyTorch in float64.
    assert found[1] == pytest.approx(second, rel=5e-3)


def test_archives_keep_the_net(cpu: mps.Device, tmp_path: Path) -> None:
    net = ways.build_net(4, 10, 3, ways.optimizer())
    training = ways.build_training(cpu, net, 8)
    pictures = images.synthetic(8, seed=2)
    steps(training, images.batches(pictures, 8, 2))
    graph = mps.Graph(cpu, [net.logits])
    values = images.normalise(pictures.images)
    expected = np.asarray(encode(graph, {"images": values})[0])
    archiver = mps.KeyedArchiver()
    archiver.encode("net", graph)
    archiver.write(str(tmp_path / "net.safetensors"))
    restored = mps.KeyedUnarchiver(cpu).open(str(tmp_path / "net.safetensors")).decode_graph("net")
    assert np.array_equal(np.asarray(encode(restored, {"images": values})[0]), expected)


# Width 64 is ResNet-50 itself.
@pytest.mark.long
@pytest.mark.parametrize(
    ("width", "count", "rate", "epochs"), [(8, 30, 3e-3, 50), (64, 10, 1e-3, 30)]
)
def test_overfits_a_small_set(
    cpu: mps.Device, width: int, count: int, rate: float, epochs: int
) -> None:
    pictures = images.synthetic(count, seed=6)
    net = ways.build_net(width, 10, 1, mps.OptimizerAdam(rate))
    training = ways.build_training(cpu, net, count)
    losses = steps(training, images.batches(pictures, count, epochs, augmented=False))
    assert losses[0] > 1.5
    assert max(losses[-4:]) < 0.02
    # With the running statistics, too, every picture is told right.
    graph = mps.Graph(cpu, [net.logits])
    logits = np.asarray(encode(graph, {"images": images.normalise(pictures.images)})[0])
    assert np.array_equal(logits[:, 0, 0].argmax(1), pictures.labels)
