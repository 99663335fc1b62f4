"""What a server answers over HTTP/1, read from bytes as they come (RFC 9112): no socket, no clock.

The standard library's client reads an answer through its e-mail parser, at more CPU than sending a batch of spans.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from msgspec import Struct

#: A longer answer is not read (OTLP exporter specification, max response size).
LONGEST = 4 << 20
#: A longer head, or line of a chunked body, is none.
_LONGEST_HEAD = 64 << 10

_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_EMPTY_LINE = re.compile(rb"\n\r?\n")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: ([^\r\n]*))?\r?\n?")
_HEX = re.compile(rb"[0-9A-Fa-f]{1,16}")
_FOLD = re.compile(r"\r?\n[ \t]+")


class NotHttp(Exception):
    """These bytes are no HTTP/1 answer, or one that ends in the middle."""


class Answer(Struct, frozen=True):
    status: int
    reason: str
    headers: Mapping[str, str]  # by lower-case name
    body: bytes
    reusable: bool  # the connection may carry another request


class AnswerReader:
    """Reads one answer; interim ones (100 Continue) are passed over."""

    def __init__(self) -> None:
        self.began = False
        self._buffer = bytearray()
        self._head: tuple[int, str, dict[str, str], bool] | None = None  # status, reason, headers, kept alive
        self._content = bytearray()  # of a chunked body, as far as it has come
        self._at = 0  # in the buffer: where the next chunk begins

    def feed(self, data: bytes) -> Answer | None:
        """The answer once it is complete. Raises NotHttp as soon as it cannot become one."""
        self.began = True
        self._buffer += data
        while self._head is None:
            if not self._read_head():
                return None
        return self._read_body()

    def end(self) -> Answer:
        """The answer that ends with the connection. Raises NotHttp if that is none."""
        if self._head is None or "content-length" in self._head[2] or self._is_chunked():
            raise NotHttp("the answer ends in the middle")
        return self._answer(bytes(self._buffer), reusable=False)

    def _read_head(self) -> bool:
        buffer = self._buffer
        if not b"HTTP/1.".startswith(buffer[:7]):
            raise NotHttp("no HTTP")
        found = _END_OF_HEAD.search(buffer)
        if found is None:
            if len(buffer) > _LONGEST_HEAD:
                raise NotHttp("an endless head")
            return False
        head = bytes(buffer[: found.end()])
        del buffer[: found.end()]
        status = _STATUS.match(head)
        if status is None:
            raise NotHttp("no status")
        headers = _headers(head[status.end() :])
        code = int(status[2])
        if code >= 200 or code == 101:
            kept = status[1] == b"1" and "close" not in headers.get("connection", "").lower()
            self._head = code, (status[3] or b"").decode("latin-1").strip(), headers, kept
        return True

    def _is_chunked(self) -> bool:
        assert self._head is not None
        return "chunked" in self._head[2].get("transfer-encoding", "").lower()

    def _read_body(self) -> Answer | None:
        assert self._head is not None
        status, _, headers, kept = self._head
        if status in (204, 304):
            return self._answer(b"", kept and self._ends_at(0))
        if self._is_chunked():
            if self._read_chunks():
                return self._answer(bytes(self._content), kept and self._ends_at(self._at))
            if len(self._buffer) - self._at > LONGEST:  # one chunk is as long as that
                self._content += self._buffer[self._at :]
            return self._cut(self._content)
        length = headers.get("content-length")
        if length is None:
            return self._cut(self._buffer)
        if not (length.isascii() and length.isdigit()):
            raise NotHttp("no length")
        if len(self._buffer) >= int(length):
            return self._answer(bytes(self._buffer[: int(length)]), kept and self._ends_at(int(length)))
        return self._cut(self._buffer)

    def _ends_at(self, end: int) -> bool:
        """Whether nothing stands behind the answer: a connection with what nobody asked for carries no more."""
        return len(self._buffer) == end

    def _cut(self, content: bytearray) -> Answer | None:
        """What has come of too long a body, whose rest would be taken for the next answer."""
        return self._answer(bytes(content), reusable=False) if len(content) > LONGEST else None

    def _answer(self, body: bytes, reusable: bool) -> Answer:
        assert self._head is not None
        status, reason, headers, _ = self._head
        return Answer(status, reason, headers, body[:LONGEST], reusable and len(body) <= LONGEST)

    def _read_chunks(self) -> bool:
        """Takes the chunks that are complete; whether the last has come, and the end of what stands behind it."""
        del self._buffer[: self._at]
        self._at = 0
        while (line := self._line(self._at)) is not None:
            content = self._at + len(line)
            digits = line.partition(b";")[0].strip()
            if not _HEX.fullmatch(digits):
                raise NotHttp("no chunk")
            size = int(digits, 16)
            if size == 0:
                return self._trailers_end(content)
            if len(self._buffer) < content + size + 2:
                return False
            self._content += self._buffer[content : content + size]
            self._at = content + size
            self._at += len(self._line(self._at) or b"")
            if len(self._content) > LONGEST:
                return False
        return False

    def _trailers_end(self, at: int) -> bool:
        found = _EMPTY_LINE.search(self._buffer, at - 1)  # from the end of the line of the last chunk on
        if found is None:
            if len(self._buffer) - at > _LONGEST_HEAD:
                raise NotHttp("endless trailers")
            return False
        self._at = found.end()
        return True

    def _line(self, at: int) -> bytes | None:
        """The line that begins there, with its end; None: it has not come yet."""
        end = self._buffer.find(b"\n", at)
        if end < 0 and len(self._buffer) - at > _LONGEST_HEAD:
            raise NotHttp("an endless line")
        return None if end < 0 else bytes(self._buffer[at : end + 1])


def _headers(content: bytes) -> dict[str, str]:
    """By lower-case name; of several of one name the values are joined (RFC 9110 §5.3)."""
    headers: dict[str, str] = {}
    for line in _FOLD.sub(" ", content.decode("latin-1")).splitlines():
        name, colon, value = line.partition(":")
        key = name.strip().lower()
        if not colon:
            continue
        headers[key] = f"{headers[key]}, {value.strip()}" if key in headers else value.strip()
    return headers
