# SPDX-License-Identifier: MIT
"""What writers of files and users of optional packages share."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


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


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lends a file name to write to, and moves that file into place at the end.

    Args:
        path: Where the finished file shall be; its folder is made if it is missing.

    Yields:
        A name in the same folder with the same suffix. After an exception the file under it
        is removed and ``path`` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield draft
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
