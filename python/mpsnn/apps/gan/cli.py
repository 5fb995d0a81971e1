# SPDX-License-Identifier: MIT
"""The command `mpsnn gan`: train, sample, demo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import mpsnn as mps
from mpsnn.apps import pictures
from mpsnn.apps.gan import digits
from mpsnn.apps.gan.apply import Sampler
from mpsnn.apps.gan.classifier import CONFIDENT, Classifier, Quality
from mpsnn.apps.gan.digits import Digits
from mpsnn.apps.gan.model import ModelOptions
from mpsnn.apps.gan.train import TrainOptions, train
from mpsnn.committing import add_options, timeline_of, way_of
from mpsnn.training import EpochRecord

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

EXTRA = "gan"
JUDGED = 1000  # samples that the classifier reads
SHOWN = 60  # samples of a picture
COLUMNS = 12
SAMPLE_SEED = 1_000_000  # of noise that no step has seen


def add_parser(commands: Commands) -> None:
    """Adds `gan` to the commands of `mpsnn`.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser(
        "gan", help="learn to draw digits from noise", description=__doc__.splitlines()[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    training = actions.add_parser("train", help="train the nets and write them to an archive")
    training.add_argument("archive", type=Path, help="the archive to write (.safetensors)")
    training.add_argument("--resume", action="store_true", help="go on from the archive")
    training.add_argument("--preview", type=Path, help="a folder for samples along the way")
    _add_common(training)
    training.set_defaults(run=_train)
    sampling = actions.add_parser("sample", help="draw digits with a trained generator")
    sampling.add_argument("archive", type=Path, help="what `train` wrote")
    sampling.add_argument("--out", type=Path, default=Path("digits.png"), help="(%(default)s)")
    sampling.add_argument("--count", type=int, default=SHOWN, help="(default %(default)s)")
    sampling.add_argument("--seed", type=int, default=SAMPLE_SEED, help="(default %(default)s)")
    sampling.add_argument("--zoom", type=int, default=5, help="edge of a pixel (%(default)s)")
    sampling.add_argument("--device", default="", help="device kind (default: the best here)")
    add_options(sampling)
    sampling.set_defaults(run=_sample)
    demo = actions.add_parser("demo", help="all of it, small: train, judge, restore, sample")
    demo.add_argument("--out", type=Path, default=Path("gan"), help="(default %(default)s)")
    _add_common(demo)
    demo.set_defaults(run=_demo)


def _add_common(parser: argparse.ArgumentParser) -> None:
    options, add = TrainOptions(), parser.add_argument
    add("--mnist", type=Path, help="a folder with MNIST's IDX files (default: scikit-learn's)")
    add("--epochs", type=int, default=options.epochs, help="in all (default %(default)s)")
    add("--batch", type=int, default=options.batch, help="(default %(default)s)")
    add("--learning-rate", type=float, default=options.learning_rate, help="(default %(default)s)")
    add("--halve-every", type=int, default=options.halve_every, help="epochs (default %(default)s)")
    add("--real-label", type=float, default=options.real_label, help="(default %(default)s)")
    add("--latent", type=int, default=options.model.latent, help="(default %(default)s)")
    add("--width", type=int, default=options.model.width, help="channels (default %(default)s)")
    add("--seed", type=int, default=options.seed, help="(default %(default)s)")
    add("--checkpoint-every", type=int, default=options.checkpoint_every, help="epochs")
    add("--judge-every", type=int, default=20, help="epochs (default %(default)s)")
    add("--device", default="", help="device kind (default: the best here)")
    add_options(parser)


def _digits(arguments: argparse.Namespace) -> Digits:
    return digits.bundled() if arguments.mnist is None else digits.mnist(arguments.mnist)


def _options(arguments: argparse.Namespace, edge: int) -> TrainOptions:
    return TrainOptions(
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        halve_every=arguments.halve_every,
        real_label=arguments.real_label,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        model=ModelOptions(edge, arguments.latent, arguments.width, arguments.seed),
    )


def _grid(images: NDArray[np.float32], zoom: int) -> NDArray[np.float32]:
    """Digits as ink on paper, side by side."""
    enlarged = ((1 - images[..., 0]) / 2).repeat(zoom, axis=1).repeat(zoom, axis=2)
    return pictures.grid(list(enlarged), min(COLUMNS, len(images)), gap=zoom)


def _tell(quality: Quality) -> str:
    counts = " ".join(f"{digit}:{count}" for digit, count in enumerate(quality.counts))
    return (
        f"{100 * quality.recognised:.1f} % recognised with a probability of {CONFIDENT} or more, "
        f"{quality.classes} of 10 classes, spread {quality.spread:.3f} ({counts})"
    )


def _run(
    arguments: argparse.Namespace, archive: Path, preview: Path | None, *, resume: bool
) -> Classifier:
    if arguments.judge_every < 1:
        raise mps.InvalidArgumentError(
            f"gan: judge-every: expected 1 or more, got {arguments.judge_every}"
        )
    device = mps.Device(arguments.device)
    real = _digits(arguments)
    trained_on, held_out = real.parted()
    classifier = Classifier(trained_on, device, epochs=12 if arguments.mnist is None else 2)
    print(f"the classifier reads {100 * classifier.accuracy(held_out):.1f} % of unseen real digits")

    def judge(record: EpochRecord, sampler: Sampler) -> None:
        if (record.epoch + 1) % arguments.judge_every:
            return
        quality = classifier.quality(sampler(JUDGED, SAMPLE_SEED))
        record.measures["recognised"] = quality.recognised
        record.measures["spread"] = quality.spread
        if not sys.stderr.isatty():
            print(f"epoch {record.epoch + 1}: {_tell(quality)}", file=sys.stderr)
        if preview is not None:
            path = preview / f"epoch-{record.epoch + 1:04}.png"
            pictures.write(path, _grid(sampler(SHOWN, SAMPLE_SEED), 5), EXTRA)

    timeline = timeline_of(arguments)
    _, trainer = train(
        real,
        _options(arguments, real.edge),
        archive=archive,
        resume=resume,
        device=device,
        on_epoch=judge,
        way=way_of(arguments),
        timeline=timeline,
    )
    timeline.tell()
    if trainer.interrupted:
        print(f"interrupted in epoch {trainer.state.epoch + 1}; go on with --resume")
        sys.exit(130)
    return classifier


def _train(arguments: argparse.Namespace) -> None:
    _run(arguments, arguments.archive, arguments.preview, resume=arguments.resume)
    print(f"the nets are in {arguments.archive}")


def _sample(arguments: argparse.Namespace) -> None:
    if arguments.zoom < 1:
        raise mps.InvalidArgumentError(f"gan: zoom: expected 1 or more, got {arguments.zoom}")
    timeline = timeline_of(arguments)
    sampler = Sampler.load(arguments.archive, mps.Device(arguments.device))
    with timeline.whole():
        images = sampler(arguments.count, arguments.seed, way_of(arguments))
    timeline.tell()
    pictures.write(arguments.out, _grid(images, arguments.zoom), EXTRA)
    print(f"the digits: {arguments.out}")


def _demo(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    archive = out / "gan.safetensors"
    print("1. train a classifier to judge with, then generator and discriminator")
    classifier = _run(arguments, archive, out / "steps", resume=False)
    print(f"samples along the way: {out / 'steps'}")
    print(f"2. restore {archive} and draw")
    sampler = Sampler.load(archive, mps.Device(arguments.device))
    print(_tell(classifier.quality(sampler(JUDGED, SAMPLE_SEED + 1))))
    pictures.write(out / "digits.png", _grid(sampler(SHOWN, SAMPLE_SEED + 1), 5), EXTRA)
    print(f"the digits: {out / 'digits.png'}")


__all__ = ["add_parser"]
