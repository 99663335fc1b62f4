"""Every test of generated programs, once more with the programs as machine code.

`NativeMachine` makes each run twice, and compares; the tests' own expectations hold as well.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from pathlib import Path

import pytest

import bpf_interpreter
from native_machine import NativeMachine

_TESTS = Path(__file__).parents[2] / "bpf"
_MODULES = sorted(path.stem for path in _TESTS.glob("test_codegen*.py"))
_THEIRS = ("bpf_interpreter", "native_machine")
_Fixture = type(pytest.fixture(lambda: None))


def _load(name: str) -> None:
    """Takes the module's tests in here, under its name, with NativeMachine for the interpreter."""
    spec = importlib.util.spec_from_file_location(f"translated_{name}", _TESTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    for key, value in vars(module).items():
        if key.startswith("test_") and inspect.isfunction(value):
            globals()[f"{key}__{name.removeprefix('test_')}"] = value
        elif isinstance(value, _Fixture):
            assert key not in globals(), f"two modules have a fixture {key}"
            globals()[key] = value


@pytest.fixture(autouse=True)
def _machine_code(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in list(sys.modules.values()):
        if getattr(module, "Machine", None) is bpf_interpreter.Machine and module.__name__ not in _THEIRS:
            monkeypatch.setattr(module, "Machine", NativeMachine)


for _name in _MODULES:
    _load(_name)
