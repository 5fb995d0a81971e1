# SPDX-License-Identifier: MIT
"""CIFAR-10's two formats, damaged and hostile files, and the batches made of pictures."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mpsnn as mps
from mpsnn.apps.resnet50 import cifar10, images, pickled

Batch = tuple[np.ndarray[Any, Any], list[int]]
BATCHES = [name for split in cifar10.SPLITS.values() for name in split]


def content(number: int, count: int = 7) -> Batch:
    """A batch as the files hold it: rows of 3072 values, labels."""
    generator = np.random.default_rng(number)
    values = generator.integers(0, 256, (count, cifar10.VALUES), dtype=np.uint8)
    return values, [int(label) for label in generator.integers(0, 10, count)]


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes alike as Python 2 did, which made the published files."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]  # noqa: RUF012

    def _save_string(self, value: str | bytes) -> None:
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        size = len(raw)
        self.write(b"U" + bytes([size]) if size < 256 else b"T" + size.to_bytes(4, "little"))
        self.write(raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_string


def python2(value: object) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, 2).dump(value)
    return stream.getvalue().replace(b"cnumpy._core.", b"cnumpy.core.")


def dictionary(batch: Batch, *, as_bytes: bool = False) -> dict[Any, Any]:
    values, labels = batch
    entries = {
        "batch_label": "training batch 1 of 5",
        "labels": labels,
        "data": values,
        "filenames": [f"leptodactylus_pentadactylus_s_{label}.png" for label in labels],
    }
    return {key.encode(): value for key, value in entries.items()} if as_bytes else entries


def pickled_file(batch: Batch) -> bytes:
    return python2(dictionary(batch))


def binary_file(batch: Batch) -> bytes:
    return b"".join(bytes([label]) + row.tobytes() for row, label in zip(*batch, strict=True))


FORMATS = {"": pickled_file, ".bin": binary_file}


def write_all(folder: Path, suffix: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(BATCHES):
        (folder / f"{name}{suffix}").write_bytes(FORMATS[suffix](content(number)))
    return folder


def write_archive(path: Path, suffix: str, inner: str) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for number, name in enumerate(["readme.html", *BATCHES]):
            data = FORMATS[suffix](content(number - 1)) if number else b"<html>"
            member = tarfile.TarInfo(f"{inner}/{name}{suffix if number else ''}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def check(got: cifar10.LabelledImages, numbers: list[int]) -> None:
    values = np.concatenate([content(number)[0] for number in numbers])
    labels = [label for number in numbers for label in content(number)[1]]
    assert got.labels.tolist() == labels
    assert got.images.dtype == np.uint8
    assert got.images.shape == (len(labels), 32, 32, 3)
    # The format's own words: 1024 red, 1024 green, 1024 blue values, each row by row.
    for colour in range(3):
        plane = values[:, 1024 * colour : 1024 * (colour + 1)].reshape(-1, 32, 32)
        assert np.array_equal(got.images[..., colour], plane)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_both_formats_in_a_folder(suffix: str, tmp_path: Path) -> None:
    folder = write_all(tmp_path / "batches", suffix)
    check(cifar10.load(folder), [0, 1, 2, 3, 4])
    check(cifar10.load(folder, "test"), [5])


@pytest.mark.parametrize(("inner", "suffix"), list(cifar10.FOLDERS.items()))
def test_the_folder_above(inner: str, suffix: str, tmp_path: Path) -> None:
    write_all(tmp_path / inner, suffix)
    check(cifar10.load(tmp_path, "test"), [5])


@pytest.mark.parametrize(("name", "suffix"), list(cifar10.ARCHIVES.items()))
def test_archives_as_downloaded(name: str, suffix: str, tmp_path: Path) -> None:
    archive = write_archive(tmp_path / name, suffix, "cifar-10-batches")
    check(cifar10.load(archive), [0, 1, 2, 3, 4])
    check(cifar10.load(tmp_path, "test"), [5])
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("as_bytes", [False, True], ids=["text keys", "bytes keys"])
def test_pickles_of_python3_without_codecs(protocol: int, as_bytes: bool) -> None:
    data = pickle.dumps(dictionary(content(0), as_bytes=as_bytes), protocol)
    if b"_codecs" in data:
        with pytest.raises(mps.FileError, match="_codecs encode"):
            cifar10.read_pickled(data, "batch")
    else:
        check(cifar10.read_pickled(data, "batch"), [0])


def test_text_pickles_of_protocol_0() -> None:
    # The published batches.meta is one of these.
    text = (
        b"(dp0\nS'label_names'\np1\n(lp2\nS'cat'\np3\naS'dog'\np4\nasS'count'\np5\nI12\nsg5\nI3\ns."
    )
    assert pickled.load(text) == {"label_names": ["cat", "dog"], "count": 3}


def test_a_full_batch_is_read_quickly() -> None:
    batch = cifar10.read_pickled(pickled_file(content(3, 10_000)), "batch")
    assert len(batch) == 10_000
    values, labels = content(3, 10_000)
    assert batch.labels.tolist() == labels
    assert np.array_equal(batch.images.transpose(0, 3, 1, 2).reshape(10_000, -1), values)


class Hostile:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.mkdir, eval, exec, getattr, np.load, np.empty])
def test_pickles_are_never_run(
    protocol: int, function: Callable[..., object], tmp_path: Path
) -> None:
    target = tmp_path / "made"
    command = f"__import__('os').mkdir({str(target)!r})"
    argument = command if function in {eval, exec} else str(target)
    entries = dictionary(content(0)) | {"data": Hostile(function, argument)}
    data = pickle.dumps(entries, protocol)
    with pytest.raises(mps.FileError, match=r"batch: expected arrays and plain values, got"):
        cifar10.read_pickled(data, "batch")
    assert not target.exists()
    if function is os.mkdir:
        assert pickle.loads(data)["data"] is None  # noqa: S301
        assert target.exists(), "the file was not hostile"


GOOD = pickled_file(content(0))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "damaged one"),
        (b"no pickle at all", "damaged one"),
        (GOOD[: len(GOOD) // 2], "damaged one"),
        (GOOD[:-1], "damaged one"),
        (b"\x80\x02.", "damaged one"),
        (b"\x80\x02(((.", "damaged one"),
        (b"\x80\x02s.", "damaged one"),
        (b"\x80\x02h\x07.", "damaged one"),
        (b"\x80\x02]K\x01K\x02s.", "damaged one"),
        (b"\x80\x02}(K\x01u.", "damaged one"),
        (b"\x80\x02}(]K\x01u.", "damaged one"),
        (b"\x80\x02cnumpy\nndarray\n.", "got a name"),
        (b"\x80\x02cos\nsystem\n.", 'got the name "os system"'),
        (b"\x80\x02c__builtin__\neval\nU\x011\x85R.", 'got the name "__builtin__ eval"'),
        (b"\x80\x02cnumpy\nndarray\nK\x05\x85R.", 'a call of "numpy ndarray"'),
        (b"\x80\x02cnumpy\ndtype\nU\x01O\x85R.", "uint8, got one of 'O'"),
        (b"\x80\x02\x82\x01.", "the instruction EXT1"),
        (b"\x80\x02K\x01Q.", "the instruction BINPERSID"),
        (b"\x80\x02]K\x01a.", "expected a pickled dictionary, got a pickled list"),
        (python2({"labels": [1]}), r"data: expected an array .* got NoneType"),
        (python2(dictionary((np.zeros((2, 3), np.uint8), [1, 2]))), r"data: .* got \(2, 3\)"),
        (python2(dictionary(content(0)) | {"labels": "cat"}), "labels: expected a list"),
        (python2(dictionary(content(0)) | {"labels": [True] * 7}), "labels: expected a list"),
        (python2(dictionary(content(0)) | {"labels": [1, 2]}), "each of 7 pictures, got 2"),
        (python2(dictionary(content(0)) | {"labels": [3] * 6 + [10]}), "0 to 9, got 10 for pict"),
        (python2(dictionary(content(0)) | {"labels": [-1] * 7}), "labels: expected 0 to 9"),
        (python2(dictionary(content(0)) | {"labels": []}), "labels: expected 0 to 9"),
        (python2({"data": np.zeros((2, 3072), np.float32)}), "uint8, got one of 'f4'"),
    ],
)
def test_bad_pickles_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(mps.FileError, match=f"batch: .*{text}"):
        cifar10.read_pickled(data, "batch")


def test_an_array_must_fit_its_shape() -> None:
    # Seven rows claimed to be thousands: no memory is taken for what is not there.
    shape = b"K\x07M\x00\x0c\x86"
    assert GOOD.count(shape) == 1
    with pytest.raises(mps.FileError, match=r"shape \(1879048192, 3072\), got 21504 bytes"):
        cifar10.read_pickled(GOOD.replace(shape, b"J\x00\x00\x00\x70M\x00\x0c\x86"), "batch")


def test_a_pickle_cut_anywhere_is_refused() -> None:
    small = python2(dictionary((np.zeros((1, 3072), np.uint8), [1])))
    positions = [*range(300), *range(len(small) - 120, len(small))]
    for position in positions:
        with pytest.raises(mps.FileError, match="batch: expected"):
            cifar10.read_pickled(small[:position], "batch")


def test_changed_bytes_never_do_harm() -> None:
    generator = np.random.default_rng(5)
    for _ in range(300):
        data = bytearray(GOOD)
        for position in generator.integers(0, 400, 3):
            data[position] = generator.integers(0, 256)
        try:
            batch = cifar10.read_pickled(bytes(data), "batch")
        except mps.FileError as error:
            assert str(error).startswith("batch: ")  # noqa: PT017
        else:
            assert batch.images.shape == (len(batch.labels), 32, 32, 3)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "records of 3073 bytes .* got 0 bytes"),
        (bytes(3072), "records of 3073 bytes .* got 3072 bytes"),
        (bytes(3073) + b"\x0a" + bytes(3072), "0 to 9, got 10 for picture 1"),
    ],
)
def test_bad_binary_files_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(mps.FileError, match=f"batch.bin: .*{text}"):
        cifar10.read_binary(data, "batch.bin")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(mps.FileError, match=r"nowhere: expected a folder or an archive"):
        cifar10.load(tmp_path / "nowhere")
    with pytest.raises(mps.FileError, match=r"data_batch_1 .* got none of them"):
        cifar10.load(tmp_path)
    folder = write_all(tmp_path / "all", ".bin")
    (folder / "data_batch_4.bin").unlink()
    with pytest.raises(mps.FileError, match=r"data_batch_4\.bin: expected beside"):
        cifar10.load(folder)
    with pytest.raises(ValueError, match="split: expected one of train, test"):
        cifar10.load(folder, "validation")


def test_bad_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    path.write_bytes(b"no archive")
    with pytest.raises(mps.FileError, match="expected a tar archive"):
        cifar10.load(path)
    whole = write_archive(path, "", "cifar-10-batches-py").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(mps.FileError, match=r"tar archive|expected data_batch"):
        cifar10.load(path)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(__file__, "cifar-10-batches-py/readme.html")
    with pytest.raises(mps.FileError, match="expected data_batch_1 in the archive"):
        cifar10.load(path)


def test_huge_files_are_refused(tmp_path: Path) -> None:
    folder = write_all(tmp_path, "")
    # The size is refused before anything is read.
    with (folder / "test_batch").open("r+b") as file:
        file.truncate(cifar10.LARGEST + 1)  # takes no room on disk
    with pytest.raises(
        mps.FileError, match=r"test_batch: expected a batch of about 31 MB, got \d+ bytes$"
    ):
        cifar10.load(folder, "test")


def test_synthetic_pictures() -> None:
    pictures = images.synthetic(200, seed=3)
    assert pictures.images.shape == (200, 32, 32, 3)
    assert pictures.images.dtype == np.uint8
    assert set(pictures.labels.tolist()) == set(range(10))
    again = images.synthetic(200, seed=3)
    assert np.array_equal(pictures.images, again.images)
    assert not np.array_equal(pictures.images, images.synthetic(200, seed=4).images)


def test_synthetic_classes_can_be_told_apart() -> None:
    # The spectrum's size does not know the phase: its nearest class mean is the right class.
    def features(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        spectrum = np.abs(np.fft.fft2(values.astype(float), axes=(1, 2)))[:, :6, :6]
        return spectrum.reshape(len(values), -1)

    train, test = images.synthetic(600, 1), images.synthetic(200, 2)
    known = features(train.images)
    means = np.stack([known[train.labels == label].mean(0) for label in range(10)])
    distance = ((features(test.images)[:, None] - means) ** 2).sum(-1)
    assert (distance.argmin(1) == test.labels).mean() > 0.8


@pytest.mark.parametrize("arguments", [(0,), (1, 0, 0)])
def test_synthetic_sizes_are_checked(arguments: tuple[int, ...]) -> None:
    with pytest.raises(mps.InvalidArgumentError, match="expected 1 or more, got 0"):
        images.synthetic(*arguments)


def test_normalise() -> None:
    values = images.normalise(np.full((1, 1, 1, 3), 51, np.uint8))
    expected = (0.2 - np.array([0.4914, 0.4822, 0.4465])) / np.array([0.2470, 0.2435, 0.2616])
    assert values.dtype == np.float32
    assert np.allclose(values[0, 0, 0], expected, atol=1e-6)


def test_augmented_pictures_are_moved_and_mirrored_ones() -> None:
    picture = np.arange(1, 8 * 8 * 3 + 1, dtype=np.uint8).reshape(1, 8, 8, 3)
    padded = np.pad(picture, ((0, 0), (2, 2), (2, 2), (0, 0)))[0]
    cuts = {
        cut.tobytes()
        for y in range(5)
        for x in range(5)
        for cut in (padded[y : y + 8, x : x + 8], padded[y : y + 8, x : x + 8][:, ::-1])
    }
    generator = np.random.Generator(np.random.Philox(1))
    seen = images.augment(np.repeat(picture, 1500, 0), generator, padding=2)
    assert {one.tobytes() for one in seen} == cuts


def test_batches() -> None:
    pictures = images.synthetic(25, seed=1)
    made = list(images.batches(pictures, 8, 7, seed=2, augmented=False))
    assert [batch.index for batch in made] == list(range(7))
    # Three batches an epoch: no picture twice in one, another order in the next.
    normal = images.normalise(pictures.images)
    where = {picture.tobytes(): index for index, picture in enumerate(normal)}
    epochs = [
        [where[one.tobytes()] for batch in made[first : first + 3] for one in batch.images]
        for first in (0, 3)
    ]
    for epoch in epochs:
        assert len(set(epoch)) == 24
    assert epochs[0] != epochs[1]
    for batch in made:
        assert batch.labels.shape == (8, 1, 1, 10)
        chosen = [where[one.tobytes()] for one in batch.images]
        assert batch.labels[:, 0, 0].argmax(1).tolist() == pictures.labels[chosen].tolist()
        assert np.array_equal(batch.labels.sum(-1), np.ones((8, 1, 1)))


def test_batches_are_fixed_by_their_seed() -> None:
    pictures = images.synthetic(25, seed=1)
    first, second, other = (list(images.batches(pictures, 8, 4, seed=seed)) for seed in (1, 1, 2))
    for a, b in zip(first, second, strict=True):
        assert np.array_equal(a.images, b.images)
        assert np.array_equal(a.labels, b.labels)
    assert any(not np.array_equal(a.images, b.images) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("size", [0, 26])
def test_batches_need_enough_pictures(size: int) -> None:
    with pytest.raises(mps.InvalidArgumentError, match=rf"expected 1 to 25 .* got {size}"):
        next(images.batches(images.synthetic(25), size, 1))
