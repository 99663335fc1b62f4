"""What the go command reads of a Go file for a listing."""

from __future__ import annotations

import pytest

from gotap.weave.header import header


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"package a\n\nfunc f() {}\n", b"package a"),
        (b"//go:build linux\n\npackage a // x\nvar import1 = 1\n", b"//go:build linux\n\npackage a"),
        (b'package a\nimport "b"\nconst c = `import "d"`\n', b'package a\nimport "b"'),
        (b'package a; import . "b"; import _ `c`; func init() {}', b'package a; import . "b"; import _ `c`'),
        (b'package a\nimport (\n\tx "b" // )\n\t/* ) */ "c)"\n)\nvar d = (1)\n',
         b'package a\nimport (\n\tx "b" // )\n\t/* ) */ "c)"\n)'),
        (b'package a\nimport ()\nimport "b"\ntype t int', b'package a\nimport ()\nimport "b"'),
        (b'/* import "x"\nfunc */ package a\n// #cgo LDFLAGS: -lm\nimport "C"\nfunc f()',
         b'/* import "x"\nfunc */ package a\n// #cgo LDFLAGS: -lm\nimport "C"'),
        (b"\xef\xbb\xbfpackage \xc3\xa4\nvar b int", b"\xef\xbb\xbfpackage \xc3\xa4"),
        (b'package a\nimport (\n"b"', b'package a\nimport (\n"b"'),
        (b'package a\nimport "b\n', b'package a\nimport "b\n'),
        (b"func f()", b"func f()"),
        (b"", b""),
        (b"package", b"package"),
        (b"/* never closed", b"/* never closed"),
    ],
)  # fmt: skip
def test_it_ends_with_the_imports(source: bytes, expected: bytes) -> None:
    assert header(source) == expected
