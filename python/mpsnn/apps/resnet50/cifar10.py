# SPDX-License-Identifier: MIT
"""Reads CIFAR-10 in both published formats: 60,000 pictures of 32 x 32 pixels in ten classes.

Get one of these from https://www.cs.toronto.edu/~kriz/cifar.html (A. Krizhevsky, Learning Multiple
Layers of Features from Tiny Images, 2009):

- `cifar-10-python.tar.gz`, in it the pickles `data_batch_1` … `data_batch_5` and `test_batch`;
- `cifar-10-binary.tar.gz`, in it `data_batch_1.bin` … `data_batch_5.bin` and `test_batch.bin`.

`load` takes the archive as it was downloaded, or a folder: the one unpacked, the one that holds it,
or the one that holds the archive. Pickles are read without running them (`pickled`).
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mpsnn import FileError
from mpsnn.apps.resnet50 import pickled

CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
EDGE, CHANNELS = 32, 3
VALUES = CHANNELS * EDGE * EDGE
SPLITS = {
    "train": tuple(f"data_batch_{number}" for number in range(1, 6)),
    "test": ("test_batch",),
}
ARCHIVES = {"cifar-10-python.tar.gz": "", "cifar-10-binary.tar.gz": ".bin"}
FOLDERS = {"cifar-10-batches-py": "", "cifar-10-batches-bin": ".bin"}
# A published batch has 31 MB; what is far larger is something else.
LARGEST = 256 * 2**20


@dataclass(frozen=True)
class LabelledImages:
    """Pictures with their classes.

    Attributes:
        images: (N, H, W, 3) of uint8.
        labels: (N) of uint8, the index of each picture's class.
        classes: The classes' names.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    classes: Sequence[str] = CLASSES

    def __len__(self) -> int:
        return len(self.images)


def load(path: str | Path, split: str = "train") -> LabelledImages:
    """Reads one split.

    Args:
        path: The archive as it was downloaded, or a folder (see above).
        split: "train", the five batches in their order, or "test".

    Returns:
        The pictures, as many as the files hold.

    Raises:
        FileError: Files are missing, cannot be read, or are not what they should be; the text names
            the file, what was expected and what came.
        ValueError: The split is another.
    """
    if split not in SPLITS:
        raise ValueError(f'cifar10: split: expected one of {", ".join(SPLITS)}, got "{split}"')
    path = Path(path)
    if path.is_dir():
        batches = _from_folder(path, SPLITS[split])
    elif path.exists():
        batches = _from_archive(path, SPLITS[split])
    else:
        raise FileError(f"{path}: expected a folder or an archive of CIFAR-10, there is none")
    return LabelledImages(
        np.concatenate([batch.images for batch in batches]),
        np.concatenate([batch.labels for batch in batches]),
    )


def read_binary(data: bytes, name: str) -> LabelledImages:
    """Reads a batch of the binary version: records of a label and 3072 values.

    Args:
        data: The file's content.
        name: The file's name, for errors.

    Returns:
        The batch.

    Raises:
        FileError: The size is no multiple of a record's, or a label is none of 0 … 9.
    """
    record = 1 + VALUES
    if not data or len(data) % record:
        raise FileError(
            f"{name}: expected records of {record} bytes (a label and {VALUES} values), "
            f"got {len(data)} bytes"
        )
    records = np.frombuffer(data, np.uint8).reshape(-1, record)
    return _batch(records[:, 1:], records[:, 0], name)


