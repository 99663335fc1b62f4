"""`format` files as Linux 6.18 writes them."""

from __future__ import annotations

import pytest

from gotap.probe.script.tracepoint import FieldInfo, parse_format

_COMMON = """name: {0}
ID: 372
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:unsigned char common_flags;\toffset:2;\tsize:1;\tsigned:0;
\tfield:unsigned char common_preempt_count;\toffset:3;\tsize:1;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""
SCHED_SWITCH = _COMMON.format("sched_switch") + """\
\tfield:char prev_comm[16];\toffset:8;\tsize:16;\tsigned:0;
\tfield:pid_t prev_pid;\toffset:24;\tsize:4;\tsigned:1;
\tfield:long prev_state;\toffset:32;\tsize:8;\tsigned:1;

print fmt: "prev_comm=%s", REC->prev_comm
"""
SYS_ENTER_OPENAT = _COMMON.format("sys_enter_openat") + """\
\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:int dfd;\toffset:16;\tsize:8;\tsigned:0;
\tfield:const char * filename;\toffset:24;\tsize:8;\tsigned:0;
\tfield:umode_t mode;\toffset:40;\tsize:8;\tsigned:0;
"""


def test_fields_in_their_order_without_the_common_ones() -> None:
    assert list(parse_format(SCHED_SWITCH).values()) == [
        FieldInfo("prev_comm", "char[16]", 8, 16, False, "text"),
        FieldInfo("prev_pid", "pid_t", 24, 4, True, "integer"),
        FieldInfo("prev_state", "long", 32, 8, True, "integer"),
    ]


def test_arguments_of_system_calls_have_the_width_of_their_type() -> None:
    """dfd takes a whole register, of which the upper half says nothing: AT_FDCWD is -100, not 4294967196."""
    assert list(parse_format(SYS_ENTER_OPENAT).values()) == [
        FieldInfo("__syscall_nr", "int", 8, 4, True, "integer"),
        FieldInfo("dfd", "int", 16, 4, True, "integer"),
        FieldInfo("filename", "const char *", 24, 8, False, "pointer"),
        FieldInfo("mode", "umode_t", 40, 2, False, "integer"),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("__data_loc char[] name;\toffset:8;\tsize:4;\tsigned:0;",
         FieldInfo("name", "char", 8, 4, False, "located text")),
        ("__data_loc u64[] phys_addrs;\toffset:12;\tsize:4;\tsigned:0;",
         FieldInfo("phys_addrs", "u64", 12, 4, False, "located bytes")),
        ("__u8 saddr[28];\toffset:16;\tsize:28;\tsigned:0;", FieldInfo("saddr", "__u8[28]", 16, 28, False, "bytes")),
        ("struct page * page;\toffset:8;\tsize:8;\tsigned:0;",
         FieldInfo("page", "struct page *", 8, 8, False, "pointer")),
        ("bool live;\toffset:9;\tsize:1;\tsigned:0;", FieldInfo("live", "bool", 9, 1, False, "integer")),
    ],
)  # fmt: skip
def test_other_forms(line: str, expected: FieldInfo) -> None:
    assert list(parse_format("\tfield:" + line).values()) == [expected]


@pytest.mark.parametrize("text", ["", "nonsense", "\tfield:;\toffset:1;\tsize:1;\tsigned:0;", "\tfield:int x;"])
def test_what_is_no_field_is_left_out(text: str) -> None:
    assert parse_format(text) == {}
