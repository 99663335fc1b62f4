"""The conditions, each a small entry in the module of its subject; `ALL` has them in the order in which they are told.

What rules something out stands before what everybody meets: a person reads the first ones.
"""

from __future__ import annotations

from gotap.verdict.conditions.compiler import CONDITIONS as COMPILER
from gotap.verdict.conditions.contents import CONDITIONS as CONTENTS
from gotap.verdict.conditions.coverage import CONDITIONS as COVERAGE
from gotap.verdict.conditions.host import CONDITIONS as HOST
from gotap.verdict.conditions.linking import CONDITIONS as LINKING
from gotap.verdict.conditions.platform import CONDITIONS as PLATFORM
from gotap.verdict.conditions.process import CONDITIONS as PROCESS
from gotap.verdict.model import Condition

ALL: tuple[Condition, ...] = (*PLATFORM, *COMPILER, *CONTENTS, *COVERAGE, *HOST, *PROCESS, *LINKING)
