# SPDX-License-Identifier: MIT
"""What writers of files and users of optional packages share."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from mpsnn._core import FileError

DRAWINGS = (".pdf", ".png", ".svg")  # formats that drawings are written in


class MissingPackageError(ImportError):
    """A package is not installed that only a part of mpsnn needs; the text says how to get it."""


def optional_module(name: str, extra: str, user: str) -> ModuleType:
    """Imports a package that only a part of mpsnn needs.

    Args:
        name: A module of one of the packages in the extra.
        extra: The extra of mpsnn that brings the package.
        user: Who needs it, for the error.

    Returns:
        The module.

    Raises:
        MissingPackageError: The package is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingPackageError(
            f"{user} needs {package} ({error}): pip install 'mpsnn[{extra}]'"
        ) from error


def prepare_output(path: str | Path, suffixes: Sequence[str] = ()) -> None:
    """Makes a file's folder, so that what takes long does not fail when it is written.

    Args:
        path: The file that shall be written later.
        suffixes: Endings that its format may have, as `DRAWINGS`; none: any.

    Raises:
        FileError: It is a folder, or nothing can be written to its folder, or its ending is none of
            these.
    """
    path = Path(path)
    if path.is_dir():
        raise FileError(f"{path}: expected a file to write, it is a folder")
    if suffixes and path.suffix.lower() not in suffixes:
        raise FileError(f"{path}: expected a file ending in {', '.join(suffixes)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileError(f"{path}: its folder cannot be made: {error}") from error
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise FileError(
            f"{path}: expected a folder that can be written to, got {path.parent}: {error.strerror}"
        ) from error


def prepare_drawing(path: str | Path, extra: str, user: str) -> None:
    """Tells before anything runs why a drawing could not be written at the end.

    Args:
        path: The file, as for `prepare_output`; its ending is one of `DRAWINGS`.
        extra: The extra of mpsnn that brings Matplotlib.
        user: Who draws, for the error.

    Raises:
        FileError: As for `prepare_output`.
        MissingPackageError: Matplotlib is not installed.
    """
    optional_module("matplotlib", extra, user)
    prepare_output(path, DRAWINGS)


def prepare_folder(path: str | Path) -> None:
    """Makes a folder for files that are written later.

    Args:
        path: The folder; those above it are made, too.

    Raises:
        FileError: There is a file of that name, or it cannot be made or written to.
    """
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise FileError(f"{path}: expected a folder to write to, it is a file")
    prepare_output(path / "file")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lends a file name to write to, and moves that file into place at the end.

    Args:
        path: Where the finished file shall be; its folder is made if it is missing.

    Yields:
        A name in the same folder with the same suffix. After an exception the file under it
        is removed and ``path`` stays as it was.

    Raises:
        FileError: As for `prepare_output`.
    """
    path = Path(path)
    prepare_output(path)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
