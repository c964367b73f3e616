"""The faults that are planted to try the tests: each has its place in the code, and tests that are there."""

import ast
from pathlib import Path

from tools.planted import PLANTED

ROOT = Path(__file__).resolve().parents[2]


def test_every_fault_has_one_place_and_makes_another_program():
    assert len(PLANTED) > 20
    for fault in PLANTED:
        text = (ROOT / fault.file).read_text()
        assert text.count(fault.was) == 1, fault.name
        assert ast.dump(ast.parse(text.replace(fault.was, fault.now))) != ast.dump(ast.parse(text)), fault.name
        for name in fault.tests.split():
            assert (ROOT / "tests" / "unit" / f"test_{name}.py").is_file(), fault.name
