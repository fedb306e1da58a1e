"""The compiled part of oxidd, without the rest of its package, which looks up its own version when it is imported: that
takes three times as long as to load the part that is used.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec

_NAME = "oxidd._oxidd"


def _load() -> None:
    """Load it under its own name, so that whoever imports oxidd later gets the same classes."""
    package = find_spec("oxidd")
    if package is None or _NAME in sys.modules:
        return
    spec = PathFinder.find_spec(_NAME, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        return
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[_NAME] = module


_load()

# where nothing was loaded, this is an import like any other
from oxidd._oxidd import BCDDFunction, BCDDManager, DDMemoryError  # noqa: E402

__all__ = ["BCDDFunction", "BCDDManager", "DDMemoryError"]
