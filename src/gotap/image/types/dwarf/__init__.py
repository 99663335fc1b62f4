"""DWARF 4 and 5 as the Go toolchain writes it, read lazily: types, functions' parameters, package variables."""

from gotap.image.types.dwarf.debuginfo import DebugInfo, DwarfError
from gotap.image.types.dwarf.functions import Function, Location, Parameter
from gotap.image.types.dwarf.types import DwarfTypes

__all__ = ["DebugInfo", "DwarfError", "DwarfTypes", "Function", "Location", "Parameter"]
