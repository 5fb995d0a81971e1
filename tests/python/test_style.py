# SPDX-License-Identifier: MIT
"""Style transfer: gradients, run, weights of the feature net, command, and bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import mpsnn as mps
from mpsnn import cli
from mpsnn.apps import pictures
from mpsnn.apps.style import (
    FeatureNet,
    LossOptions,
    ModelOptions,
    Styliser,
    TrainOptions,
    photographs,
    train,
)
from mpsnn.apps.style.features import (
    COLOUR_LAYER,
    CONTENT_LAYER,
    DEVIATION,
    MEAN,
    STYLE_LAYERS,
)
from mpsnn.apps.style.model import EPSILON, Transformer, build_training
from mpsnn.apps.style.photographs import cutouts
from mpsnn.apps.style.train import StyleTrainer, style_targets
from mpsnn.committing import WAYS
from mpsnn.training import Batch

jax.config.update("jax_enable_x64", True)

WIDTH, EDGE, BATCH = 2, 16, 2
SMALL = ModelOptions(width=2, residuals=1, styles=2, seed=5)
LOSSES = LossOptions(style=3.0, content=0.5)
Parameters = dict[str, dict[str, jax.Array]]


def picture(seed: int, edge: int = 32) -> pictures.Picture:
    return np.random.default_rng(seed).random((edge, edge, 3), np.float32)


def convolved(x: jax.Array, p: dict[str, jax.Array], stride: int = 1) -> jax.Array:
    """Same size, rounded up; an odd remainder is at the top left."""
    kernel = p["weights"].shape[1]
    pads = []
    for extent in x.shape[1:3]:
        whole = max((-(-extent // stride) - 1) * stride + kernel - extent, 0)
        pads.append((-(-whole // 2), whole // 2))
    y = jax.lax.conv_general_dilated(
        x, p["weights"], (stride, stride), pads, dimension_numbers=("NHWC", "OHWI", "NHWC")
    )
    return y + p["bias"] if "bias" in p else y


def doubled(x: jax.Array, axis: int) -> jax.Array:
    """Bilinear, without a shift: each second row is the mean of its neighbours."""
    index = np.arange(x.shape[axis])
    following = jnp.take(x, np.minimum(index + 1, len(index) - 1), axis)
    shape = (*x.shape[:axis], 2 * x.shape[axis], *x.shape[axis + 1 :])
    return jnp.stack([x, (x + following) / 2], axis + 1).reshape(shape)


def transformed(p: Parameters, content: jax.Array) -> jax.Array:
    def layer(x: jax.Array, name: str, stride: int = 1) -> jax.Array:
        y = convolved(x, p[name], stride)
        mean, variance = y.mean((1, 2), keepdims=True), y.var((1, 2), keepdims=True)
        n = p[f"{name}.normalization"]
        return (y - mean) / jnp.sqrt(variance + EPSILON) * n["gamma"] + n["beta"]

    x = jax.nn.relu(layer(content, "down0"))
    x = jax.nn.relu(layer(x, "down1", 2))
    x = jax.nn.relu(layer(x, "down2", 2))
    x = x + layer(jax.nn.relu(layer(x, "residual0.0")), "residual0.1")
    for name in ("up1", "up0"):
        x = jax.nn.relu(layer(doubled(doubled(x, 1), 2), name))
    return jax.nn.sigmoid(convolved(x, p["rgb"]))


def features(net: FeatureNet, image: jax.Array) -> dict[str, jax.Array]:
    x = (image - jnp.asarray(MEAN, jnp.float64)) / jnp.asarray(DEVIATION, jnp.float64)
    ones = jnp.ones((*x.shape[:-1], 1))
    sources, found = iter(net.data_sources.values()), {COLOUR_LAYER: jnp.concatenate([x, ones], 3)}
    for block, count in ((1, 2), (2, 2), (3, 3), (4, 3)):
        for index in range(1, count + 1):
            source = next(sources)
            p = {n: jnp.asarray(source.initial(n), jnp.float64) for n in ("weights", "bias")}
            x = jax.nn.relu(convolved(x, p))
            found[f"relu{block}_{index}"] = x
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
    return found


def gram(x: jax.Array) -> jax.Array:
    return jnp.einsum("nhwc,nhwd->ncd", x, x) / (x.shape[1] * x.shape[2])


def loss_of(p: Parameters, net: FeatureNet, content: jax.Array, style: jax.Array) -> jax.Array:
    painted, wanted = features(net, transformed(p, content)), features(net, content)
    look = features(net, style)
    error = ((painted[CONTENT_LAYER] - wanted[CONTENT_LAYER]) ** 2).mean()
    loss = LOSSES.content * error / (look[CONTENT_LAYER] ** 2).mean()
    for layer in (COLOUR_LAYER, *STYLE_LAYERS):
        target = gram(look[layer])
        error = ((gram(painted[layer]) - target) ** 2).sum((1, 2)).mean()
        loss = loss + LOSSES.style * error / (target**2).sum()
    return loss


def test_gradients_are_those_of_jax() -> None:
    device, style = mps.Device("cpu"), 1
    net = Transformer(SMALL, mps.OptimizerStochasticGradientDescent(1.0))
    feature_net = FeatureNet(WIDTH, seed=1)
    feature_net.standardise(device, np.stack([picture(0), picture(3)]))
    sources: dict[str, mps.DataSource] = dict(net.convolutions)
    sources |= {f"{n}.normalization": s[style] for n, s in net.normalizations.items()}

    def parameters() -> Parameters:
        return {
            label: {
                name: jnp.asarray(device.read_parameter(source, name), jnp.float64)
                for name in source.parameters
                if name in ("weights", "bias", "gamma", "beta")
            }
            for label, source in sources.items()
        }

    targets = style_targets(device, feature_net, picture(3))
    graph = build_training(device, net, feature_net, targets, style, BATCH, (EDGE, EDGE), LOSSES)
    content = np.stack([picture(seed, EDGE) for seed in (1, 2)])
    before = parameters()
    kept = [device.read_parameter(s, "weights") for s in feature_net.data_sources.values()]
    commands = mps.CommandBuffer(device.command_queue())
    repeated = {name: np.repeat(array, BATCH, axis=0) for name, array in targets.items()}
    outputs = graph.encode(commands, {"content": content, **repeated})
    commands.commit()
    commands.wait_until_completed()
    value, gradients = jax.jit(jax.value_and_grad(loss_of), static_argnums=1)(
        before,
        feature_net,
        jnp.asarray(content, jnp.float64),
        jnp.asarray(picture(3)[None], jnp.float64),
    )
    np.testing.assert_allclose(np.asarray(outputs["loss"], np.float64).sum(), value, rtol=1e-4)
    after = parameters()
    scale = max(float(jnp.abs(a).max()) for arrays in gradients.values() for a in arrays.values())
    for label, arrays in gradients.items():
        for name, expected in arrays.items():
            got = before[label][name] - after[label][name]
            np.testing.assert_allclose(got, expected, atol=1e-4 * scale, err_msg=label)
    for source, array in zip(feature_net.data_sources.values(), kept, strict=True):
        assert np.array_equal(device.read_parameter(source, "weights"), array)
    first_style = net.normalizations["down0"][0]
    assert np.array_equal(device.read_parameter(first_style, "gamma"), np.ones(2, np.float32))


def options(epochs: int, **changes: object) -> TrainOptions:
    values = {"epochs": epochs, "steps": 3, "batch": BATCH, "edge": EDGE, "model": SMALL}
    return TrainOptions(**{**values, **changes})  # type: ignore[arg-type]


def run_training(epochs: int, path: Path | None = None, **arguments: object) -> Styliser:
    styliser, _ = train(
        [picture(1), picture(2, 24)],
        [picture(3), picture(4, 40)],
        FeatureNet(WIDTH),
        options(epochs),
        archive=path,
        progress=False,
        **arguments,  # type: ignore[arg-type]
    )
    return styliser


def test_training_lowers_the_loss_and_tells_styles_apart() -> None:
    losses: list[float] = []
    styliser, _ = train(
        [picture(1)],
        [picture(3), np.clip(picture(4) * (1, 0.2, 0), 0, 1).astype(np.float32)],
        FeatureNet(WIDTH),
        options(8, learning_rate=1e-2, steps=8),
        progress=False,
        on_epoch=lambda record, _: losses.append(record.loss),
    )
    assert losses[-1] < 0.8 * losses[0]
    shown = picture(9, 20)
    first, second = styliser(shown, 0), styliser(shown, 1)
    assert first.shape == shown.shape
    assert np.abs(first - second).mean() > 0.01


def test_resume_continues_bit_exactly(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    whole = run_training(4)
    run_training(2, path)
    rest = run_training(4, path, resume=True)
    for style in (0, 1):
        expected = whole(picture(9), style)
        assert np.array_equal(rest(picture(9), style), expected)
        assert np.array_equal(Styliser.load(path)(picture(9), style), expected)


def test_a_run_interrupted_within_an_epoch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole = tmp_path / "net.safetensors", run_training(3)
    encode, left = StyleTrainer.encode, 5  # Ctrl-C in the second step of the second epoch

    def encode_and_interrupt(
        self: StyleTrainer, commands: mps.CommandBuffer, batch: Batch
    ) -> mps.Image:
        nonlocal left
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)
        return encode(self, commands, batch)

    monkeypatch.setattr(StyleTrainer, "encode", encode_and_interrupt)
    run_training(3, path)
    stands = json.loads(mps.KeyedUnarchiver(mps.Device("cpu")).open(str(path)).metadata["trainer"])
    assert (stands["epoch"], stands["batch"]) == (1, 2)
    rest = run_training(3, path, resume=True)
    for style in (0, 1):
        assert np.array_equal(rest(picture(9), style), whole(picture(9), style))


def test_resume_refuses_other_styles(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    run_training(1, path)
    with pytest.raises(
        mps.InvalidArgumentError,
        match=r"resume: styles: expected 2 seen through the feature net, checksum \w{8} as in",
    ):
        train(
            [picture(1), picture(2, 24)],
            [picture(3), picture(5)],
            FeatureNet(WIDTH),
            options(2),
            archive=path,
            resume=True,
            progress=False,
        )
    with pytest.raises(
        mps.InvalidArgumentError,
        match=r"resume: photographs: expected 2, checksum \w{8} as in .*, got 1, checksum \w{8}",
    ):
        train(
            [picture(1)],
            [picture(3), picture(4, 40)],
            FeatureNet(WIDTH),
            options(2),
            archive=path,
            resume=True,
            progress=False,
        )


def test_cutouts_lie_in_the_photographs() -> None:
    photographs = [np.full((20, 40, 3), 0.25, np.float32), np.full((16, 16, 3), 0.75, np.float32)]
    found = list(cutouts(photographs, 16, 4, 5, np.random.default_rng(0)))
    assert [batch.shape for batch in found] == [(4, 16, 16, 3)] * 5
    assert {float(cut.mean()) for batch in found for cut in batch} == {0.25, 0.75}


# Where torchvision's VGG-16 has its convolutions, and their channels over the first layer's.
VGG = {
    **dict(zip((0, 2, 5, 7), ((0, 1), (1, 1), (1, 2), (2, 2)), strict=True)),
    **dict(zip((10, 12, 14, 17), ((2, 4), (4, 4), (4, 4), (4, 8)), strict=True)),
    **dict.fromkeys((19, 21, 24, 26, 28), (8, 8)),
}


def vgg_tensors(width: int = WIDTH) -> dict[str, np.ndarray]:
    """A state dict with torchvision's names, order and layout, and random weights."""
    generator, tensors = np.random.default_rng(8), {}
    for place, (inputs, outputs) in VGG.items():
        shape = (outputs * width, inputs * width or 3, 3, 3)
        scale = np.sqrt(2 / np.prod(shape[1:]))
        tensors[f"features.{place}.weight"] = generator.normal(0, scale, shape).astype(np.float32)
        tensors[f"features.{place}.bias"] = generator.normal(0, 0.1, shape[0]).astype(np.float32)
    for place, shape in ((0, (4, 8 * width)), (3, (4, 4)), (6, (3, 4))):
        tensors[f"classifier.{place}.weight"] = generator.normal(0, 1, shape).astype(np.float32)
        tensors[f"classifier.{place}.bias"] = np.zeros(shape[0], np.float32)
    return tensors


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    tensors, path = vgg_tensors(), tmp_path / f"vgg16{suffix}"
    if suffix == ".pth":
        torch = pytest.importorskip("torch")
        torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, path)
    else:
        pytest.importorskip("safetensors.numpy").save_file(tensors, path)
    net = FeatureNet.from_file(path)
    assert (net.width, net.is_random) == (WIDTH, False)
    weights = net.data_sources["features.28"].initial("weights")
    assert np.array_equal(weights, tensors["features.28.weight"].transpose(0, 2, 3, 1))
    net.standardise(mps.Device("cpu"), picture(0)[None])
    assert np.array_equal(net.data_sources["features.28"].initial("weights"), weights)


