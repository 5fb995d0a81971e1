# SPDX-License-Identifier: MIT
"""The pictures of the denoiser: rendering, caching, reading, comparing, drawing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mpsnn.apps.denoise import dataset, metrics, pictures, render, scenes
from mpsnn.apps.denoise.dataset import DataError, DataSet, Sample, load_folder

if TYPE_CHECKING:
    from pathlib import Path

SIZE = (32, 24)
FEW = {"noisy_samples": 2, "clean_samples": 16}


def random_sample(seed: int, size: tuple[int, int] = SIZE) -> Sample:
    """A sample of random values, without any renderer."""
    rng = np.random.default_rng(seed)
    noisy, clean, albedo = (rng.random((*size, 3), np.float32) for _ in range(3))
    normals = 2 * rng.random((*size, 3), np.float32) - 1
    return Sample(noisy=4 * noisy, clean=4 * clean, albedo=albedo, normals=normals)


def random_set(count: int, size: tuple[int, int] = SIZE) -> DataSet:
    """A data set of such samples."""
    return DataSet.from_samples([random_sample(seed, size) for seed in range(count)])


def write_npy(folder: Path, name: str, sample: Sample) -> None:
    """Writes the four files of a picture."""
    for role in dataset.ROLES:
        np.save(folder / f"{name}.{role}.npy", getattr(sample, role))


def assert_equal(a: DataSet, b: DataSet) -> None:
    """Fails unless both sets hold the same bits."""
    for role in dataset.ROLES:
        np.testing.assert_array_equal(getattr(a, role), getattr(b, role))


def test_tonemap_maps_radiance_to_unit_interval_and_back() -> None:
    radiance = np.array([0.0, 0.01, 1.0, 3.0, 100.0], np.float32)
    image = dataset.tonemap(radiance)
    assert image.dtype == np.float32
    assert image[0] == 0.0
    assert image[2] == pytest.approx(0.5 ** (1 / 2.2))
    assert np.all(np.diff(image) > 0)
    assert image[-1] < 1.0
    np.testing.assert_allclose(dataset.inverse_tonemap(image), radiance, rtol=1e-3, atol=1e-6)
    assert dataset.tonemap(np.array([-1.0]))[0] == 0.0


def test_data_set_holds_tone_mapped_pictures() -> None:
    data = random_set(3)
    assert (len(data), *data.size, 3) == (3, *SIZE, 3) == data.noisy.shape
    sample = random_sample(1)
    np.testing.assert_array_equal(data[1].clean, dataset.tonemap(sample.clean))
    np.testing.assert_array_equal(data[1].normals, sample.normals)
    assert data[1].inputs.shape == (*SIZE, 9)


def test_data_set_refuses_unequal_pictures() -> None:
    with pytest.raises(DataError, match=r"picture 1, noisy: expected \(32, 24, 3\), got \(16"):
        DataSet.from_samples([random_sample(0), random_sample(1, (16, 24))])
    with pytest.raises(DataError, match="at least one"):
        DataSet.from_samples([])
    data = random_set(1)
    with pytest.raises(DataError, match="albedo: expected float32"):
        DataSet(data.noisy, data.clean, data.albedo.astype(np.float64), data.normals)


def test_batches_are_shuffled_and_drop_the_rest() -> None:
    data = random_set(5)
    batches = list(data.batches(2, np.random.default_rng(0)))
    assert [batch.noisy.shape for batch in batches] == [(2, *SIZE, 3)] * 2
    seen = [
        int(np.flatnonzero((data.clean == picture).all(axis=(1, 2, 3)))[0])
        for batch in batches
        for picture in batch.clean
    ]
    assert len(set(seen)) == 4
    again = list(data.batches(2, np.random.default_rng(0)))
    other = list(data.batches(2, np.random.default_rng(1)))
    assert all(np.array_equal(a.noisy, b.noisy) for a, b in zip(batches, again, strict=True))
    assert not all(np.array_equal(a.noisy, b.noisy) for a, b in zip(batches, other, strict=True))


def test_cutouts_are_the_same_in_all_arrays() -> None:
    row, column = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    place = np.stack((row, column, row), axis=-1)[None]
    (batch,) = DataSet(place, place, place, place).batches(
        4, np.random.default_rng(3), crop=(8, 6), repeats=4
    )
    assert batch.noisy.shape == (4, 8, 6, 3)
    assert all(np.array_equal(batch.noisy, array) for array in batch)
    np.testing.assert_array_equal(
        batch.noisy - batch.noisy[:, :1, :1], np.stack([place[0, :8, :6]] * 4)
    )
    assert len(np.unique(batch.noisy[:, 0, 0], axis=0)) > 1


def test_mirroring_negates_the_x_component_of_normals() -> None:
    data, rng, found = random_set(1), np.random.default_rng(0), set()
    for _ in range(12):
        (batch,) = data.batches(1, rng, mirror=True)
        if np.array_equal(batch.noisy, data.noisy):
            found.add("as it is")
            np.testing.assert_array_equal(batch.normals, data.normals)
        else:
            found.add("mirrored")
            np.testing.assert_array_equal(batch.noisy, data.noisy[:, :, ::-1])
            expected = data.normals[:, :, ::-1] * np.array([-1, 1, 1], np.float32)
            np.testing.assert_array_equal(batch.normals, expected)
    assert found == {"as it is", "mirrored"}


def test_batches_refuse_impossible_sizes() -> None:
    data, rng = random_set(2), np.random.default_rng(0)
    for batch_size in (0, 3):
        with pytest.raises(DataError, match=f"batch_size {batch_size}: expected 1 to 2"):
            next(data.batches(batch_size, rng))
    with pytest.raises(DataError, match="crop"):
        next(data.batches(1, rng, crop=(33, 8)))


def test_folder_of_npy_files(tmp_path: Path) -> None:
    write_npy(tmp_path, "b.second", random_sample(1))
    write_npy(tmp_path, "a", random_sample(0))
    (tmp_path / "notes.txt").write_text("not a picture")
    assert_equal(load_folder(tmp_path), random_set(2))


@pytest.mark.parametrize("channels", [3, 4])
def test_folder_of_exr_files(tmp_path: Path, channels: int) -> None:
    mi = pytest.importorskip("mitsuba")
    mi.set_variant("scalar_rgb")
    for role in dataset.ROLES:
        pixels = getattr(random_sample(0), role)
        alpha = np.ones((*SIZE, channels - 3), np.float32)
        bitmap = mi.Bitmap(np.concatenate((pixels, alpha), axis=-1))
        bitmap.write(str(tmp_path / f"one.{role}.exr"))
    assert_equal(load_folder(tmp_path), random_set(1))


def test_written_folder_is_read_again(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    dataset.save_folder(tmp_path / "new" / "scenes", random_set(2), first_seed=7)
    assert dataset.picture_names(tmp_path / "new" / "scenes") == ["scene-7", "scene-8"]
    again, first = load_folder(tmp_path / "new" / "scenes"), random_set(2)
    for role in ("noisy", "clean"):
        np.testing.assert_allclose(getattr(again, role), getattr(first, role), atol=1e-6)
    for role in ("albedo", "normals"):
        np.testing.assert_array_equal(getattr(again, role), getattr(first, role))


def test_damaged_exr_is_named(tmp_path: Path) -> None:
    mi = pytest.importorskip("mitsuba")
    mi.set_variant("scalar_rgb")
    write_npy(tmp_path, "one", random_sample(0))
    (tmp_path / "one.clean.npy").unlink()
    file = tmp_path / "one.clean.exr"
    mi.Bitmap(random_sample(0).clean).write(str(file))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=r"one\.clean\.exr: cannot be read"):
        load_folder(tmp_path)


def test_empty_or_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: expected a folder"):
        load_folder(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no <name>\.<role>\.exr, \.npy or \.png"):
        load_folder(tmp_path)


def test_missing_and_double_partners_are_named(tmp_path: Path) -> None:
    write_npy(tmp_path, "one", random_sample(0))
    (tmp_path / "one.clean.exr").touch()
    with pytest.raises(DataError, match="expected one clean file"):
        load_folder(tmp_path)
    (tmp_path / "one.clean.exr").unlink()
    (tmp_path / "one.albedo.npy").unlink()
    with pytest.raises(DataError, match=r"one\.albedo\.exr, \.npy or \.png is missing"):
        load_folder(tmp_path)


def test_sizes_that_differ(tmp_path: Path) -> None:
    write_npy(tmp_path, "a", random_sample(0))
    write_npy(tmp_path, "b", random_sample(1, (32, 32)))
    with pytest.raises(DataError, match=r"b\.noisy\.npy: expected shape \(32, 24, 3\)"):
        load_folder(tmp_path)
    write_npy(tmp_path, "b", random_sample(1))
    np.save(tmp_path / "b.albedo.npy", np.zeros((32, 23, 3), np.float32))
    with pytest.raises(DataError, match=r"b\.albedo\.npy: .* got \(32, 23, 3\)"):
        load_folder(tmp_path)


WHOLE = random_sample(0).noisy


def with_pixel(value: float) -> np.ndarray:
    """A picture with one value replaced."""
    pixels = WHOLE.copy()
    pixels[5, 7, 1] = value
    return pixels


@pytest.mark.parametrize(
    ("role", "pixels", "message"),
    [
        ("noisy", WHOLE[..., 0], r"expected shape \(H, W, 3\), got \(32, 24\)"),
        ("noisy", WHOLE[..., :2], r"expected shape \(H, W, 3\), got \(32, 24, 2\)"),
        ("clean", WHOLE[None], r"got \(1, 32, 24, 3\)"),
        ("clean", WHOLE[:0], r"got \(0, 24, 3\)"),
        ("clean", WHOLE.astype(np.int32), "expected floats, got int32"),
        ("noisy", with_pixel(np.nan), "1 pixels are NaN or infinite, the first at row 5, column 7"),
        ("clean", with_pixel(np.inf), "1 pixels are NaN or infinite"),
        ("albedo", WHOLE + 1, "expected values from 0 to 1, got"),
        ("normals", WHOLE - 2, "expected values from -1 to 1, got"),
    ],
)
def test_bad_pixels_are_named(tmp_path: Path, role: str, pixels: np.ndarray, message: str) -> None:
    write_npy(tmp_path, "one", random_sample(0))
    np.save(tmp_path / f"one.{role}.npy", pixels)
    with pytest.raises(DataError, match=rf"one\.{role}\.npy: .*{message}"):
        load_folder(tmp_path)


@pytest.mark.parametrize("damage", ["emptied", "header cut", "pixels cut", "header", "pickled"])
def test_damaged_npy_is_named(tmp_path: Path, damage: str) -> None:
    write_npy(tmp_path, "one", random_sample(0))
    file = tmp_path / "one.normals.npy"
    content = file.read_bytes()
    if damage == "pickled":
        np.save(file, np.array([{}], object), allow_pickle=True)
    elif damage == "header":
        file.write_bytes(content.replace(b"}", b"(", 1))
    else:
        file.write_bytes(content[: {"emptied": 0, "header cut": 20, "pixels cut": 1000}[damage]])
    with pytest.raises(DataError, match=r"one\.normals\.npy: cannot be read"):
        load_folder(tmp_path)


def test_rendered_sample_is_plausible() -> None:
    pytest.importorskip("mitsuba")
    sample = render.render_scene(3, SIZE, noisy_samples=2, clean_samples=64)
    for role in dataset.ROLES:
        array = getattr(sample, role)
        assert array.shape == (*SIZE, 3)
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    assert sample.noisy.min() >= 0.0
    assert 0.0 <= sample.albedo.min() <= sample.albedo.max() <= 1.0
    lengths = np.linalg.norm(sample.normals, axis=-1)
    assert lengths.max() < 1.001
    assert np.median(lengths) > 0.99
    assert sample.normals[..., 1].mean() > 0.0  # the floor's normals point up
    noisy, clean = dataset.tonemap(sample.noisy), dataset.tonemap(sample.clean)
    roughness = [np.abs(np.diff(image, axis=0)).mean() for image in (noisy, clean)]
    assert roughness[1] < 0.8 * roughness[0]
    assert 0.1 < clean.mean() < 0.9


def test_scene_follows_from_its_seed() -> None:
    pytest.importorskip("mitsuba")
    first, *again, other = (render.render_scene(seed, SIZE, **FEW) for seed in [5] * 9 + [6])
    for role in dataset.ROLES:
        for same in again:
            np.testing.assert_array_equal(getattr(first, role), getattr(same, role))
        assert not np.array_equal(getattr(first, role), getattr(other, role))
    independent = render.render_scene(5, SIZE, noisy_samples=16, clean_samples=16)
    assert (independent.noisy != independent.clean).mean() > 0.5


def test_render_set_reuses_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mitsuba")
    pytest.importorskip("tqdm")
    first = render.render_set(tmp_path, 2, SIZE, first_seed=10, **FEW, progress=False)
    assert first.noisy.shape == (2, *SIZE, 3)
    assert len(list(tmp_path.iterdir())) == 2
    rendered = []

    def count(seed: int, *arguments: object) -> Sample:
        rendered.append(seed)
        return original(seed, *arguments)

    original = render.render_scene
    monkeypatch.setattr(render, "render_scene", count)
    assert_equal(render.render_set(tmp_path, 2, SIZE, 10, **FEW, progress=False), first)
    assert rendered == []
    render.render_set(tmp_path, 2, SIZE, 11, **FEW, progress=False)
    assert rendered == [12]
    render.render_set(tmp_path, 1, SIZE, 10, 3, 16)
    assert rendered == [12, 10]


@pytest.mark.parametrize("damage", ["cut short", "emptied", "other content", "not a number"])
def test_damaged_cache_is_rendered_again(tmp_path: Path, damage: str) -> None:
    pytest.importorskip("mitsuba")
    first = render.render_set(tmp_path, 1, SIZE, **FEW, progress=False)
    (file,) = tmp_path.iterdir()
    if damage == "cut short":
        file.write_bytes(file.read_bytes()[:9999])
    elif damage == "emptied":
        file.write_bytes(b"")
    elif damage == "other content":
        np.savez(file, noisy=np.zeros(3))
    else:
        np.savez(file, **{role: np.full((*SIZE, 3), np.nan, np.float32) for role in dataset.ROLES})
    assert_equal(render.render_set(tmp_path, 1, SIZE, **FEW, progress=False), first)
    with np.load(file) as content:
        assert np.isfinite(content["noisy"]).all()
    assert list(tmp_path.iterdir()) == [file]


def test_settings_out_of_range(tmp_path: Path) -> None:
    pytest.importorskip("mitsuba")
    with pytest.raises(ValueError, match="count: expected at least 1"):
        render.render_set(tmp_path, 0, SIZE)
    with pytest.raises(ValueError, match="not -1"):
        scenes.random_scene(-1)
    with pytest.raises(ValueError, match="positive size"):
        render.render_scene(0, (0, 8))
    with pytest.raises(ValueError, match="clean_samples"):
        render.render_scene(0, SIZE, clean_samples=0)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mitsuba", None)
    with pytest.raises(ImportError, match=r"pip install 'mpsnn\[denoise\]'"):
        scenes.random_scene(0)


def test_psnr_of_a_constant_offset() -> None:
    a = np.full((8, 8, 3), 0.5)
    assert metrics.psnr(a, a + 0.1) == pytest.approx(20.0)
    assert metrics.psnr(a, a + 0.1, peak=2.0) == pytest.approx(26.0206, abs=1e-4)
    assert metrics.psnr(a, a) == np.inf
    with pytest.raises(ValueError, match="one shape"):
        metrics.psnr(a, a[:4])


def test_ssim_of_flat_pictures() -> None:
    pytest.importorskip("skimage")
    a, b = np.full((16, 16, 3), 0.2), np.full((16, 16, 3), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert metrics.ssim(a, b) == pytest.approx(expected)
    assert metrics.ssim(a, a) == pytest.approx(1.0)
    pair = np.stack((a, a)), np.stack((a, b))
    assert metrics.ssim(*pair) == pytest.approx((1 + expected) / 2)
    with pytest.raises(ValueError, match="7 x 7"):
        metrics.ssim(a[:6], b[:6])


def test_png_holds_the_training_space_as_it_is(tmp_path: Path) -> None:
    image_module = pytest.importorskip("PIL.Image")
    file = tmp_path / "made" / "grey.png"
    image = np.broadcast_to(np.array([-1.0, 0.5, 2.0], np.float32), (4, 5, 3))
    pictures.save_png(file, image)
    with image_module.open(file) as picture:
        assert picture.size == (5, 4)
        assert picture.getpixel((0, 0)) == (0, 128, 255)
    pictures.save_png(file, image, linear=True)
    with image_module.open(file) as picture:
        assert picture.getpixel((0, 0)) == (0, 188, 255)
    assert list(file.parent.iterdir()) == [file]
    with pytest.raises(ValueError, match="shape"):
        pictures.save_png(file, np.zeros((4, 5, 2)))


@pytest.mark.parametrize("count", [None, 2])
def test_bands_are_one_above_the_other(tmp_path: Path, count: int | None) -> None:
    image_module = pytest.importorskip("PIL.Image")
    shape = (40, 60, 3) if count is None else (count, 40, 60, 3)
    bands = [np.full(shape, value, np.float32) for value in (0.0, 0.2, 1.0)]
    file = tmp_path / "bands.png"
    pictures.bands(file, *bands, ("a", "b", "c"), zoom=2)
    with image_module.open(file) as picture:
        assert picture.format == "PNG"
        assert picture.size == (120 * (count or 1), 240)
        values = [picture.getpixel((picture.width - 1, 80 * band + 79)) for band in range(3)]
    assert values == [(0, 0, 0), (51, 51, 51), (255, 255, 255)]
    with pytest.raises(ValueError, match="one shape"):
        pictures.bands(file, bands[0], bands[1][:1], bands[2])
    with pytest.raises(ValueError, match="3 captions"):
        pictures.bands(file, *bands, ("a", "b"))


def test_loss_curve_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    file = tmp_path / "loss.png"
    pictures.loss_curve(file, [1, 2, 3], [0.5, 0.2, 0.1], validation=([1, 3], [0.6, 0.2]))
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="one value per epoch"):
        pictures.loss_curve(tmp_path / "other.png", [1, 2], [0.5])
    assert list(tmp_path.iterdir()) == [file]


def test_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "kept.npy"
    file.write_text("old")
    half_good = np.array([1, {}], object)  # NumPy has begun to write when it refuses
    with pytest.raises(ValueError, match="allow_pickle"), dataset.atomic_path(file) as draft:
        np.save(draft, half_good, allow_pickle=False)
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_folder_of_png_files(tmp_path: Path) -> None:
    sample = random_sample(0)
    pictures.save_png(tmp_path / "one.noisy.png", dataset.tonemap(sample.noisy))
    pictures.save_png(tmp_path / "one.clean.png", dataset.tonemap(sample.clean))
    pictures.save_png(tmp_path / "one.albedo.png", sample.albedo, linear=True)
    pictures.save_png(tmp_path / "one.normals.png", (sample.normals + 1) / 2)
    read, expected = load_folder(tmp_path), random_set(1)
    step = 0.5 / 255 + 1e-6
    np.testing.assert_allclose(read.noisy, expected.noisy, atol=step)
    np.testing.assert_allclose(read.clean, expected.clean, atol=step)
    np.testing.assert_allclose(read.normals, expected.normals, atol=2 * step)
    np.testing.assert_allclose(read.albedo, expected.albedo, atol=2.4 * step)
    assert dataset.picture_names(tmp_path) == ["one"]


def test_damaged_png_is_named(tmp_path: Path) -> None:
    write_npy(tmp_path, "one", random_sample(0))
    (tmp_path / "one.clean.npy").unlink()
    (tmp_path / "one.clean.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    with pytest.raises(DataError, match=r"one\.clean\.png: cannot be read"):
        load_folder(tmp_path)