def read_pickled(data: bytes, name: str) -> LabelledImages:
    """Reads a batch of the Python version: a pickled dictionary with `data` and `labels`.

    Args:
        data: The file's content.
        name: The file's name, for errors.

    Returns:
        The batch.

    Raises:
        FileError: It is no pickle, one that holds other things than arrays and plain values, or a
            dictionary without what a batch has.
    """
    try:
        content = pickled.load(data)
    except pickled.PickleError as error:
        raise FileError(f"{name}: {error}") from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise FileError(f"{name}: expected a pickled dictionary, got a pickled {kind}")
    # Keys are bytes in files that Python 2 wrote and in some that Python 3 wrote.
    entries = {k.decode("latin-1") if isinstance(k, bytes) else k: v for k, v in content.items()}
    values, labels = entries.get("data"), entries.get("labels")
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.shape[1] != VALUES:
        got = f"{values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        raise FileError(f"{name}: data: expected an array (N, {VALUES}) of uint8, got {got}")
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        raise FileError(f"{name}: labels: expected a list of whole numbers")
    if not labels or min(labels) < 0 or max(labels) > 255:
        raise FileError(f"{name}: labels: expected 0 to {len(CLASSES) - 1} for each picture")
    return _batch(values, np.asarray(labels, np.uint8), name)


def _batch(values: NDArray[np.uint8], labels: NDArray[np.uint8], name: str) -> LabelledImages:
    if len(values) != len(labels):
        raise FileError(
            f"{name}: expected a label for each of {len(values)} pictures, got {len(labels)}"
        )
    if labels.max() >= len(CLASSES):
        raise FileError(
            f"{name}: labels: expected 0 to {len(CLASSES) - 1}, got {labels.max()} "
            f"for picture {labels.argmax()}"
        )
    # The files hold a picture's red, then its green, then its blue values.
    planes = values.reshape(-1, CHANNELS, EDGE, EDGE)
    return LabelledImages(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels.copy())


def _from_folder(folder: Path, names: Sequence[str]) -> list[LabelledImages]:
    for place in (folder, *(folder / name for name in FOLDERS)):
        for suffix, read in READERS.items():
            files = [place / f"{name}{suffix}" for name in names]
            there = [file for file in files if file.is_file()]
            if len(there) == len(files):
                return [read(_content(file), str(file)) for file in files]
            if there:
                missing = next(file for file in files if file not in there)
                raise FileError(f"{missing}: expected beside {there[0].name}, there is none")
    for name in ARCHIVES:
        if (folder / name).is_file():
            return _from_archive(folder / name, names)
    raise FileError(
        f"{folder}: expected CIFAR-10's files {names[0]} … or {names[0]}.bin …, a folder "
        f"{' or '.join(FOLDERS)}, or {' or '.join(ARCHIVES)}, got none of them"
    )


def _content(file: Path) -> bytes:
    try:
        _check_size(str(file), file.stat().st_size)
        return file.read_bytes()
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{file}: cannot be read: {error}") from error


def _check_size(name: str, size: int) -> None:
    if size > LARGEST:
        raise FileError(f"{name}: expected a batch of about 31 MB, got {size} bytes")


def _from_archive(path: Path, names: Sequence[str]) -> list[LabelledImages]:
    """Reads members of the archive where they lie: nothing is unpacked to disk."""
    found: dict[str, LabelledImages] = {}
    wanted = {f"{name}{suffix}": (name, read) for suffix, read in READERS.items() for name in names}
    try:
        with tarfile.open(path, "r:*") as archive:
            for member in archive:
                base = PurePosixPath(member.name).name
                if base not in wanted or not member.isfile():
                    continue
                where = f"{path}: {member.name}"
                _check_size(where, member.size)
                stream = archive.extractfile(member)
                name, read = wanted[base]
                found[name] = read(stream.read() if stream else b"", where)
    except FileError:
        raise
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise FileError(f"{path}: expected a tar archive of CIFAR-10: {error}") from error
    missing = [name for name in names if name not in found]
    if missing:
        raise FileError(f"{path}: expected {missing[0]} in the archive, there is none")
    return [found[name] for name in names]


# What reads a batch, by the end of its file's name.
READERS: dict[str, Callable[[bytes, str], LabelledImages]] = {
    "": read_pickled,
    ".bin": read_binary,
}
