"""The numbers of DWARF 5 (section 7) that Go's debug information uses, and Go's own (cmd/internal/dwarf/dwarf.go)."""

from __future__ import annotations

from enum import IntEnum


class Tag(IntEnum):
    ARRAY_TYPE = 0x01
    FORMAL_PARAMETER = 0x05
    LEXICAL_BLOCK = 0x0B
    MEMBER = 0x0D
    POINTER_TYPE = 0x0F
    COMPILE_UNIT = 0x11
    STRUCTURE_TYPE = 0x13
    SUBROUTINE_TYPE = 0x15
    TYPEDEF = 0x16
    INLINED_SUBROUTINE = 0x1D
    SUBRANGE_TYPE = 0x21
    BASE_TYPE = 0x24
    SUBPROGRAM = 0x2E
    VARIABLE = 0x34
    UNSPECIFIED_TYPE = 0x3B


class Attribute(IntEnum):
    LOCATION = 0x02
    NAME = 0x03
    BYTE_SIZE = 0x0B
    STMT_LIST = 0x10
    LOW_PC = 0x11
    HIGH_PC = 0x12
    LANGUAGE = 0x13
    COMP_DIR = 0x1B
    INLINE = 0x20
    PRODUCER = 0x25
    ABSTRACT_ORIGIN = 0x31
    COUNT = 0x37
    DATA_MEMBER_LOCATION = 0x38
    DECL_LINE = 0x3B
    ENCODING = 0x3E
    FRAME_BASE = 0x40
    TYPE = 0x49
    VARIABLE_PARAMETER = 0x4B  # Go: true for a result
    RANGES = 0x55
    TRAMPOLINE = 0x56
    ADDR_BASE = 0x73
    RNGLISTS_BASE = 0x74
    GO_KIND = 0x2900  # reflect.Kind, 0 for what the linker makes up
    GO_KEY = 0x2901
    GO_ELEM = 0x2902
    GO_EMBEDDED_FIELD = 0x2903
    GO_RUNTIME_TYPE = 0x2904  # the descriptor's offset from moduledata.types; 0: none
    GO_DICT_INDEX = 0x2906  # of a type parameter's shape: place in the dictionary
    GO_CLOSURE_OFFSET = 0x2907  # of a captured variable, in the closure's object; Go ≥ 1.23


class Form(IntEnum):
    ADDR = 0x01
    BLOCK2 = 0x03
    BLOCK4 = 0x04
    DATA2 = 0x05
    DATA4 = 0x06
    DATA8 = 0x07
    STRING = 0x08
    BLOCK = 0x09
    BLOCK1 = 0x0A
    DATA1 = 0x0B
    FLAG = 0x0C
    SDATA = 0x0D
    STRP = 0x0E
    UDATA = 0x0F
    REF_ADDR = 0x10
    REF1 = 0x11
    REF2 = 0x12
    REF4 = 0x13
    REF8 = 0x14
    REF_UDATA = 0x15
    SEC_OFFSET = 0x17
    EXPRLOC = 0x18
    FLAG_PRESENT = 0x19
    STRX = 0x1A
    ADDRX = 0x1B
    DATA16 = 0x1E
    LINE_STRP = 0x1F
    REF_SIG8 = 0x20
    IMPLICIT_CONST = 0x21
    LOCLISTX = 0x22
    RNGLISTX = 0x23
    STRX1 = 0x25
    STRX2 = 0x26
    STRX4 = 0x28
    ADDRX1 = 0x29
    ADDRX2 = 0x2A
    ADDRX4 = 0x2C


class Operation(IntEnum):
    """Operations of location expressions (DWARF 5 §2.5, §2.6) that Go's compiler writes, and their neighbours."""

    ADDR = 0x03
    DEREF = 0x06
    CONST1U = 0x08
    CONST1S = 0x09
    CONST2U = 0x0A
    CONST2S = 0x0B
    CONST4U = 0x0C
    CONST4S = 0x0D
    CONST8U = 0x0E
    CONST8S = 0x0F
    CONSTU = 0x10
    CONSTS = 0x11
    PLUS = 0x22
    PLUS_UCONST = 0x23
    LIT0 = 0x30
    REG0 = 0x50
    BREG0 = 0x70
    REGX = 0x90
    FBREG = 0x91
    PIECE = 0x93
    CALL_FRAME_CFA = 0x9C
    STACK_VALUE = 0x9F


class UnitType(IntEnum):
    COMPILE = 0x01
    TYPE = 0x02
    PARTIAL = 0x03
    SKELETON = 0x04
    SPLIT_COMPILE = 0x05
    SPLIT_TYPE = 0x06


class LocationEntry(IntEnum):
    """Kinds of entries of a DWARF 5 location list."""

    END_OF_LIST = 0
    BASE_ADDRESSX = 1
    STARTX_ENDX = 2
    STARTX_LENGTH = 3
    OFFSET_PAIR = 4
    DEFAULT_LOCATION = 5
    BASE_ADDRESS = 6
    START_END = 7
    START_LENGTH = 8


class RangeEntry(IntEnum):
    """Kinds of entries of a DWARF 5 range list."""

    END_OF_LIST = 0
    BASE_ADDRESSX = 1
    STARTX_ENDX = 2
    STARTX_LENGTH = 3
    OFFSET_PAIR = 4
    BASE_ADDRESS = 5
    START_END = 6
    START_LENGTH = 7


#: DW_LANG_Go, the DW_AT_language of units that the Go compiler wrote.
LANGUAGE_GO = 0x16
