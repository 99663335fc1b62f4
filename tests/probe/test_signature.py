"""Function signatures and type texts."""

import pytest

from gotap.probe.signature import Parameter, SignatureError, package_of, parse_signature, qualify


def test_receiver_parameters_and_results_get_full_names() -> None:
    one = parse_signature("net/http.(*Transport).roundTrip(t *Transport, req *Request) (_ *Response, err error)", {})
    assert one.symbol == "net/http.(*Transport).roundTrip"
    assert one.package == "net/http"
    assert one.parameters == (Parameter("t", "*net/http.Transport"), Parameter("req", "*net/http.Request"))
    assert one.results == (Parameter("_", "*net/http.Response"), Parameter("err", "error"))


@pytest.mark.parametrize(
    ("symbol", "package"),
    [
        ("main.f", "main"),
        ("net/http.(*conn).serve.func1", "net/http"),
        ("github.com/nats-io/nats%2ego.(*Conn).publish", "github.com/nats-io/nats%2ego"),
        ("gopkg.in/x.v1/sub.F", "gopkg.in/x.v1/sub"),
        ("golang.org/x/net/http2.(*serverConn).runHandler", "golang.org/x/net/http2"),
    ],
)
def test_the_package_ends_at_the_first_dot_after_the_last_slash(symbol: str, package: str) -> None:
    assert package_of(symbol) == package


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("string", "string"),
        ("any", "interface {}"),
        ("[]byte", "[]uint8"),
        ("*Request", "*net/http.Request"),
        ("url.URL", "net/url.URL"),
        ("*net/url.URL", "*net/url.URL"),
        ("map[string][]Header", "map[string][]net/http.Header"),
        ("[4]Header", "[4]net/http.Header"),
        ("...Header", "[]net/http.Header"),
        ("func(ResponseWriter)", "func(ResponseWriter)"),
    ],
)
def test_type_texts_are_resolved_where_they_stand(text: str, full: str) -> None:
    assert qualify(text, "net/http", {"url": "net/url"}) == full


def test_names_may_share_a_type_or_be_missing() -> None:
    shared = parse_signature("p.F(a, b int, s string)", {})
    assert [one.type for one in shared.parameters] == ["int", "int", "string"]
    unnamed = parse_signature("p.F(int, string) error", {})
    assert [one.type for one in unnamed.parameters] == ["int", "string"]
    assert unnamed.results == (Parameter("_", "error"),)


@pytest.mark.parametrize("text", ["net/http", "p.F(", "p.F(a, b int, c)"])
def test_a_signature_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SignatureError):
        parse_signature(text, {})
