"""Words that only scripts have: arithmetic, variables, the moment, what the kernel hands over, texts on both sides."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from gotap.bpf.asm import Assembler
from gotap.bpf.codegen import frame
from gotap.bpf.codegen.memory import Memory
from gotap.bpf.codegen.planner import Chain, Lookup, Plan, Step, stable
from gotap.bpf.codegen.script import script_frame
from gotap.bpf.codegen.script.buckets import linear, log_linear
from gotap.bpf.codegen.script.setting import ScriptSetting
from gotap.bpf.codegen.target import Place, Target
from gotap.bpf.codegen.words import WordEmitter, compare_bytes, jump_if, pack_key
from gotap.bpf.isa import PT_REGS, R0, R1, R2, R3, R4, R5, R6, R7, Helper, Reg
from gotap.image.code import Location
from gotap.probe import ir
from gotap.probe.script.routine import OWN_TEXT_LIMIT

SAME_TEXTS = "sametexts"
_AmbientName = Literal["pid", "tid", "cpu", "nsecs", "site", "caller", "ip", "latency", "ended", "sp"]

#: Emits a text's length (u64) and bytes at an offset from R7, cut at the limit; jumps to the label when it fails.
TextSink = Callable[[ir.AnyText, int, int, str], None]
#: Emits R0 = what a script's map holds; jumps to the label when that fails.
StoredWord = Callable[[ir.Stored, str], None]


class ScriptWords(WordEmitter):
    """Emits the words of one program of a script. R7 is the frame.

    `text`, `stored`, `prefetch` and `moment` are set by who knows. `site`: its number, where the kernel has no cookies.
    """

    text: TextSink
    stored: StoredWord
    prefetch: Callable[[Step], None]
    #: What the frame is about: what happens at the site, a call that returns there, or one that was unwound elsewhere.
    moment: Literal["now", "return", "unwound"] = "now"

    def __init__(
        self,
        asm: Assembler,
        place: Place,
        target: Target,
        setting: ScriptSetting,
        plan: Plan,
        memory: Memory,
        site: int | None = None,
    ) -> None:
        inputs: Mapping[ir.Input, Location] = place.inputs
        super().__init__(asm, inputs, target.bias, plan, memory)
        self.place = place
        self.target = target
        self.setting = setting
        self.site = site
        self.own_offsets = script_frame.own_offsets(setting.own, setting.own_texts)[0]
        self.late = _late(plan)
        self._wants_same = False

    def word(self, word: ir.Word, fail: str) -> None:
        asm = self.asm
        match word:
            case ir.Arithmetic():
                self.arithmetic(word, fail)
            case ir.Local(slot):
                asm.load(R0, R7, script_frame.LOCALS + 8 * slot)
            case ir.Own(slot):
                none = asm.new_label("unset")
                self.own()
                asm.jeq(R0, 0, none)
                asm.load(R0, R0, self.own_offsets[slot])
                asm.label(none)
            case ir.Stored():
                self.stored(word, fail)
            case ir.Linear(operand):
                self.word(operand, fail)
                linear(asm, word)
            case ir.LogLinear(operand):
                self.word(operand, fail)
                log_linear(asm, word)
            case ir.Ambient(what):
                self.ambient(what, fail)
            case ir.Field(offset, size, signed):
                asm.load(R0, R6, offset, size)
                self.extend(size, signed)
            case ir.TraceWord(what, half):
                self.trace(what, half, fail)
            case ir.MapElement() | ir.Unwrapped() if word in self.late:
                self.prefetch(self.late[word])
                super().word(word, fail)
            case _:
                super().word(word, fail)

    def require(self, word: ir.Word, false: str, fail: str) -> None:
        match word:
            case ir.TextEquals(text, value) if len(value) > frame.KEY_SIZE:
                self.texts_equal(ir.TextsEqual(text, ir.ConstText(value)), false, fail)
            case ir.TextsEqual():
                self.texts_equal(word, false, fail)
            case _:
                super().require(word, false, fail)

    # Arithmetic

    def arithmetic(self, word: ir.Arithmetic, fail: str) -> None:
        """R0 = left `operator` right."""
        asm = self.asm
        with self.temporary() as slot:
            self.word(word.left, fail)
            self.keep(slot, R0)
            self.word(word.right, fail)
            asm.mov(R1, R0)
            self.recall(R0, slot)
        match word.operator:
            case "*":
                asm.mul(R0, R1)
            case "&":
                asm.and_(R0, R1)
            case "|":
                asm.or_(R0, R1)
            case "^":
                asm.xor(R0, R1)
            case "/" | "%":
                asm.jeq(R1, 0, fail)
                self.divide(word.operator, word.signed)
            case "<<" | ">>":
                self.shift(word.operator, word.signed)

    def divide(self, operator: Literal["/", "%"], signed: bool) -> None:
        """R0 by R1, towards zero as Go does; the machine has signed division only from Linux 6.6 on."""
        asm = self.asm
        if signed:
            left, right = asm.new_label("left"), asm.new_label("right")
            asm.mov(R2, R0)
            if operator == "/":
                asm.xor(R2, R1)
            asm.jsge(R0, 0, left)
            asm.neg(R0)
            asm.label(left)
            asm.jsge(R1, 0, right)
            asm.neg(R1)
            asm.label(right)
        (asm.div if operator == "/" else asm.mod)(R0, R1)
        if signed:
            positive = asm.new_label("positive")
            asm.jsge(R2, 0, positive)
            asm.neg(R0)
            asm.label(positive)

    def shift(self, operator: Literal["<<", ">>"], signed: bool) -> None:
        """R0 by R1; as far as the word is wide or farther nothing is left but the sign."""
        asm = self.asm
        near, done = asm.new_label("near"), asm.new_label("shifted")
        asm.jlt(R1, 64, near)
        if operator == ">>" and signed:
            asm.arsh(R0, 63)
        else:
            asm.mov(R0, 0)
        asm.jump(done)
        asm.label(near)
        if operator == "<<":
            asm.lsh(R0, R1)
        else:
            (asm.arsh if signed else asm.rsh)(R0, R1)
        asm.label(done)

    # The moment

    def ambient(self, what: _AmbientName, fail: str) -> None:
        asm = self.asm
        match what:
            case "pid" | "tid":
                self.process(what)
            case "cpu":
                asm.call(Helper.GET_SMP_PROCESSOR_ID)
            case "nsecs":
                asm.call(Helper.KTIME_GET_NS)
            case "site" if self.moment != "now":
                asm.load(R0, R7, script_frame.field("site"), 4)
            case "site":
                self.site_number()
            case "ip" | "sp" | "caller" if self.moment == "unwound":
                self.give_up(fail)
            case "ip":
                asm.load(R0, R6, PT_REGS["rip"])
            case "sp":
                asm.load(R0, R6, PT_REGS["rsp"])
                asm.add(R0, self.place.sp_offset or 0)
            case "caller":
                if self.place.sp_offset is None:
                    self.give_up(fail)
                    return
                asm.load(R3, R6, PT_REGS["rsp"])
                asm.add(R3, self.place.sp_offset)
                self.read(8, fail)
            case "latency":
                asm.load(R0, R7, script_frame.field("end"))
                jump_if(asm, "==", R0, 0, fail)
                asm.load(R1, R7, script_frame.field("begin"))
                asm.sub(R0, R1)
            case "ended":
                asm.load(R0, R7, script_frame.field("ended"), 1)

    def process(self, what: Literal["pid", "tid"]) -> None:
        """R0 = the id as gotap's own pid namespace has it."""
        asm = self.asm
        if what == "pid" and self.target.pid:
            asm.constant(R0, self.target.pid)
            return
        if self.setting.pid_namespace is None:
            asm.call(Helper.GET_CURRENT_PID_TGID)
            if what == "pid":
                asm.rsh(R0, 32)
            else:
                asm.mov32(R0, R0)
            return
        device, inode = self.setting.pid_namespace
        outside = asm.new_label("outside")
        asm.constant(R1, device)
        asm.constant(R2, inode)
        asm.mov(R3, R7)
        asm.add(R3, script_frame.PAIR)
        asm.mov(R4, 8)  # struct bpf_pidns_info: u32 pid (of the thread), u32 tgid
        asm.call(Helper.GET_NS_CURRENT_PID_TGID)
        asm.mov(R1, R0)
        asm.mov(R0, 0)
        asm.jne(R1, 0, outside)
        asm.load(R0, R7, script_frame.PAIR + (4 if what == "pid" else 0), 4)
        asm.label(outside)

    def site_number(self) -> None:
        """R0 = the number of the site."""
        asm = self.asm
        if self.site is not None:
            asm.constant(R0, self.site)
            return
        asm.mov(R1, R6)
        asm.call(Helper.GET_ATTACH_COOKIE)

    # Variables of a goroutine

    def own(self) -> None:
        """R0 = the value of OWN of the running goroutine, or 0."""
        asm = self.asm
        asm.ld_map(R1, script_frame.OWN)
        asm.mov(R2, R7)
        asm.add(R2, script_frame.GOROUTINE_KEY)
        asm.call(Helper.MAP_LOOKUP)

    def own_text(self, slot: int, fail: str) -> None:
        """R0 = address of u64 length and the bytes; a variable that is not set is as in the template: empty."""
        asm = self.asm
        found = asm.new_label("own")
        self.own()
        asm.jne(R0, 0, found)
        asm.ld_map_value(R0, script_frame.OWN_TEMPLATE)
        asm.label(found)
        asm.add(R0, self.own_offsets[slot])

    # Texts

    def texts_equal(self, word: ir.TextsEqual, false: str, fail: str) -> None:
        asm = self.asm
        left, right = word.left, word.right
        if isinstance(left, ir.ConstText):
            left, right = right, left
        if isinstance(left, ir.Text) and isinstance(right, ir.ConstText) and len(right.value) <= frame.KEY_SIZE:
            self.text_equals(left, right.value, false, fail)
            return
        if isinstance(right, ir.ConstText):
            self.same_as_constant(left, right.value, false, fail)
            return
        self.whole_text(left, script_frame.TEXT_A, fail)
        self.whole_text(right, script_frame.TEXT_B, fail)
        asm.mov(R2, R0)
        asm.load(R0, R7, script_frame.TEXT_A)
        jump_if(asm, "!=", R0, R2, false)
        self._wants_same = True
        asm.mov(R1, R7)
        asm.call_subprogram(SAME_TEXTS)
        jump_if(asm, "==", R0, 0, false)

    def whole_text(self, text: ir.AnyText, place: int, fail: str) -> None:
        """The text at `place`, R0 = its length; fails when it is longer than what is kept of it."""
        limit = self.text_limit(text)
        self.text(text, place, limit, fail)
        self.asm.load(R0, R7, place)
        jump_if(self.asm, ">", R0, limit, fail)

    def text_limit(self, text: ir.AnyText) -> int:
        """Bytes of it that can be had at most, where it is looked at."""
        match text:
            case ir.OwnText():
                return OWN_TEXT_LIMIT
            case ir.StoredText(map):
                return next(spec.value.size for spec in self.setting.maps if spec.number == map) - 8
            case _:
                return script_frame.TEXT_LIMIT

    def same_as_constant(self, text: ir.AnyText, value: bytes, false: str, fail: str) -> None:
        asm = self.asm
        if len(value) > script_frame.TEXT_LIMIT:
            self.give_up(fail)
            return
        self.whole_text(text, script_frame.TEXT_A, fail)
        jump_if(asm, "!=", R0, len(value), false)
        compare_bytes(asm, R7, script_frame.TEXT_A + 8, value, false)

    def subprograms(self) -> None:
        """Places sametexts: (R1 frame, R2 length) → R0 1 when TEXT_A and TEXT_B, padded with zeros, are the same."""
        if not self._wants_same:
            return
        asm = self.asm
        loop, same, differ = asm.new_label("compare"), asm.new_label("same"), asm.new_label("differ")
        asm.label(SAME_TEXTS)
        asm.mov(R3, 0)
        asm.label(loop)
        asm.jge(R3, R2, same)
        asm.mov(R4, R1)
        asm.add(R4, R3)
        asm.load(R0, R4, script_frame.TEXT_A + 8)
        asm.load(R5, R4, script_frame.TEXT_B + 8)
        asm.jne(R0, R5, differ)
        asm.add(R3, 8)
        asm.jlt(R3, script_frame.TEXT_LIMIT, loop)
        asm.label(same)
        asm.mov(R0, 1)
        asm.exit_()
        asm.label(differ)
        asm.mov(R0, 0)
        asm.exit_()

    # The server request that is being worked for

    def trace(self, what: Literal["traceid", "spanid"], half: int, fail: str) -> None:
        """Looked up where the catalogue's programs leave it, as gotap.bpf.codegen.tracing does."""
        asm = self.asm
        if not self.setting.traces:
            self.give_up(fail)
            return
        found = asm.new_label("operation")
        span = frame.field("span_id")
        self.scope(script_frame.GOROUTINE_KEY + 8, R7)
        asm.jne(R0, 0, found)
        self.trace_key(frame.LINKS, frame.SCOPE_GOROUTINE, script_frame.GOROUTINE_KEY + 8, R7)
        asm.call(Helper.MAP_LOOKUP)
        asm.jeq(R0, 0, fail)
        with self.temporary() as slot:
            asm.load(R1, R0, 8)
            self.keep(slot, R1)
            self.scope(0, R0)
            asm.jeq(R0, 0, fail)
            self.recall(R1, slot)
            asm.load(R2, R0, span)
            asm.jne(R1, R2, fail)
        asm.label(found)
        asm.load(R1, R0, span)
        asm.jeq(R1, 0, fail)  # a row that has just been made
        asm.load(R0, R0, span if what == "spanid" else frame.field("trace_id") + 8 * half)

    def scope(self, offset: int, base: Reg) -> None:
        """R0 = the scope that is open on the goroutine whose goid stands at `base + offset`, or 0."""
        scoping = self.setting.scoping
        if scoping is None:
            self.trace_key(frame.SCOPES, frame.SCOPE_GOROUTINE, offset, base)
        else:
            self.trace_key(frame.ROWS, scoping, offset, base)
        self.asm.call(Helper.MAP_LOOKUP)

    def trace_key(self, map: str, kind: int, offset: int, base: Reg) -> None:
        """R1 = the map, R2 = the key made of process, kind and the word at `base + offset`."""
        asm, key = self.asm, script_frame.TEXT_B
        asm.load(R1, base, offset)
        asm.store(R7, key + 8, R1)
        asm.store(R7, key + 16, 0)
        asm.constant(R1, pack_key(self.target.number, kind))
        asm.store(R7, key, R1)
        asm.ld_map(R1, map)
        asm.mov(R2, R7)
        asm.add(R2, key)



def _late(plan: Plan) -> dict[ir.Word, Step]:
    """What is looked up anew wherever it is wanted."""
    late: dict[ir.Word, Step] = {}
    for step in plan.steps:
        match step:
            case Lookup(map, layout, places) if not stable(map):
                late |= {ir.MapElement(map, layout, key): step for key, _, _ in places}
            case Chain(unwrapped) if not stable(unwrapped):
                type, data, wrappers = unwrapped.type, unwrapped.data, unwrapped.wrappers
                late |= {ir.Unwrapped(type, data, wrappers, part): step for part in (0, 1)}
            case _:
                pass
    return late
