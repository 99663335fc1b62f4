"""Answers cut anywhere, against the standard library's HTTP client on the same bytes."""

from __future__ import annotations

import contextlib
import http.client
import io
import random
import socket
import tracemalloc
from typing import cast

import pytest

from gotap.sinks.http_answer import LONGEST, Answer, AnswerReader, NotHttp

ANSWERS = {
    "empty": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "body": b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
    "no reason": b"HTTP/1.1 503\r\nRetry-After: 3\r\ncontent-length:0\r\n\r\n",
    "blanks and folded lines": b"HTTP/1.1 200 OK\r\nX:  a \r\n b\r\nContent-Length: 2\r\n\r\nok",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n",
    "chunks with trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\nZ: 1\r\n\r\n",
    "until the connection ends": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall of this",
    "old": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
}


class _Socket:
    """As much of a socket as http.client reads from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, _: str) -> io.BytesIO:
        return io.BytesIO(self._content)


def oracle(content: bytes) -> tuple[int, str, bytes, bool]:
    """Status, reason, body, and whether the connection ends with the answer."""
    response = http.client.HTTPResponse(cast(socket.socket, _Socket(content)), method="POST")
    response.begin()
    while response.status == 103:  # which http.client takes for the answer
        return oracle(content[content.index(b"HTTP", content.index(b"103")) :])
    return response.status, response.reason, response.read(), response.will_close


def read(parts: list[bytes]) -> Answer:
    reader = AnswerReader()
    for index, part in enumerate(parts):
        if (answer := reader.feed(part)) is not None:
            assert index == len(parts) - 1, "the answer is complete before its end"
            return answer
    return reader.end()


@pytest.mark.parametrize("content", ANSWERS.values(), ids=ANSWERS)
def test_cut_anywhere(content: bytes) -> None:
    status, reason, body, closes = oracle(content)
    ways = [[content], [content[at : at + 1] for at in range(len(content))]]
    ways += [[content[:at], content[at:]] for at in range(1, len(content))]
    for parts in ways:
        answer = read(parts)
        assert (answer.status, answer.reason, answer.body, answer.reusable) == (status, reason, body, not closes)


def test_headers() -> None:
    answer = read([b"HTTP/1.1 200 OK\r\nX-One: a\r\nx-one: b\r\nTwo:\xe9\r\nno header\r\nContent-Length: 0\r\n\r\n"])
    assert answer.headers == {"x-one": "a, b", "two": "é", "content-length": "0"}


@pytest.mark.parametrize(
    "content",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x00\x00\x12\x04",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000,
    ],
    ids=lambda content: repr(content[:60]),
)
def test_what_is_no_http_is_known_at_once(content: bytes) -> None:
    with pytest.raises(NotHttp):
        AnswerReader().feed(content)


@pytest.mark.parametrize("content", [ANSWERS["body"], ANSWERS["chunks"], b"HTTP/1.1 200"], ids=repr)
def test_an_answer_that_ends_in_the_middle_is_none(content: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed(content[:-1]) is None
    with pytest.raises(NotHttp):
        reader.end()


@pytest.mark.parametrize("framing", [b"Content-Length: 99999999", b"Transfer-Encoding: chunked", b"X: y"], ids=repr)
def test_a_longer_answer_is_cut_and_its_connection_not_used_again(framing: bytes) -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n") is None
    part = b"x" * 65_536
    if b"chunked" in framing:
        part = b"10000\r\n" + part + b"\r\n"
    for _ in range(64):
        assert reader.feed(part) is None
    answer = reader.feed(part)
    assert answer is not None
    assert answer.body == b"x" * LONGEST
    assert not answer.reusable


def test_a_single_chunk_that_is_too_long_is_cut() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n") is None
    answers = [reader.feed(b"x" * 65_536) for _ in range(64)]
    assert [one is None for one in answers] == [True] * 63 + [False]
    assert answers[-1] is not None
    assert (len(answers[-1].body), answers[-1].reusable) == (LONGEST, False)


def test_chunks_are_not_kept_with_what_frames_them() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") is None
    tracemalloc.start()
    try:
        for _ in range(300):
            assert reader.feed(b"1;" + b"x" * 60_000 + b"\r\na\r\n") is None
        assert tracemalloc.get_traced_memory()[1] < 2 << 20  # of 18 MB
    finally:
        tracemalloc.stop()
    answer = reader.feed(b"0\r\n\r\n")
    assert answer is not None
    assert (answer.body, answer.reusable) == (b"a" * 300, True)


def test_trailers_without_end() -> None:
    reader = AnswerReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n") is None
    for _ in range(10_000):
        assert reader.feed(b"X: y\r\n") is None
    with pytest.raises(NotHttp, match="trailers"):
        reader.feed(b"X: y\r\n" * 1_000)


@pytest.mark.parametrize("name", ["empty", "body", "no reason", "chunks", "chunks with trailers", "no content"])
def test_connection_with_more_than_the_answer_is_not_used_again(name: str) -> None:
    answer = AnswerReader().feed(ANSWERS[name] + b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert answer is not None
    assert not answer.reusable


def test_damaged_answers_raise_nothing_else() -> None:
    choose = random.Random(5)
    for _ in range(3000):
        content = bytearray(choose.choice(list(ANSWERS.values())))
        for _ in range(choose.randrange(1, 4)):
            content[choose.randrange(len(content))] = choose.choice(b"\r\n\x00 :;0z\xff")
        reader = AnswerReader()
        with contextlib.suppress(NotHttp):
            reader.feed(bytes(content[: choose.randrange(len(content) + 1)])) or reader.end()
