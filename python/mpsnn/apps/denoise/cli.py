# SPDX-License-Identifier: MIT
"""The command `mpsnn denoise`: render, train, apply, demo."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import mpsnn as mps
from mpsnn.apps.denoise import dataset, metrics, pictures
from mpsnn.apps.denoise.apply import Denoiser
from mpsnn.apps.denoise.dataset import DataSet, FloatArray, optional_module
from mpsnn.apps.denoise.model import ModelOptions
from mpsnn.apps.denoise.render import render_set
from mpsnn.apps.denoise.train import DataFactory, TrainOptions, check, train
from mpsnn.committing import (
    SINGLE,
    StepTimeline,
    Way,
    add_options,
    timeline_of,
    way_of,
)
from mpsnn.files import prepare_drawing, prepare_folder, prepare_output
from mpsnn.training import EpochRecord, Trainer

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

# Seeds from here on are never trained on.
UNSEEN = 1_000_000


def add_parser(commands: Commands) -> None:
    """Adds `denoise` to the commands of `mpsnn`.

    Args:
        commands: What `ArgumentParser.add_subparsers` returned.
    """
    parser = commands.add_parser(
        "denoise", help="denoise ray-traced images", description=__doc__.splitlines()[0]
    )
    actions = parser.add_subparsers(dest="action", required=True)
    _add_render(actions)
    _add_train(actions)
    _add_apply(actions)
    _add_demo(actions)


def _add_render(actions: Commands) -> None:
    parser = actions.add_parser("render", help="render pictures to train on, and keep them")
    parser.add_argument("folder", type=Path, help="where the pictures are kept")
    parser.add_argument("--count", type=int, default=100, help="scenes (default %(default)s)")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first scene")
    parser.add_argument(
        "--exr",
        type=Path,
        help="also write every scene to this folder as four EXR pictures: "
        "scene-<seed>.{noisy,clean,albedo,normals}.exr, what `--folder` of train and apply takes",
    )
    _add_render_options(parser)
    parser.set_defaults(run=_render)


def _add_render_options(
    parser: argparse.ArgumentParser, size: int = 128, samples: int = 4, clean_samples: int = 256
) -> None:
    parser.add_argument(
        "--size", type=int, default=size, help="edge in pixels (default %(default)s)"
    )
    parser.add_argument(
        "--samples", type=int, default=samples, help="a pixel, noisy (default %(default)s)"
    )
    parser.add_argument(
        "--clean-samples",
        type=int,
        default=clean_samples,
        help="a pixel, clean (default %(default)s)",
    )


def _add_model_options(parser: argparse.ArgumentParser, options: TrainOptions) -> None:
    model = options.model
    add = parser.add_argument
    add("--widths", type=_widths, default=model.widths, help="channels of the stages, as 32,64,128")
    add(
        "--convolutions", type=int, default=model.convolutions, help="a stage (default %(default)s)"
    )
    add("--epochs", type=int, default=options.epochs, help="in all (default %(default)s)")
    add("--batch", type=int, default=options.batch, help="images a step (default %(default)s)")
    add("--learning-rate", type=float, default=options.learning_rate, help="(default %(default)s)")
    add("--halve-every", type=int, default=options.halve_every, help="epochs (default %(default)s)")
    add(
        "--refresh-every",
        type=int,
        default=options.refresh_every,
        help="epochs until the training pictures are new ones (default %(default)s; 0: never)",
    )
    add("--validate-every", type=int, default=options.validate_every, help="(default %(default)s)")
    add("--crop", type=int, default=options.crop and options.crop[0], help="edge of random cutouts")
    add(
        "--mirror",
        action=argparse.BooleanOptionalAction,
        default=options.mirror,
        help="mirror half of the pictures (normals in camera space)",
    )
    add("--repeats", type=int, default=options.repeats, help="cutouts of a picture an epoch")
    add("--edge-weight", type=float, default=options.edge_weight, help="(default %(default)s)")
    add("--seed", type=int, default=options.seed, help="of weights and order (default %(default)s)")
    add("--checkpoint-every", type=int, default=options.checkpoint_every, help="epochs")


def _add_train(actions: Commands) -> None:
    parser = actions.add_parser("train", help="train a net and write it to an archive")
    parser.add_argument("archive", type=Path, help="the archive to write (.safetensors)")
    parser.add_argument(
        "--folder",
        type=Path,
        help="pictures of one's own: <name>.{noisy,clean,albedo,normals}.{exr,npy,png}",
    )
    parser.add_argument("--validation-folder", type=Path, help="the same, never trained on")
    parser.add_argument(
        "--renders",
        type=Path,
        default=Path("renders"),
        help="cache of rendered pictures, where no folder is given",
    )
    parser.add_argument(
        "--count", type=int, default=100, help="scenes to render (default %(default)s)"
    )
    parser.add_argument("--validation-count", type=int, default=4, help="(default %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on from the archive")
    parser.add_argument("--device", default="", help="device kind (default: the best here)")
    parser.add_argument("--curve", type=Path, help="also draw the loss to this PNG")
    add_options(parser)
    _add_render_options(parser)
    _add_model_options(parser, TrainOptions())
    parser.set_defaults(run=_train)


def _add_apply(actions: Commands) -> None:
    parser = actions.add_parser("apply", help="denoise pictures with a trained net")
    parser.add_argument("archive", type=Path, help="what `train` wrote")
    parser.add_argument(
        "--folder", type=Path, help="pictures as for `train`; clean ones are compared"
    )
    parser.add_argument("--scene", type=int, default=UNSEEN, help="or: seed of a scene to render")
    parser.add_argument("--renders", type=Path, default=Path("renders"), help="cache for the scene")
    parser.add_argument(
        "--out", type=Path, default=Path("denoised.png"), help="(default %(default)s)"
    )
    parser.add_argument(
        "--each",
        type=Path,
        help="also write every denoised picture to this folder: <name>.denoised.png, and .exr with "
        "linear radiance (needs Mitsuba)",
    )
    parser.add_argument("--device", default="", help="device kind (default: the best here)")
    parser.add_argument(
        "--pad",
        action="store_true",
        help="mirror the edges where the net's poolings cannot divide the size",
    )
    add_options(parser)
    _add_render_options(parser, size=256)
    parser.set_defaults(run=_apply)


def _add_demo(actions: Commands) -> None:
    parser = actions.add_parser("demo", help="all of it, small: render, train, restore, apply")
    parser.add_argument("--out", type=Path, default=Path("demo"), help="(default %(default)s)")
    parser.add_argument("--device", default="", help="device kind (default: the best here)")
    parser.add_argument("--count", type=int, default=24, help="scenes (default %(default)s)")
    add_options(parser)
    _add_render_options(parser, size=96, clean_samples=128)
    _add_model_options(
        parser,
        TrainOptions(
            epochs=DEMO_EPOCHS,
            batch=2,
            crop=(64, 64),
            mirror=True,
            repeats=2,
            learning_rate=2e-3,
            halve_every=DEMO_EPOCHS // 4,
            refresh_every=0,
            validate_every=25,
            model=ModelOptions(widths=(16, 32, 64), convolutions=3),
        ),
    )
    parser.set_defaults(run=_demo)


DEMO_EPOCHS = 220


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected numbers as 32,64,128, got {text!r}") from None


def _train_options(arguments: argparse.Namespace) -> TrainOptions:
    return TrainOptions(
        epochs=arguments.epochs,
        batch=arguments.batch,
        learning_rate=arguments.learning_rate,
        halve_every=arguments.halve_every,
        refresh_every=arguments.refresh_every,
        validate_every=arguments.validate_every,
        crop=(arguments.crop, arguments.crop) if arguments.crop else None,
        mirror=arguments.mirror,
        repeats=arguments.repeats,
        edge_weight=arguments.edge_weight,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        model=ModelOptions(arguments.widths, arguments.convolutions, arguments.seed),
    )


def _rendered(arguments: argparse.Namespace, count: int, first_seed: int, folder: Path) -> DataSet:
    return render_set(
        folder,
        count,
        (arguments.size, arguments.size),
        first_seed,
        arguments.samples,
        arguments.clean_samples,
    )


def _render(arguments: argparse.Namespace) -> None:
    if arguments.exr is not None:
        prepare_output(arguments.exr / "scene.exr")
    scenes = _rendered(arguments, arguments.count, arguments.first_seed, arguments.folder)
    print(f"{arguments.count} scenes are in {arguments.folder}")
    if arguments.exr is not None:
        dataset.save_folder(arguments.exr, scenes, arguments.first_seed)
        print(f"their EXR pictures: {arguments.exr}")


def _train(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    options, device = _train_options(arguments), mps.Device(arguments.device)
    prepare_output(arguments.archive)
    if arguments.resume and not arguments.archive.is_file():
        raise mps.FileError(f"{arguments.archive}: expected the archive to resume from, got none")
    if arguments.curve is not None:
        prepare_drawing(arguments.curve, dataset.EXTRA, "the curve")
    data: DataFactory
    if arguments.folder is not None:
        own = dataset.load_folder(arguments.folder)
        data = lambda _: own  # noqa: E731
        validation = (
            dataset.load_folder(arguments.validation_folder)
            if arguments.validation_folder
            else None
        )
    else:
        _check_rendered(arguments, options, device, arguments.renders)
        data = lambda refresh: _rendered(  # noqa: E731
            arguments, arguments.count, refresh * arguments.count, arguments.renders
        )
        validation = _rendered(arguments, arguments.validation_count, UNSEEN, arguments.renders)
    _, trainer = train(
        data,
        validation,
        options,
        archive=arguments.archive,
        resume=arguments.resume,
        device=device,
        on_epoch=_announce,
        way=way_of(arguments),
        timeline=timeline,
    )
    timeline.tell()
    if arguments.curve is not None and trainer.state.history:
        _draw_curve(arguments.curve, trainer)
    if trainer.interrupted:
        trainer.tell_interrupted(options.epochs, "--resume")
        sys.exit(130)
    trainer.tell_nothing_left(options.epochs)
    print(f"the net is in {arguments.archive}")


def _check_rendered(
    arguments: argparse.Namespace, options: TrainOptions, device: mps.Device, renders: Path
) -> None:
    """Tells what can be told before a scene is rendered."""
    size = (arguments.size, arguments.size)
    check(options, arguments.count, size, size, device)
    prepare_folder(renders)


def _announce(record: EpochRecord) -> None:
    if "psnr" in record.measures and not sys.stderr.isatty():
        print(
            f"epoch {record.epoch + 1}: loss {record.loss:.5f}, "
            f"validation PSNR {record.measures['psnr']:.2f} dB, "
            f"{record.images_per_second:.1f} images/s",
            file=sys.stderr,
        )


def _draw_curve(path: Path, trainer: Trainer) -> None:
    history = trainer.state.history
    checked = [record for record in history if "psnr" in record.measures]
    pictures.loss_curve(
        path,
        [record.epoch + 1 for record in history],
        [record.loss for record in history],
        ([r.epoch + 1 for r in checked], [r.measures["psnr"] for r in checked])
        if checked
        else None,
    )


def _compare(noisy: FloatArray, denoised: FloatArray, clean: FloatArray) -> tuple[str, str]:
    """PSNR and SSIM against the clean picture, of the noisy and of the denoised one."""
    before, after = (
        f"PSNR {metrics.psnr(picture, clean):.2f} dB, SSIM {metrics.ssim(picture, clean):.3f}"
        for picture in (noisy, denoised)
    )
    return before, after


def _denoise_and_show(
    denoiser: Denoiser,
    scenes: DataSet,
    out: Path,
    way: Way = SINGLE,
    timeline: StepTimeline | None = None,
    *,
    pad: bool = False,
) -> FloatArray:
    each = zip(scenes.noisy, scenes.albedo, scenes.normals, strict=True)
    timeline = timeline or StepTimeline(None)
    with timeline.whole():
        denoised = np.stack(list(denoiser.each(each, way=way, pad=pad)))
    timeline.tell()
    captions = ["noisy", "denoised", "clean"]
    for index in range(len(scenes)):
        before, after = _compare(scenes.noisy[index], denoised[index], scenes.clean[index])
        print(f"picture {index}: noisy {before}; denoised {after}")
        if len(scenes) == 1:
            captions = [f"noisy: {before}", f"denoised: {after}", "clean"]
    pictures.bands(out, scenes.noisy, denoised, scenes.clean, captions)
    print(f"noisy over denoised over clean: {out}")
    return denoised


def _write_each(folder: Path, names: Sequence[str], denoised: FloatArray) -> None:
    """Every picture alone: as it looks, and as radiance."""
    for name, picture in zip(names, denoised, strict=True):
        pictures.save_png(folder / f"{name}.denoised.png", picture)
        dataset.save_exr(folder / f"{name}.denoised.exr", dataset.inverse_tonemap(picture))
    print(f"{len(names)} denoised pictures: {folder}")


def _apply(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    prepare_output(arguments.out)
    if arguments.each is not None:
        optional_module("mitsuba")
        prepare_folder(arguments.each)
    denoiser = Denoiser.load(arguments.archive, mps.Device(arguments.device))
    if arguments.folder is not None:
        scenes = dataset.load_folder(arguments.folder)
        names = dataset.picture_names(arguments.folder)
    else:
        if not arguments.pad:
            denoiser.options.check_size(arguments.size, arguments.size)
        prepare_folder(arguments.renders)
        scenes = _rendered(arguments, 1, arguments.scene, arguments.renders)
        names = [f"scene-{arguments.scene}"]
    denoised = _denoise_and_show(
        denoiser, scenes, arguments.out, way_of(arguments), timeline, pad=arguments.pad
    )
    if arguments.each is not None:
        _write_each(arguments.each, names, denoised)


def _demo(arguments: argparse.Namespace) -> None:
    timeline = timeline_of(arguments)
    out: Path = arguments.out
    renders, archive = out / "renders", out / "denoiser.safetensors"
    device, options = mps.Device(arguments.device), _train_options(arguments)
    prepare_drawing(out / "loss.png", dataset.EXTRA, "the curve")
    _check_rendered(arguments, options, device, renders)
    print(f"1. render {arguments.count} scenes to train on and 2 to validate with")
    training = _rendered(arguments, arguments.count, 0, renders)
    validation = _rendered(arguments, 2, UNSEEN, renders)
    print(f"2. train on {device.name}")
    _, trainer = train(
        lambda _: training,
        validation,
        options,
        archive=archive,
        device=device,
        on_epoch=_announce,
        way=way_of(arguments),
        timeline=timeline,
    )
    timeline.tell()
    if trainer.state.history:
        _draw_curve(out / "loss.png", trainer)
        print(f"the loss over the epochs: {out / 'loss.png'}")
    if trainer.interrupted:
        trainer.tell_interrupted(arguments.epochs)
        sys.exit(130)
    print(f"3. restore {archive} and denoise a scene never trained on")
    unseen = render_set(
        renders,
        1,
        (2 * arguments.size, 2 * arguments.size),
        UNSEEN + 100,
        arguments.samples,
        2 * arguments.clean_samples,
    )
    _denoise_and_show(Denoiser.load(archive, device), unseen, out / "denoised.png")


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs `denoise` on its own: what `mpsnn denoise` does."""
    parser = argparse.ArgumentParser(prog="mpsnn")
    add_parser(parser.add_subparsers(dest="command", required=True))
    parsed = parser.parse_args(arguments)
    parsed.run(parsed)


__all__ = ["add_parser", "main"]
