"""Machine code of Go functions on amd64: where probes cost least, and what is known there. Pure: bytes in, data out.

Linux emulates the instruction under a uprobe if it is a relative call or jump, a push or a nop, and executes
everything else by a second trap that costs far more. This room finds the cheap instructions that stand for a call's
begin, its end and its results. See cost.py for the costs, FunctionCode for the questions it answers.
"""

from .callees import NO_CALLEES, Callees
from .cost import cost_of
from .flow import called_functions
from .frame import ARGUMENT_REGISTERS, CLOSURE_REGISTER
from .function import FunctionCode
from .inlined import InlinedCopy, InlinedSite
from .model import (
    CONDITIONS,
    CallSite,
    Constant,
    Cost,
    Edge,
    EntrySite,
    Exit,
    Global,
    Location,
    Register,
    Restart,
    ReturnSite,
    Site,
    Stack,
    StaticAddress,
    Word,
)

__all__ = [
    "ARGUMENT_REGISTERS",
    "CLOSURE_REGISTER",
    "CONDITIONS",
    "NO_CALLEES",
    "CallSite",
    "Callees",
    "Constant",
    "Cost",
    "Edge",
    "EntrySite",
    "Exit",
    "FunctionCode",
    "Global",
    "InlinedCopy",
    "InlinedSite",
    "Location",
    "Register",
    "Restart",
    "ReturnSite",
    "Site",
    "Stack",
    "StaticAddress",
    "Word",
    "called_functions",
    "cost_of",
]
