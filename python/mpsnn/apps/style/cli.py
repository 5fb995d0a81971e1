# SPDX-License-Identifier: MIT
"""The command `mpsnn style`: train, apply, demo."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import mpsnn as mps
from mpsnn.apps import pictures
from mpsnn.apps.pictures import Picture
from mpsnn.apps.style import photographs
from mpsnn.apps.style.apply import Styliser
from mpsnn.apps.style.features import FeatureNet
from mpsnn.apps.style.model import LossOptions, ModelOptions
from mpsnn.apps.style.photographs import EXTRA
from mpsnn.apps.style.train import TrainOptions, train
from mpsnn.committing import add_options, check_timeline, timeline_of, way_of
from mpsnn.files import prepare_folder, prepare_output
from mpsnn.training import EpochRecord, Trainer

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

DEMO = TrainOptions(
    epochs=12,
    steps=150,
    batch=2,
    edge=64,  # small ones: the style must come in every part of a picture
    learning_rate=3e-3,
    halve_every=4,
    model=ModelOptions(styles=len(photographs.STYLES)),
)
DEMO_STYLE_EDGE = 128
DEMO_SHOWN_EDGE = 192


def add_parser(commands: Commands) -> None:
    """Adds `style` to the commands of `mpsnn`.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser(
        "style", help="paint photographs in a style", description=__doc__.splitlines()[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    _add_train(actions)
    _add_apply(actions)
    _add_demo(actions)


def _add_train(actions: Commands) -> None:
    parser = actions.add_parser("train", help="train a net and write it to an archive")
    parser.add_argument("archive", type=Path, help="the archive to write (.safetensors)")
    parser.add_argument(
        "--style",
        type=Path,
        action="append",
        required=True,
        help="a picture of the style; several times: several styles in one net",
    )
    parser.add_argument(
        "--content",
        type=Path,
        help="a folder of photographs to learn on (default: some that scikit-image ships)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the archive")
    preview = parser.add_mutually_exclusive_group()
    preview.add_argument(
        "--preview",
        type=Path,
        metavar="FOLDER",
        help="for a picture after each epoch (default: the archive's name and -steps, beside it)",
    )
    preview.add_argument("--no-preview", action="store_true", help="draw no such pictures")
    _add_common(parser, TrainOptions())
    parser.set_defaults(run=_train)


def _add_apply(actions: Commands) -> None:
    parser = actions.add_parser("apply", help="paint a photograph with a trained net")
    parser.add_argument("archive", type=Path, help="what `train` wrote")
    parser.add_argument("picture", type=Path, help="the photograph")
    parser.add_argument("--style", type=int, default=0, help="which style (default %(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("stylised.png"), help="(default %(default)s)"
    )
    parser.add_argument(
        "--pad", action="store_true", help="mirror the edges where the size is no multiple of 4"
    )
    parser.add_argument("--device", default="", help="device kind (default: the best here)")
    add_options(parser)
    parser.set_defaults(run=_apply)


def _add_demo(actions: Commands) -> None:
    parser = actions.add_parser("demo", help="all of it, small: train, restore, apply")
    parser.add_argument("--out", type=Path, default=Path("style"), help="(default %(default)s)")
    _add_common(parser, DEMO)
    parser.set_defaults(run=_demo)


def _add_common(parser: argparse.ArgumentParser, options: TrainOptions) -> None:
    add = parser.add_argument
    add(
        "--weights",
        type=Path,
        help="VGG-16's weights as torchvision names them, .safetensors or .pth (default: a random "
        "feature net)",
    )
    add("--epochs", type=int, default=options.epochs, help="in all (default %(default)s)")
    add("--steps", type=int, default=options.steps, help="an epoch (default %(default)s)")
    add("--batch", type=int, default=options.batch, help="(default %(default)s)")
    add("--edge", type=int, default=options.edge, help="of the cutouts (default %(default)s)")
    add("--learning-rate", type=float, default=options.learning_rate, help="(default %(default)s)")
    add("--halve-every", type=int, default=options.halve_every, help="epochs (default %(default)s)")
    add("--style-weight", type=float, default=options.losses.style, help="(default %(default)s)")
    add("--content-weight", type=float, default=options.losses.content, help="(%(default)s)")
    add("--width", type=int, default=options.model.width, help="channels (default %(default)s)")
    add("--residuals", type=int, default=options.model.residuals, help="blocks (%(default)s)")
    add("--seed", type=int, default=options.seed, help="of weights and cutouts (%(default)s)")
    add(
        "--checkpoint-every",
        type=int,
        default=options.checkpoint_every,
        help="epochs (default %(default)s)",
    )
    add("--device", default="", help="device kind (default: the best here)")
    add_options(parser)


def _options(arguments: argparse.Namespace, styles: int) -> TrainOptions:
    return TrainOptions(
        epochs=arguments.epochs,
        steps=arguments.steps,
        batch=arguments.batch,
        edge=arguments.edge,
        learning_rate=arguments.learning_rate,
        halve_every=arguments.halve_every,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        losses=LossOptions(arguments.style_weight, arguments.content_weight),
        model=ModelOptions(arguments.width, arguments.residuals, styles, arguments.seed),
    )


def _features(arguments: argparse.Namespace) -> FeatureNet:
    if arguments.weights is not None:
        return FeatureNet.from_file(arguments.weights)
    print(
        "no --weights: the feature net is VGG-16 with fixed random weights; trained ones give "
        "better pictures"
    )
    return FeatureNet(seed=arguments.seed)


def _content(folder: Path | None, edge: int) -> list[Picture]:
    if folder is not None:
        content = pictures.read_folder(folder, EXTRA)
        photographs.check(content, edge, [str(file) for file in pictures.picture_files(folder)])
        return content
    return [photographs.halved(photographs.bundled(name)) for name in photographs.TRAINED]


def _even(picture: Picture) -> Picture:
    """A picture without the rows and columns that the net cannot take."""
    height, width = (extent - extent % 4 for extent in picture.shape[:2])
    return picture[:height, :width]


def _centred(picture: Picture, size: tuple[int, int]) -> Picture:
    """A square picture in the middle of a white one, as high."""
    height, width = size
    left = (width - height) // 2
    cell = np.ones((height, width, 3), np.float32)
    cell[:, left : left + height] = pictures.resized(picture, (height, height), EXTRA)
    return cell


def _checked_options(arguments: argparse.Namespace, archive: Path, styles: int) -> TrainOptions:
    """Tells what can be told before a picture is read."""
    options = _options(arguments, styles)
    mps.Device(arguments.device)
    check_timeline(arguments.timeline)
    prepare_output(archive)
    return options


def _run(
    arguments: argparse.Namespace,
    options: TrainOptions,
    archive: Path,
    content: list[Picture],
    styles: list[Picture],
    preview: Path | None,
    shown: Picture,
    *,
    resume: bool,
    go_on: str = "",
) -> Trainer:
    def show(record: EpochRecord, styliser: Styliser) -> None:
        if not sys.stderr.isatty():
            print(f"epoch {record.epoch + 1}: loss {record.loss:.4f}", file=sys.stderr)
        if preview is not None:
            every = [styliser(shown, style) for style in range(len(styles))]
            path = preview / f"epoch-{record.epoch + 1:03}.png"
            pictures.write(path, pictures.grid([shown, *every], len(every) + 1), EXTRA)

    timeline = timeline_of(arguments)
    if preview is not None:
        prepare_folder(preview)
    _, trainer = train(
        content,
        styles,
        _features(arguments),
        options,
        archive=archive,
        resume=resume,
        device=mps.Device(arguments.device),
        on_epoch=show,
        way=way_of(arguments),
        timeline=timeline,
    )
    timeline.tell()
    if trainer.interrupted:
        trainer.tell_interrupted(options.epochs, go_on)
        sys.exit(130)
    trainer.tell_nothing_left(options.epochs)
    return trainer


def _train(arguments: argparse.Namespace) -> None:
    archive: Path = arguments.archive
    preview = arguments.preview or archive.with_name(f"{archive.stem}-steps")
    if arguments.resume and not archive.is_file():
        raise mps.FileError(f"{archive}: expected the archive to resume from, got none")
    options = _checked_options(arguments, archive, len(arguments.style))
    styles = [pictures.read(path, EXTRA) for path in arguments.style]
    content = _content(arguments.content, arguments.edge)
    _run(
        arguments,
        options,
        archive,
        content,
        styles,
        None if arguments.no_preview else preview,
        _even(content[0]),
        resume=arguments.resume,
        go_on="--resume",
    )
    print(f"the net is in {archive}")


def _apply(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    prepare_output(arguments.out, pictures.WRITTEN)
    styliser = Styliser.load(arguments.archive, mps.Device(arguments.device))
    picture = pictures.read(arguments.picture, EXTRA)
    with timeline.whole():
        stylised = styliser(picture, arguments.style, pad=arguments.pad, way=way_of(arguments))
    timeline.tell()
    pictures.write(arguments.out, stylised, EXTRA)
    print(f"the stylised picture: {arguments.out}")


def _demo(arguments: argparse.Namespace) -> None:
    out: Path = arguments.out
    prepare_folder(out)
    archive = out / "style.safetensors"
    options = _checked_options(arguments, archive, len(photographs.STYLES))
    unseen = photographs.square(photographs.bundled(photographs.UNSEEN), DEMO_SHOWN_EDGE)
    names = photographs.STYLES
    styles = [photographs.square(photographs.bundled(name), DEMO_STYLE_EDGE) for name in names]
    print(f"1. train on {', '.join(photographs.TRAINED)} in the styles of {' and '.join(names)}")
    _run(
        arguments,
        options,
        archive,
        _content(None, arguments.edge),
        styles,
        out / "steps",
        unseen,
        resume=False,
    )
    print(f"the picture after each epoch: {out / 'steps'}")
    print(f"2. restore {archive} and paint {photographs.UNSEEN}, never trained on")
    styliser = Styliser.load(archive, mps.Device(arguments.device))
    whole = _even(photographs.bundled(photographs.UNSEEN))
    painted = [styliser(whole, style) for style in range(len(styles))]
    for picture, name in zip(painted, names, strict=True):
        pictures.write(out / f"{name}.png", picture, EXTRA)
    above = [_centred(style, whole.shape[:2]) for style in styles]
    cells = [np.ones_like(whole), *above, whole, *painted]
    pictures.write(out / "stylised.png", pictures.grid(cells, 1 + len(styles)), EXTRA)
    print(f"styles over the photograph painted in them: {out / 'stylised.png'}")


__all__ = ["add_parser"]
