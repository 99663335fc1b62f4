"""DWARF 4 and 5 as the Go toolchain writes it, read lazily: types, functions' parameters, package variables."""

from gotap.image.dwarf.debuginfo import DebugInfo, DwarfError
from gotap.image.dwarf.functions import Function, Location, Parameter
from gotap.image.dwarf.types import DwarfTypes

__all__ = ["DebugInfo", "DwarfError", "DwarfTypes", "Function", "Location", "Parameter"]
