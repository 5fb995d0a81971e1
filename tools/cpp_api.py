# SPDX-License-Identifier: MIT
"""Reads what the public C++ headers declare: classes, their members, enumerators, free functions.

No compiler: the headers are written in one style (`make lint` holds them to clang-format), so that
splitting them at braces and semicolons is enough.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "mpsnn"


@dataclass
class CppClass:
    """A class or struct of namespace mpsnn.

    Attributes:
        name: Without namespace; a nested class is "Outer::Inner".
        header: Where it is defined.
        bases: Names of the classes that it derives from.
        functions: Public member functions.
        fields: Public data members.
        constructors: Public constructors that are declared.
    """

    name: str
    header: Path
    bases: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    constructors: int = 0


@dataclass
class CppApi:
    """What the headers declare in namespace mpsnn."""

    classes: dict[str, CppClass] = field(default_factory=dict)
    enums: dict[str, set[str]] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)

    def members(self, name: str) -> tuple[set[str], set[str]]:
        """Public functions and fields of a class, inherited ones included."""
        functions, fields = set[str](), set[str]()
        waiting = [name]
        while waiting:
            found = self.classes.get(waiting.pop())
            if found is not None:
                functions |= found.functions
                fields |= found.fields
                waiting += found.bases
        return functions, fields


def read_headers(folder: Path = HEADERS) -> CppApi:
    """Reads all public headers."""
    api = CppApi()
    for path in sorted(folder.glob("*.h")):
        _Reader(api, path).read()
    return api


COMMENT = re.compile(r'//[^\n]*|/\*.*?\*/|^\s*#[^\n]*|"(?:\\.|[^"\\])*"', re.DOTALL | re.MULTILINE)
ACCESS = re.compile(r"\b(public|private|protected)\s*:(?!:)")
TYPE = re.compile(
    r"(?:template\s*<.*>\s*)?(class|struct|enum class)\s+(?:\[\[\w+\]\]\s*)?(\w+)\s*"
    r"(?:final\s*)?(?::(.*))?$",
    re.DOTALL,
)
NAMESPACE = re.compile(r"namespace\s+([\w:]+)$")


class _Reader:
    """Walks through one header, scope by scope."""

    def __init__(self, api: CppApi, path: Path) -> None:
        self._api, self._path = api, path
        text = COMMENT.sub(" ", path.read_text(encoding="utf-8")).replace('extern " "', "")
        self._tokens = re.split(r"([{};])", text)
        self._at = 0

    def read(self) -> None:
        """Reads the whole file."""
        self._scope(None, public=False, own=False)

    def _next(self) -> str | None:
        if self._at >= len(self._tokens):
            return None
        self._at += 1
        return self._tokens[self._at - 1]

    def _skip(self) -> None:
        """Goes behind the brace that closes the one just read."""
        depth = 1
        while depth:
            token = self._next()
            depth += (token == "{") - (token in ("}", None))

    def _scope(self, inside: CppClass | None, *, public: bool, own: bool) -> None:
        """Reads up to the brace that closes the scope.

        Args:
            inside: The class; None: a namespace.
            public: Whether its first members are public.
            own: Whether the namespace is mpsnn itself.
        """
        said = ""
        while (token := self._next()) is not None and token != "}":
            if token == ";":
                self._declare(said, inside, public=public, own=own)
                said = ""
            elif token == "{":
                said = self._open(said.strip(), inside, public=public, own=own)
            else:
                said += token
                for label in ACCESS.findall(token):
                    public = label == "public"
                said = ACCESS.sub(" ", said)

    def _open(self, said: str, inside: CppClass | None, *, public: bool, own: bool) -> str:
        """Reads what a brace opens. Returns what the statement has so far."""
        if name := NAMESPACE.match(said):
            self._scope(None, public=False, own=name[1] == "mpsnn")
            return ""
        if kind := TYPE.match(said):
            self._type(kind, inside, public=public, own=own)
            return ""
        self._skip()
        if _called(said):  # a function with its body
            self._declare(said, inside, public=public, own=own)
            return ""
        return said + " "  # an initializer

    def _type(
        self, kind: re.Match[str], inside: CppClass | None, *, public: bool, own: bool
    ) -> None:
        visible = public if inside is not None else own
        name = f"{inside.name}::{kind[2]}" if inside is not None else kind[2]
        if kind[1] == "enum class":
            body = self._next() or ""
            self._next()
            if visible:
                self._api.enums[name] = set(re.findall(r"(?:^|,)\s*(\w+)", body))
            return
        bases = [re.sub(r".*\s|<.*", "", base.strip()) for base in (kind[3] or "").split(",")]
        made = CppClass(name, self._path, [base for base in bases if base])
        if visible:
            self._api.classes[name] = made
        self._scope(made, public=kind[1] == "struct", own=False)

    def _declare(self, said: str, inside: CppClass | None, *, public: bool, own: bool) -> None:
        said = re.sub(r"\[\[.*?\]\]|\boperator\b.*", "", said.strip(), flags=re.DOTALL)
        if not said or said.startswith(
            ("using ", "friend ", "class ", "struct ", "template class")
        ):
            if inside is not None and public and (used := re.match(r"using (\w+)::(\w+)$", said)):
                inside.functions.add(used[2])
            return
        name = _called(said)
        if inside is None:
            if own and name:
                self._api.functions.add(name)
        elif public and name:
            last = inside.name.rpartition("::")[2]
            inside.constructors += name == last and "= delete" not in said
            inside.functions.add(name)
        elif public:
            inside.fields.update(_fields(said))


def _flat(said: str) -> str:
    """A declaration without what stands in angle brackets."""
    while (shorter := re.sub(r"<[^<>]*>", " ", said)) != said:
        said = shorter
    return said


def _called(said: str) -> str:
    """The name of a function's declaration; empty for anything else."""
    head = re.match(r"[^=(]*?(~?\w+)\s*\(", _flat(said))
    return head[1] if head else ""


def _fields(said: str) -> Iterator[str]:
    """Names of the data members that one declaration makes."""
    flat = re.sub(r"\([^()]*\)", " ", _flat(said))
    for part in flat.split(","):
        if name := re.search(r"(\w+)\s*(?:=.*)?$", part.strip(), re.DOTALL):
            yield name[1]
