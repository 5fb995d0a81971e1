# SPDX-License-Identifier: MIT
"""Objects of a program's own classes in archives."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

    from mpsnn._core import Coder


class SecureCoding:
    """What a class derives from whose objects are archived. Apple: NSSecureCoding.

    A data source of one's own derives from this as well; other classes need nothing else. Archives
    hold the class's name (`__name__`) and what `encode` stored, never code: a class is restored
    only where it is named, `KeyedUnarchiver(device, [MyClass])`. Of a data source the archive holds
    label, optimizer, parameters and moments anyway.

    Example:
        >>> import mpsnn as mps
        >>> class Settings(mps.SecureCoding):
        ...     def __init__(self, exposure):
        ...         self.exposure = exposure
        ...     def encode(self, coder):
        ...         coder.encode("exposure", self.exposure)
        ...     @classmethod
        ...     def decode(cls, coder):
        ...         return cls(coder.decode("exposure"))
    """

    def encode(self, coder: Coder) -> None:
        """Stores what `decode` needs.

        Args:
            coder: Takes values and arrays by key.
        """
        raise NotImplementedError(f"{type(self).__name__}: encode")

    @classmethod
    def decode(cls, coder: Coder) -> Self:
        """Makes an object from what was stored.

        Args:
            coder: Has the values and arrays.

        Returns:
            The object.
        """
        raise NotImplementedError(f"{cls.__name__}: decode")
