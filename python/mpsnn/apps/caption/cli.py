# SPDX-License-Identifier: MIT
"""The command `mpsnn caption`: train, apply, demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import mpsnn as mps
from mpsnn.apps.caption import pictures, scenes
from mpsnn.apps.caption.apply import Caption, Captioner, device_for_pictures
from mpsnn.apps.caption.decoder import check_beam
from mpsnn.apps.caption.model import INCEPTION, SMALL, ModelOptions, check_weights
from mpsnn.apps.caption.scenes import Captioned, FloatArray
from mpsnn.apps.caption.train import (
    Accuracy,
    DataFactory,
    TrainOptions,
    accuracy,
    caption_all,
    check_batch,
    train,
)
from mpsnn.committing import StepTimeline, add_options, timeline_of, way_of
from mpsnn.files import DRAWINGS, optional_module, prepare_output
from mpsnn.training import EpochRecord

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# Seeds from here on are never trained on.
UNSEEN = 1_000_000
INCEPTION_SIZE = 299
# Of drawn scenes: options that a folder of pictures has no use for, and what they are if not given.
DRAWN = {"count": 4000, "validation_count": 300, "refresh_every": TrainOptions().refresh_every}
SHOWN = 12
# The same of `apply`, which has no use for them beside pictures.
APPLIED = {"scenes": SHOWN, "seed": UNSEEN}
TIMED = 3


def add_parser(commands: Commands) -> None:
    """Adds `caption` to the commands of `mpsnn`.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser(
        "caption", help="describe pictures in words", description=__doc__.splitlines()[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    _add_train(actions)
    _add_apply(actions)
    _add_demo(actions)


def _add_train(actions: Commands) -> None:
    parser = actions.add_parser("train", help="train a captioner and write it to an archive")
    add = parser.add_argument
    add("archive", type=Path, help="the archive to write (.safetensors)")
    add("--folder", type=Path, help="pictures of one's own with captions.tsv: file, tab, sentence")
    add("--validation-folder", type=Path, help="the same, never trained on")
    add(
        "--features",
        choices=(SMALL, INCEPTION),
        default=SMALL,
        help="convolutions that are trained, or Inception-v3, which stays (default %(default)s)",
    )
    add("--weights", type=Path, help="of --features inception: safetensors, torchvision's names")
    add("--resume", action="store_true", help="go on from the archive, with the same data")
    _add_options(parser)
    parser.set_defaults(run=_train)


def _add_options(parser: argparse.ArgumentParser) -> None:
    options = TrainOptions()
    widths = ",".join(map(str, options.model.widths))
    add = parser.add_argument
    add("--size", type=int, help="edge of the pictures in pixels (48; 299 for Inception-v3)")
    add(
        "--widths",
        type=_widths,
        help=f"of the small net's layers (default {widths})",
    )
    add("--embedding", type=int, default=options.model.embedding, help="(default %(default)s)")
    add("--hidden", type=int, default=options.model.hidden, help="of the LSTM (%(default)s)")
    add("--count", type=int, help=f"scenes to draw (default {DRAWN['count']})")
    add("--validation-count", type=int, help=f"held-out scenes ({DRAWN['validation_count']})")
    add("--epochs", type=int, default=options.epochs, help="in all (default %(default)s)")
    add("--batch", type=int, default=options.batch, help="pictures a step (%(default)s)")
    add("--learning-rate", type=float, default=options.learning_rate, help="(%(default)s)")
    add("--halve-every", type=int, default=options.halve_every, help="epochs (%(default)s)")
    add(
        "--refresh-every",
        type=int,
        help=f"epochs until new scenes are drawn (default {DRAWN['refresh_every']}; 0: never)",
    )
    add("--validate-every", type=int, default=options.validate_every, help="epochs (%(default)s)")
    add(
        "--checkpoint-every",
        type=int,
        default=options.checkpoint_every,
        help="epochs (%(default)s)",
    )
    add("--seed", type=int, default=options.seed, help="of weights and order (%(default)s)")
    add("--device", default="", help="device kind (default: the best here)")
    add_options(parser)


def _add_apply(actions: Commands) -> None:
    parser = actions.add_parser("apply", help="caption pictures with a trained captioner")
    add = parser.add_argument
    add("archive", type=Path, help="what `train` wrote")
    add("pictures", type=Path, nargs="*", help="picture files; none: held-out scenes are drawn")
    add("--scenes", type=int, help=f"how many (default {APPLIED['scenes']})")
    add("--seed", type=int, help=f"of the scenes ({APPLIED['seed']})")
    add("--beam", type=int, default=1, help="sentences followed at once; 1: greedy (%(default)s)")
    add("--out", type=Path, help="also draw pictures and captions (.png, .svg, .pdf)")
    add("--time", action="store_true", help="also measure it with and without predicates")
    add("--device", default="", help="device kind (default: the best here)")
    add_options(parser)
    parser.set_defaults(run=_apply)


def _add_demo(actions: Commands) -> None:
    parser = actions.add_parser(
        "demo", help="all of it, small: draw scenes, train, restore, caption, measure"
    )
    parser.add_argument("--out", type=Path, default=Path("demo"), help="(default %(default)s)")
    parser.add_argument("--beam", type=int, default=3, help="(default %(default)s)")
    _add_options(parser)
    parser.set_defaults(run=_demo, features=SMALL, resume=False, weights=None)


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers as 24,48,64, got {text!r}") from None


def _drawn_option(
    arguments: argparse.Namespace, name: str, otherwise: Mapping[str, int] = DRAWN
) -> int:
    given: int | None = getattr(arguments, name)
    return otherwise[name] if given is None else given


def _refuse_of_scenes(arguments: argparse.Namespace, names: Iterable[str], beside: str) -> None:
    for name in names:
        if getattr(arguments, name) is not None:
            raise mps.InvalidArgumentError(
                f"{name.replace('_', '-')}: expected none with {beside}, it is of scenes that are "
                f"drawn, got {getattr(arguments, name)}"
            )


def _train_options(arguments: argparse.Namespace) -> TrainOptions:
    default = INCEPTION_SIZE if arguments.features == INCEPTION else ModelOptions().size
    return TrainOptions(
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        halve_every=arguments.halve_every,
        refresh_every=_drawn_option(arguments, "refresh_every"),
        validate_every=arguments.validate_every,
        checkpoint_every=arguments.checkpoint_every,
        seed=arguments.seed,
        model=ModelOptions(
            features=arguments.features,
            size=default if arguments.size is None else arguments.size,
            widths=ModelOptions().widths if arguments.widths is None else arguments.widths,
            embedding=arguments.embedding,
            hidden=arguments.hidden,
            seed=arguments.seed,
        ),
    )


def _drawn(arguments: argparse.Namespace, size: int) -> tuple[DataFactory, Captioned]:
    """Scenes to train on, and held-out ones."""
    count = _drawn_option(arguments, "count")

    def data(refresh: int) -> Captioned:
        return scenes.render(count, arguments.seed + refresh, size)

    held_out = _drawn_option(arguments, "validation_count")
    return data, scenes.render(held_out, UNSEEN, size, held_out=True)


def _train(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    options = _train_options(arguments)
    _check_train(arguments, options)
    size = options.model.size
    words: list[str] | None = None
    validation: Captioned | None = None
    if arguments.folder is not None:
        data: DataFactory = lambda _: _folder(arguments.folder, size)  # noqa: E731
        options = replace(options, refresh_every=0)
        if arguments.validation_folder is not None:
            validation = _folder(arguments.validation_folder, size)
    else:
        data, validation = _drawn(arguments, size)
        words = scenes.all_words()
    _run(arguments, data, validation, options, words, arguments.archive, timeline)
    print(f"the captioner is in {arguments.archive}")


def _check_train(arguments: argparse.Namespace, options: TrainOptions) -> None:
    """Tells what can be told before any picture is read or drawn."""
    mps.Device(arguments.device)
    prepare_output(arguments.archive)
    if arguments.resume and not arguments.archive.is_file():
        raise mps.FileError(f"{arguments.archive}: expected the archive to resume from, got none")
    if arguments.validation_folder is not None and arguments.folder is None:
        raise mps.InvalidArgumentError(
            "validation-folder: expected a folder to train on beside it (--folder), got none"
        )
    if arguments.folder is not None:
        _refuse_of_scenes(arguments, DRAWN, "--folder")
    if arguments.features == INCEPTION and arguments.widths is not None:
        raise mps.InvalidArgumentError(
            f"widths: expected none with --features {INCEPTION}, they are of the small net's "
            f"layers, got {','.join(map(str, arguments.widths))}"
        )
    weights_are_given = arguments.weights is not None
    check_weights(options.model, given=weights_are_given, fresh=not arguments.resume)
    check_batch(
        options,
        _drawn_option(arguments, "count")
        if arguments.folder is None
        else pictures.count_pictures(arguments.folder),
    )


def _folder(folder: Path, size: int) -> Captioned:
    return pictures.load_folder(folder, size, progress=True)


def _run(
    arguments: argparse.Namespace,
    data: DataFactory,
    validation: Captioned | None,
    options: TrainOptions,
    words: list[str] | None,
    archive: Path,
    timeline: StepTimeline,
) -> None:
    _, trainer = train(
        data,
        validation,
        options,
        words=words,
        weights=arguments.weights,
        archive=archive,
        resume=arguments.resume,
        device=mps.Device(arguments.device),
        on_epoch=_announce,
        way=way_of(arguments),
        timeline=timeline,
    )
    timeline.tell()
    if trainer.interrupted:
        go_on = f"`mpsnn caption train {archive} --resume` and the same options"
        trainer.tell_interrupted(options.epochs, go_on)
        sys.exit(130)
    trainer.tell_nothing_left(options.epochs)


def _announce(record: EpochRecord) -> None:
    if "sentences" in record.measures and not sys.stderr.isatty():
        print(
            f"epoch {record.epoch + 1}: loss {record.loss:.4f}, held out: "
            f"{record.measures['words']:.1%} of words, {record.measures['sentences']:.1%} of "
            f"sentences, {record.images_per_second:.0f} pictures/s",
            file=sys.stderr,
        )


def _tell(names: list[str], found: list[Caption], expected: list[str] | None) -> None:
    """A line a picture: words, tokens, steps."""
    for index, (name, caption) in enumerate(zip(names, found, strict=True)):
        print(f"{name}: {caption.sentence}")
        if expected is not None and expected[index] != caption.sentence:
            print(f"    expected: {expected[index]}")
        print(
            f"    tokens {' '.join(map(str, caption.tokens))}; "
            f"steps executed {caption.executed}, skipped {caption.skipped}"
        )


def _tell_times(captioner: Captioner, shown: FloatArray, found: list[Caption]) -> None:
    """Measures the shortest and the longest caption."""
    lengths = sorted({caption.executed for caption in found})
    for length in lengths if len(lengths) <= TIMED else [lengths[0], lengths[-1]]:
        index = next(i for i, caption in enumerate(found) if caption.executed == length)
        times = captioner.time(shown[index])
        print(
            f"{length} of {length + found[index].skipped} steps: on the device "
            f"{times.predicated.device:.2f} ms with predicates, {times.cut.device:.2f} ms cut by "
            f"the host ({times.ratio:.2f} times that), {times.unpredicated.device:.2f} ms without; "
            f"by the clock, from the call to the words {times.predicated.whole:.2f}, "
            f"{times.cut.whole:.2f} ({times.whole_ratio:.2f} times that) and "
            f"{times.unpredicated.whole:.2f} ms"
        )


def _tell_accuracy(name: str, right: Accuracy, count: int) -> None:
    print(
        f"{name}: {right.sentences:.1%} of {count} held-out sentences, "
        f"{right.words:.1%} of their words are right"
    )


def _check_describes_scenes(captioner: Captioner) -> None:
    missing = set(scenes.all_words()) - set(captioner.vocabulary.words)
    if missing:
        raise mps.InvalidArgumentError(
            "pictures: expected some to caption, got none; scenes are not drawn for a captioner "
            f"that has no word for them, as {', '.join(sorted(missing)[:3])}"
        )


def _apply(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    if arguments.pictures:
        _refuse_of_scenes(arguments, APPLIED, f"pictures ({arguments.pictures[0]})")
    if arguments.out is not None:
        optional_module("matplotlib", pictures.EXTRA, pictures.USER)
        prepare_output(arguments.out, DRAWINGS)
    device = device_for_pictures(arguments.device)
    captioner = Captioner.load(arguments.archive, device, arguments.beam)
    size, files = captioner.options.size, arguments.pictures
    expected: list[str] | None = None
    if files:
        shown = np.stack([pictures.read_picture(path, size) for path in files])
        names = [path.name for path in files]
    else:
        _check_describes_scenes(captioner)
        count, seed = (_drawn_option(arguments, name, APPLIED) for name in APPLIED)
        drawn = scenes.render(count, seed, size, held_out=True)
        shown, expected = drawn.pictures, drawn.sentences
        names = [f"scene {index}" for index in range(len(drawn))]
    with timeline.whole():
        found = list(captioner.each(iter(shown), way=way_of(arguments)))
    timeline.tell()
    _tell(names, found, expected)
    sentences = [caption.sentence for caption in found]
    if expected is not None:
        _tell_accuracy("held out", accuracy(sentences, expected), len(expected))
    if arguments.time:
        _tell_times(captioner, shown, found)
    if arguments.out is not None:
        right: list[bool] | None = None
        if expected is not None:
            right = [a == b for a, b in zip(sentences, expected, strict=True)]
        pictures.grid(arguments.out, shown, sentences, right)
        print(f"pictures and captions: {arguments.out}")


def _demo(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    optional_module("matplotlib", pictures.EXTRA, pictures.USER)
    options = _train_options(arguments)
    words = scenes.all_words()
    check_beam(arguments.beam, len(words) + 1)  # the end is one, too
    archive, out = arguments.out / "captions.safetensors", arguments.out / "captions.png"
    device = mps.Device(arguments.device)
    prepare_output(archive)
    prepare_output(out, DRAWINGS)
    count = _drawn_option(arguments, "count")
    check_batch(options, count)
    data, held_out = _drawn(arguments, options.model.size)
    print(f"1. draw {count} scenes an epoch and {len(held_out)} held-out ones")
    print(f"2. train on {device.name}")
    _run(arguments, data, held_out, options, words, archive, timeline)
    print(f"3. restore {archive} and caption combinations never trained on")
    own = device_for_pictures(arguments.device)
    greedy = Captioner.load(archive, own)
    found = caption_all(greedy, held_out)
    sentences = [caption.sentence for caption in found]
    shown = min(SHOWN, len(held_out))
    names = [f"scene {index}" for index in range(shown)]
    _tell(names, found[:shown], held_out.sentences[:shown])
    _tell_accuracy("greedy", accuracy(sentences, held_out.sentences), len(held_out))
    beam = Captioner.load(archive, own, arguments.beam)
    others = [caption.sentence for caption in caption_all(beam, held_out)]
    name = f"beam of {arguments.beam}"
    _tell_accuracy(name, accuracy(others, held_out.sentences), len(held_out))
    print(f"4. steps recorded ahead, with and without predicates, on {own.name}")
    _tell_times(greedy, held_out.pictures, found)
    right = [a == b for a, b in zip(sentences, held_out.sentences, strict=True)]
    pictures.grid(out, held_out.pictures[:shown], sentences[:shown], right[:shown])
    print(f"pictures and captions: {out}")


__all__ = ["add_parser"]
