# SPDX-License-Identifier: MIT
"""The C++ denoiser gives the picture that `mpsnn denoise apply` gives.

Runs the demo on few scenes for its archive, writes pictures of one more scene as EXR and as PNG,
and lets both programs denoise them. Their EXRs agree to a few roundings of float32 and their PNGs
to one step of a byte, of which nearly all are equal: the two tone-map with pow of different
libraries.

    python tests/embed/denoise.py <the program> <a folder to work in>
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

ROLES = ("noisy", "clean", "albedo", "normals")
HEIGHT, WIDTH = 38, 45  # no multiples of the net's 8: both programs pad


def scene(seed: int, height: int, width: int) -> dict[str, NDArray[np.float32]]:
    """Linear radiance of a disc before a gradient, with noise."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    inside = (rows - 0.4) ** 2 + (columns - generator.random()) ** 2 < 0.05
    albedo = np.where(inside[..., None], generator.random(3), generator.random(3) * 0.5)
    normals = np.where(inside[..., None], (0.3, -0.6, 0.74), 0.0)
    clean = albedo * (0.3 + 2 * rows[..., None])
    noisy = clean * generator.gamma(4.0, 0.25, clean.shape)
    arrays = dict(zip(ROLES, (noisy, clean, albedo, normals), strict=True))
    return {role: np.asarray(array, np.float32) for role, array in arrays.items()}


def trained(folder: Path) -> Path:
    """The archive of a short `mpsnn denoise demo`, whose net has the demo's own widths."""
    demo = ("-m", "mpsnn", "denoise", "demo", "--out", folder, "--count", "4", "--size", "32")
    few = ("--clean-samples", "16", "--crop", "32", "--epochs", "8", "--validate-every", "8")
    made = run(sys.executable, *demo, *few)
    assert made.returncode == 0, made.stderr
    return folder / "denoiser.safetensors"


def write_scene(folder: Path, suffix: str) -> None:
    """The four pictures of a scene, named as the application wants them."""
    from mpsnn.apps.denoise import dataset, pictures

    folder.mkdir(parents=True)
    for role, array in scene(100, HEIGHT, WIDTH).items():
        path = folder / f"one.{role}{suffix}"
        if suffix == ".exr":
            dataset.save_exr(path, array)
        elif role == "normals":
            pictures.save_png(path, (array + 1) / 2)
        elif role == "albedo":
            pictures.save_png(path, array, linear=True)
        else:
            pictures.save_png(path, dataset.tonemap(array))


def pixels(path: Path) -> NDArray[np.float32]:
    """Values of a picture file: radiance, or bytes from 0 to 255."""
    if path.suffix == ".exr":
        import mitsuba

        return np.array(mitsuba.Bitmap(str(path)), np.float32)
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture, np.float32)


def compare(ours: Path, theirs: Path) -> str:
    """Fails where the pictures differ by more than roundings; says by how much they do."""
    first, second = pixels(ours), pixels(theirs)
    assert first.shape == second.shape == (HEIGHT, WIDTH, 3), (first.shape, second.shape)
    assert first.std() > 0.01 * first.max(), f"{ours}: one flat colour"
    far = np.abs(first - second)
    if ours.suffix == ".png":
        assert far.max() <= 1, f"{ours} and {theirs}: {far.max()} steps of a byte apart"
        assert np.mean(far > 0) < 1e-3, f"{np.mean(far > 0):.2%} of the bytes differ"
        return f"{ours.name}: {np.sum(far > 0):.0f} of {far.size} bytes differ"
    relative = float((far / np.maximum(second, 1e-3)).max())
    assert relative < 1e-4, f"{ours} and {theirs}: relative difference {relative}"
    return f"{ours.name}: relative difference at most {relative:.1e}"


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end."""
    command = [program, *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def both(program: str, archive: Path, folder: Path, suffix: str) -> None:
    """Denoises one scene with both programs, to both formats."""
    write_scene(folder, suffix)
    apply = ("-m", "mpsnn", "denoise", "apply", archive, "--folder", folder, "--pad")
    theirs = run(sys.executable, *apply, "--out", folder / "bands.png", "--each", folder / "theirs")
    assert theirs.returncode == 0, theirs.stderr
    inputs = [folder / f"one.{role}{suffix}" for role in ("noisy", "albedo", "normals")]
    for out in (folder / "ours.exr", folder / "ours.png"):
        ours = run(program, archive, *inputs, out, "--pad")
        assert ours.returncode == 0, ours.stderr
        said = compare(out, folder / "theirs" / f"one.denoised{out.suffix}")
        print(f"from {suffix}: {said}")


def refusals(program: str, archive: Path, folder: Path) -> None:
    """What it cannot do is said with the name of what is wrong."""
    exr = {role: folder / f"one.{role}.exr" for role in ROLES}
    inputs = (exr["noisy"], exr["albedo"], exr["normals"])
    text = folder / "text.png"
    text.write_text("no picture")
    for arguments, status, said in (
        ((archive, *inputs), 2, "usage: denoise"),
        ((archive, *inputs, folder / "no.png"), 1, "expected multiples of 8 or --pad"),
        ((archive, *inputs, folder / "no.jpg", "--pad"), 1, "no.jpg: expected the suffix"),
        ((archive, text, *inputs[1:], folder / "no.png", "--pad"), 1, "text.png"),
        ((archive, exr["noisy"], exr["noisy"], exr["normals"], folder / "no.png"), 1, "noisy.exr"),
        ((text, *inputs, folder / "no.png", "--pad"), 1, "text.png"),
    ):
        result = run(program, *arguments)
        assert result.returncode == status, (arguments, result)
        assert said in result.stderr, (arguments, result.stderr)
        assert not (folder / "no.png").exists()


def main(program: str, work: Path) -> int:
    """Compares the programs; 0 also where they cannot be compared, with the reason."""
    try:
        import mitsuba
        import PIL.Image  # noqa: F401

        import mpsnn.apps.denoise  # noqa: F401
    except ImportError as error:
        if "CI" in os.environ:
            raise
        print(f"SKIPPED embed_denoise: the Python application is not here: {error}")
        return 0
    mitsuba.set_variant("scalar_rgb")
    archive = trained(work / "demo")
    for suffix in (".exr", ".png"):
        both(program, archive, work / f"scene{suffix.replace('.', '-')}", suffix)
    refusals(program, archive, work / "scene-exr")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
