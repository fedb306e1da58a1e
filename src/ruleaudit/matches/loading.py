"""Extensions that are loaded when they are first asked for: most rulesets use few of a hundred."""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TypeVar

Extension = TypeVar("Extension")


class Extensions(Mapping[str, Extension]):
    """The extensions of a package by their names; a place is a module that has one, `EXTENSION`, or `module.NAME`."""

    def __init__(self, package: str, places: Mapping[str, str]) -> None:
        self._package, self._places = package, places
        self._loaded: dict[str, Extension] = {}

    def __getitem__(self, name: str) -> Extension:
        found = self._loaded.get(name)
        if found is None:
            module, _, attribute = self._places[name].partition(".")
            found = getattr(import_module(f"{self._package}.{module}"), attribute or "EXTENSION")
            self._loaded[name] = found
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
