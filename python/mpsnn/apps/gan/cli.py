# SPDX-License-Identifier: MIT
"""The command `mpsnn gan`: train, sample, demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import mpsnn as mps
from mpsnn.apps.gan.apply import Generator, asked_digits
from mpsnn.apps.gan.data import Digits, bundled, mnist
from mpsnn.apps.gan.model import ModelOptions
from mpsnn.apps.gan.pictures import save_curves, save_grid
from mpsnn.apps.gan.quality import Quality
from mpsnn.apps.gan.train import JUDGED, JUDGED_SEED, AdversarialTrainer, TrainOptions, train
from mpsnn.apps.pictures import WRITTEN
from mpsnn.committing import StepTimeline, add_options, timeline_of, way_of
from mpsnn.files import prepare_drawing, prepare_folder, prepare_output
from mpsnn.training import EpochRecord

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

COLUMNS = 20  # each column shows one digit
SHOWN = 8 * COLUMNS


def add_parser(commands: Commands) -> None:
    """Adds `gan` to the commands of `mpsnn`.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser(
        "gan", help="learn to draw handwritten digits", description=__doc__.splitlines()[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    _add_train(actions)
    _add_sample(actions)
    _add_demo(actions)


def _add_train(actions: Commands) -> None:
    parser = actions.add_parser("train", help="train generator and discriminator")
    parser.add_argument("archive", type=Path, help="the archive to write (.safetensors)")
    samples = parser.add_mutually_exclusive_group()
    samples.add_argument(
        "--samples",
        type=Path,
        metavar="FOLDER",
        help="for a grid of samples along training (default: the archive's name and -samples, "
        "beside it)",
    )
    samples.add_argument("--no-samples", action="store_true", help="draw no grids along training")
    parser.add_argument(
        "--curves", type=Path, help="also draw losses and quality (.png, .svg, .pdf)"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the archive")
    _add_run_options(parser)
    parser.set_defaults(run=_train)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    options = TrainOptions()
    add = parser.add_argument
    add(
        "--mnist",
        type=Path,
        metavar="FOLDER",
        help="train on MNIST: the folder of train-images-idx3-ubyte and train-labels-idx1-ubyte, "
        "compressed or not (default: scikit-learn's bundled digits, enlarged)",
    )
    add(
        "--edge",
        type=int,
        default=options.model.edge,
        help="of the bundled digits in pixels (default %(default)s; MNIST's stay 28)",
    )
    add(
        "--latent",
        type=int,
        default=options.model.latent,
        help="random numbers of a picture (default %(default)s)",
    )
    add("--width", type=int, default=options.model.width, help="channels (default %(default)s)")
    add(
        "--dropout",
        type=float,
        default=options.model.dropout,
        help="share of values that the discriminator drops (default %(default)s)",
    )
    add("--epochs", type=int, default=options.epochs, help="in all (default %(default)s)")
    add("--batch", type=int, default=options.batch, help="pictures a step (default %(default)s)")
    add("--learning-rate", type=float, default=options.learning_rate, help="(default %(default)s)")
    add("--halve-every", type=int, default=options.halve_every, help="epochs (default %(default)s)")
    add(
        "--averaging",
        type=float,
        default=options.averaging,
        help="share that an epoch leaves of the average of the generator's weights, which draws "
        "(default %(default)s; 0: the latest weights draw)",
    )
    add(
        "--judge-every",
        type=int,
        default=options.judge_every,
        help="epochs between two measures (default %(default)s)",
    )
    add(
        "--seed", type=int, default=options.seed, help="of all that is random (default %(default)s)"
    )
    add(
        "--checkpoint-every",
        type=int,
        default=options.checkpoint_every,
        help="epochs (default %(default)s)",
    )
    add("--device", default="", help="device kind (default: the best here)")
    add_options(parser)


def _add_sample(actions: Commands) -> None:
    parser = actions.add_parser("sample", help="draw digits with a trained generator")
    parser.add_argument("archive", type=Path, help="what `train` wrote")
    parser.add_argument("--count", type=int, default=SHOWN, help="digits (default %(default)s)")
    parser.add_argument("--digit", type=int, help="which one, 0 to 9 (default: all in turn)")
    parser.add_argument("--columns", type=int, default=COLUMNS, help="(default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the digits (default %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("samples.png"),
        help=f"the suffix picks the format: {', '.join(WRITTEN)} (default %(default)s)",
    )
    parser.add_argument("--device", default="", help="device kind (default: the best here)")
    add_options(parser)
    parser.set_defaults(run=_sample)


def _add_demo(actions: Commands) -> None:
    parser = actions.add_parser("demo", help="all of it: train, restore, draw, measure")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FOLDER",
        default=Path("demo"),
        help="for archive and pictures (default %(default)s)",
    )
    _add_run_options(parser)
    parser.set_defaults(run=_demo)


def _digits(arguments: argparse.Namespace) -> Digits:
    if arguments.mnist is not None:
        return mnist(arguments.mnist)
    return bundled(arguments.edge)


def _train_options(arguments: argparse.Namespace, edge: int) -> TrainOptions:
    return TrainOptions(
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        halve_every=arguments.halve_every,
        averaging=arguments.averaging,
        judge_every=arguments.judge_every,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        model=ModelOptions(
            edge, arguments.latent, arguments.width, arguments.dropout, arguments.seed
        ),
    )


def _judged(generator: Generator) -> Quality | None:
    if generator.classifier is None:
        return None
    return generator.classifier.quality(generator(JUDGED, JUDGED_SEED), asked_digits(JUDGED))


def _samples_folder(arguments: argparse.Namespace) -> Path | None:
    if arguments.no_samples:
        return None
    archive: Path = arguments.archive
    return arguments.samples or archive.parent / f"{archive.stem}-samples"


def _announcer(
    folder: Path | None, digits: Digits
) -> Callable[[EpochRecord | None, Generator], None]:
    """Tells the quality along training, and draws the same grid of samples each time.

    Args:
        folder: For the grids, and one of real digits; None: none is drawn.
        digits: The real ones.
    """

    def announce(record: EpochRecord | None, generator: Generator) -> None:
        epoch = 0 if record is None else record.epoch + 1
        if record is None and generator.classifier is not None:
            right = 100 * generator.classifier.accuracy
            print(f"the judge is right on {right:.1f} % of real digits it has not seen", flush=True)
        print(f"epoch {epoch}: {_judged(generator)}", flush=True)
        if folder is not None:
            real = folder / "real.png"
            if record is None or not real.is_file():
                save_grid(real, digits.pictures[:SHOWN], COLUMNS)
            save_grid(folder / f"epoch-{epoch:03}.png", generator(SHOWN), COLUMNS)

    return announce


def _run(
    arguments: argparse.Namespace,
    archive: Path,
    samples: Path | None,
    curves: Path | None,
    timeline: StepTimeline,
    *,
    resume: bool,
) -> AdversarialTrainer:
    if resume and not archive.is_file():
        raise mps.FileError(f"{archive}: expected the archive to resume from, got none")
    if curves is not None:
        prepare_drawing(curves, "gan", "drawing curves")
    digits = _digits(arguments)
    options = _train_options(arguments, digits.edge)
    if samples is not None:
        prepare_output(archive)
        prepare_folder(samples)
    _, trainer = train(
        digits,
        options,
        archive=archive,
        resume=resume,
        device=mps.Device(arguments.device),
        on_judged=_announcer(samples, digits),
        way=way_of(arguments),
        timeline=timeline,
    )
    timeline.tell()
    if curves is not None and trainer.state.history:
        save_curves(curves, trainer.state.history)
        print(f"losses and quality over the epochs: {curves}")
    if trainer.interrupted:
        go_on = f"`mpsnn gan train {archive} --resume` and the same options"
        trainer.tell_interrupted(options.epochs, go_on)
        sys.exit(130)
    trainer.tell_nothing_left(options.epochs)
    return trainer


def _train(arguments: argparse.Namespace) -> None:
    timeline, samples = timeline_of(arguments), _samples_folder(arguments)
    _run(
        arguments,
        arguments.archive,
        samples,
        arguments.curves,
        timeline,
        resume=arguments.resume,
    )
    if samples is not None:
        print(f"digits along training: {samples}")
    print(f"the nets are in {arguments.archive}")


def _sample(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    prepare_output(arguments.out, WRITTEN)
    if arguments.columns < 1:
        raise mps.InvalidArgumentError(f"gan: columns: expected 1 or more, got {arguments.columns}")
    generator = Generator.load(arguments.archive, mps.Device(arguments.device))
    pictures = generator(
        arguments.count, arguments.seed, way_of(arguments), timeline, arguments.digit
    )
    timeline.tell()
    save_grid(arguments.out, pictures, arguments.columns)
    if generator.classifier is not None:
        asked = asked_digits(arguments.count, arguments.digit)
        print(f"{arguments.count} digits: {generator.classifier.quality(pictures, asked)}")
    print(f"the digits: {arguments.out}")


def _demo(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    out: Path = arguments.out
    archive, device = out / "gan.safetensors", mps.Device(arguments.device)
    prepare_folder(out)
    print(f"1. train a judge, then generator and discriminator, on {device.name}")
    _run(arguments, archive, out / "digits", out / "gan-curves.png", timeline, resume=False)
    print(f"2. restore {archive} and draw")
    generator = Generator.load(archive, device)
    save_grid(out / "gan.png", generator(SHOWN), COLUMNS)
    print(f"{JUDGED} digits: {_judged(generator)}")
    print(f"the digits: {out / 'gan.png'}, along training: {out / 'digits'}")


__all__ = ["add_parser"]