def test_bad_weights(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.numpy").save_file
    path = tmp_path / "weights.safetensors"
    with pytest.raises(mps.FileError, match=r"weights\.safetensors: .* no such file"):
        FeatureNet.from_file(path)
    path.write_text("no tensors at all")
    with pytest.raises(mps.FileError, match="expected a safetensors file"):
        FeatureNet.from_file(path)
    save_file({"other": np.zeros(3, np.float32)}, path)
    with pytest.raises(mps.InvalidArgumentError, match=r"no 'features\.0\.weight'"):
        FeatureNet.from_file(path)
    tensors = vgg_tensors()
    gone = {name: array for name, array in tensors.items() if name != "features.7.bias"}
    cut = tensors["features.12.weight"][:, :1].copy()
    for changed, text in (
        (gone, r"missing or not expected: features\.7\.bias"),
        (tensors | {"features.29.weight": cut}, r"not expected: features\.29\.weight"),
        (tensors | {"features.12.weight": cut}, r"features\.12\.weight: .* \(8, 8, 3, 3\), got"),
        (tensors | {"features.2.bias": np.zeros(2, np.int32)}, r"floating point, got int32"),
        (
            tensors | {"features.2.bias": np.full(2, np.nan, np.float32)},
            r"2\.bias: expected finite",
        ),
        (tensors | {"features.0.weight": np.zeros(6, np.float32)}, "of 4 dimensions"),
    ):
        save_file(changed, path)
        with pytest.raises(mps.InvalidArgumentError, match=rf"weights\.safetensors: .*{text}"):
            FeatureNet.from_file(path)


def test_weights_that_see_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    dead = {name: np.zeros_like(array) for name, array in vgg_tensors().items()}
    pytest.importorskip("safetensors.numpy").save_file(dead, path)
    with pytest.raises(mps.InvalidArgumentError, match=r"expected features in relu1_2, got none"):
        train(
            [picture(1)], [picture(3)] * 2, FeatureNet.from_file(path), options(1), progress=False
        )


def test_pytorchs_types(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    tensors = {name: torch.from_numpy(array) for name, array in vgg_tensors().items()}
    path = tmp_path / "vgg16.pth"
    torch.save({name: tensor.bfloat16() for name, tensor in tensors.items()}, path)
    weights = FeatureNet.from_file(path).data_sources["features.28"].initial("weights")
    wanted = tensors["features.28.weight"].bfloat16().float().numpy().transpose(0, 2, 3, 1)
    assert np.array_equal(weights, wanted)
    torch.save(tensors | {"features.2.bias": torch.zeros(2, dtype=torch.int64)}, path)
    with pytest.raises(mps.InvalidArgumentError, match=r"floating point, got int64"):
        FeatureNet.from_file(path)
    torch.save([1, 2], path)
    with pytest.raises(mps.FileError, match=r"vgg16\.pth: expected PyTorch's file of tensors"):
        FeatureNet.from_file(path)


def test_the_losses_look_through_the_weights_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "vgg16.safetensors"
    pytest.importorskip("safetensors.numpy").save_file(vgg_tensors(), path)
    net, p = FeatureNet.from_file(path), vgg_tensors()
    shown = picture(3)
    found = style_targets(mps.Device("cpu"), net, shown)
    x = (jnp.asarray(shown[None], jnp.float64) - MEAN) / DEVIATION
    for place in (0, 2):
        weights = jnp.asarray(p[f"features.{place}.weight"].transpose(0, 2, 3, 1), jnp.float64)
        bias = jnp.asarray(p[f"features.{place}.bias"], jnp.float64)
        x = jax.nn.relu(convolved(x, {"weights": weights, "bias": bias}))
    wanted = np.asarray(gram(x))[0]
    np.testing.assert_allclose(found["gram.relu1_2"][0, 0], wanted, rtol=1e-4)


def test_bad_pictures(tmp_path: Path) -> None:
    styliser = run_training(1)
    with pytest.raises(mps.InvalidArgumentError, match="multiples of 4 from 16 on, got 30 x 32"):
        styliser(picture(0)[:30])
    assert styliser(picture(0)[:30], pad=True).shape == (30, 32, 3)
    with pytest.raises(mps.InvalidArgumentError, match="style: expected 0 to 1"):
        styliser(picture(0), 2)
    with pytest.raises(mps.InvalidArgumentError, match=r"got \(32, 32\)"):
        styliser(picture(0)[..., 0])
    with pytest.raises(mps.InvalidArgumentError, match="photograph 0: expected 16 x 16"):
        train([picture(0, 12)], [picture(1)] * 2, FeatureNet(WIDTH), options(1), progress=False)
    with pytest.raises(mps.InvalidArgumentError, match="picture of a style"):
        train([picture(0)], [picture(1, 12)] * 2, FeatureNet(WIDTH), options(1), progress=False)
    with pytest.raises(mps.InvalidArgumentError, match="edge: expected a multiple of 8"):
        options(1, edge=20)
    with pytest.raises(mps.FileError, match="expected pictures"):
        pictures.read_folder(tmp_path, "style")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG and no more")
    with pytest.raises(mps.FileError, match=r"broken\.png: expected a picture, it cannot be read"):
        pictures.read_folder(tmp_path, "style")


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mpsnn", "style", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)


def test_command(tmp_path: Path) -> None:
    for name, edge in (("a", 32), ("b", 24)):
        pictures.write(tmp_path / "photographs" / f"{name}.png", picture(1, edge), "style")
    look, net, out = (tmp_path / name for name in ("look.png", "net.safetensors", "out.png"))
    pictures.write(look, picture(2), "style")
    save_file = pytest.importorskip("safetensors.numpy").save_file
    save_file(vgg_tensors(), tmp_path / "vgg.safetensors")
    small = ("--steps", 2, "--batch", 1, "--edge", 16, "--width", 2, "--residuals", 1)
    files = ("--style", look, "--style", look, "--content", tmp_path / "photographs")
    weights = ("--weights", tmp_path / "vgg.safetensors", "--commit", "continue")
    preview, common = tmp_path / "net-steps", ("train", net, *files, *small, *weights)
    done = run(*common, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert "random" not in done.stdout
    steps = tmp_path / "steps.json"
    done = run(*common, "--epochs", 2, "--resume", "--no-preview", "--timeline", steps)
    assert done.returncode == 0, done.stderr
    assert "no timeline: the run ended before step 3" in done.stdout
    assert "nothing was left" not in done.stdout
    done = run(*common, "--epochs", 2, "--resume", "--no-preview")
    assert done.returncode == 0, done.stderr
    assert "nothing was left to train: of 2 epochs 2 were done" in done.stdout
    done = run("apply", net, look, "--style", 1, "--out", out)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in preview.iterdir()] == ["epoch-001.png"]
    for path in (out, preview / "epoch-001.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    painting = ["style", "apply", str(net), str(look), "--style", "1", "--out"]
    for way in WAYS:  # the same picture, whichever way, and what painted it
        again, trace = tmp_path / f"{way.key}.png", tmp_path / f"{way.key}.json"
        assert cli.main([*painting, str(again), "--commit", way.key, "--timeline", str(trace)]) == 0
        assert again.read_bytes() == out.read_bytes()
        assert "convolution" in trace.read_text("utf-8")
    done = run("apply", net, tmp_path / "none.png")
    assert done.returncode == 2
    assert "none.png: expected a picture, there is no such file" in done.stderr
    done = run("apply", tmp_path / "vgg.safetensors", look)
    assert done.returncode == 2
    assert "vgg.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_that_cannot_end_well_do_not_begin(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look, net, taken = (tmp_path / name for name in ("look.png", "net.safetensors", "taken"))
    pictures.write(look, picture(2, 64), "style")
    taken.write_text("a file")
    training = ["train", net, "--style", look]
    for arguments, text in (
        (["demo", "--out", taken], "taken: expected a folder to write to, it is a file"),
        ([*training, "--preview", taken], "taken: expected a folder to write to, it is a file"),
        ([*training, "--seed", -1], "style: seed: expected 0 or more, got -1"),
        (["train", net, "--style", tmp_path], "expected a picture, it is a folder"),
        (["apply", net, look, "--out", tmp_path / "made.txt"], "expected a file ending in .bmp, "),
    ):
        assert cli.main(["style", *map(str, arguments)]) == 2
        assert text in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["look.png", "taken"]


@pytest.mark.long
def test_the_demo_makes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ("--epochs", "2", "--steps", "2", "--batch", "1", "--edge", "32", "--width", "4")
    assert cli.main(["style", "demo", "--out", str(tmp_path), *small, "--residuals", "1"]) == 0
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.png")}
    styles = {f"{name}.png" for name in photographs.STYLES}
    assert names == {"stylised.png", "steps/epoch-001.png", "steps/epoch-002.png", *styles}
    for name in styles:
        assert pictures.read(tmp_path / name, "style").shape[:2] == (300, 448)
    assert not set(photographs.STYLES) & {*photographs.TRAINED, photographs.UNSEEN}
    with Image.open(tmp_path / "stylised.png") as drawn:
        assert drawn.size == (3 * 450 - 2, 2 * 302 - 2)  # the photograph beside what was painted
    assert "fixed random weights" in capsys.readouterr().out
    assert len(Styliser.load(tmp_path / "style.safetensors").graphs) == len(photographs.STYLES)
