"""Which files below a folder are rulesets, by their names: what `check` takes when no file is named."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

#: the file names under which rulesets are kept; bare *.rules belongs to udev, Snort and Prometheus too
RULESET = re.compile(
    r"""(?x)(^|/)(
        rules\.v[46]
      | ip6?tables(-save)?(\.up)?(\.(rules|save|conf|txt|v4|v6))?
      | (ip6?tables|firewall|ufw)/[^/]+\.rules
      | (before|after|user)6?\.rules
      | nftables\.conf
      | nftables(\.conf)?\.d/[^/]+\.(conf|rules)
      | [^/]+\.nft
    )$"""
)
_SKIPPED = ("node_modules", "__pycache__")


def rulesets(folder: str = ".") -> Iterator[str]:
    """The paths of rulesets below a folder, sorted; hidden folders are left out."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and f not in _SKIPPED)
        for name in sorted(files):
            path = Path(here, name).as_posix()
            if RULESET.search(path):
                yield path
