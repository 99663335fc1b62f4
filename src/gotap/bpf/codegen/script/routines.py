"""A script's routine at one kind of site → one BPF program."""

from __future__ import annotations

from collections.abc import Iterable

from gotap.bpf.asm import R0, R10, Code
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.script.calls import EnterProgram, LeaveProgram
from gotap.bpf.codegen.script.routine_program import About, RoutineProgram
from gotap.bpf.codegen.script.script_frame import Counter
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.codegen.script.unwinding import ForgetProgram, UnwinderProgram, UnwindProgram
from gotap.bpf.codegen.target import Place, Target
from gotap.probe import ir
from gotap.probe.script.routine import Enter, Forget, Leave, Routine, Unwind, Watch

_ANYWHERE = Place({}, None, 0)


def generate_routine(
    routine: Routine,
    place: Place,
    target: Target,
    setting: ScriptSetting,
    probe: int,
    site: int | None = None,
    *,
    registers: bool = True,
    program: int = 0,
) -> Code:
    """The program of a routine at the sites that `place` describes.

    `probe`: the number of the user's probe, by which hits and losses are counted. `site`: the only site's number, where
    the kernel has no attach cookies or the program no site. `registers`: the context is that of a uprobe or a sample.
    `program`: a number that no other program of Enter, Leave or Unwind has; UNWINDERS holds the program at 1 + it.
    """
    about = About(place, target, setting, probe, site, registers, program)
    match routine:
        case Watch():
            return WatchProgram(routine, about).generate(routine)
        case Enter():
            return EnterProgram(routine, about).generate(routine)
        case Leave():
            return LeaveProgram(routine, about).generate(routine)
        case Unwind():
            return UnwindProgram(routine, about).generate(routine)
        case Forget():
            return ForgetProgram(routine, about).generate(routine)


def generate_unwinder(routines: Iterable[Routine], target: Target, setting: ScriptSetting) -> Code | None:
    """The program that UNWINDERS holds at 0: gives up calls of which another program finds that they are over.

    None when the script follows no calls. Load it like the programs at the target's sites; it is attached nowhere.
    """
    if not any(isinstance(one, Unwind) and one.calls for one in routines):
        return None
    about = About(_ANYWHERE, target, setting, 0, 0, True, 0)
    routine = Unwind(ir.Const(0), None, "panic", ())
    return UnwinderProgram(routine, about).generate(routine)


class WatchProgram(RoutineProgram):
    """Fires once at each of its sites."""

    def generate(self, routine: Watch) -> Code:
        self.start()
        if self.setting.thinning:
            self.thin()
        self.counters()
        self.count(Counter.HITS)
        self.anyone()
        if routine.owner is not None:
            self.early.word(routine.owner, "exit")
            self.asm.store(R10, frame.ROW_KEY + 8, R0)
        self.claim()
        self.keys()
        self.header(routine.layout)
        if self.setting.thinning:
            self.weigh()
        self.clear_locals()
        self.condition(routine.when, self.steps, "release")
        self.statements.body(routine.body)
        return self.complete()
