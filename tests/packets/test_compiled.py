"""The part of oxidd that is loaded alone is the one that everybody else gets."""

import subprocess
import sys

import pytest

OURS = "from ruleaudit.packets.compiled import BCDDManager as ours"
THEIRS = "from oxidd.bcdd import BCDDManager as theirs"


@pytest.mark.parametrize("order", [(OURS, THEIRS), (THEIRS, OURS)], ids=["before oxidd", "after oxidd"])
def test_whoever_imports_oxidd_gets_the_same_classes(order: tuple[str, str]) -> None:
    program = "\n".join((*order, "import oxidd, oxidd.zbdd", "from oxidd import _oxidd", "print(ours is theirs)"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_the_rest_of_oxidd_is_not_loaded() -> None:
    program = f"import sys\n{OURS}\nprint('oxidd' in sys.modules, 'importlib.metadata' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False False\n"


def test_where_the_part_is_not_found_it_comes_by_way_of_the_package() -> None:
    program = "\n".join(
        (
            "import sys",
            "from importlib.machinery import PathFinder",
            "found = PathFinder.find_spec",
            "hidden = lambda name: name == 'oxidd._oxidd' and 'oxidd' not in sys.modules",
            "PathFinder.find_spec = lambda name, *more: None if hidden(name) else found(name, *more)",
            OURS,
            THEIRS,
            "print(ours is theirs)",
        )
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
