package gotaprt

import (
	"strconv"
	"strings"
)

// otherMethod stands for every method that is not known.
const otherMethod = "_OTHER"

// userMethods are the methods that the user wants to see by name instead of all others; nil if he says nothing.
var userMethods = methodsIn(variable("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS"))

// methodsIn reads a list with commas; nil where there is none.
func methodsIn(list string) (methods Texts) {
	if list == "" {
		return nil
	}
	methods = Texts{}
	for _, method := range strings.Split(list, ",") {
		if method = strings.TrimSpace(method); method != "" {
			methods = append(methods, method)
		}
	}
	return methods
}

// isKnown tells whether a method is reported by name: RFC 9110, PATCH (RFC 5789) and QUERY, unless known says otherwise.
func isKnown(method string, known Texts) bool {
	if userMethods != nil {
		known = userMethods
	}
	if known != nil {
		return known.has(method)
	}
	switch method {
	case "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE":
		return true
	}
	return false
}

// HTTPMethod is `http_method`: http.request.method.
func HTTPMethod(method Text, known Texts) Value {
	switch {
	case method.state == columnAbsent:
		return Value{}
	case method.text == "":
		return textOf("GET")
	case method.state == columnWhole && isKnown(method.text, known):
		return textOf(method.text)
	}
	return textOf(otherMethod)
}

// HTTPMethodOriginal is `http_method_original`: the method where HTTPMethod gives _OTHER.
func HTTPMethodOriginal(method Text, known Texts) Value {
	if !method.some() || method.state == columnWhole && isKnown(method.text, known) {
		return Value{}
	}
	return textOf(method.shown())
}

// HTTPStatus is `http_status`: a server that sets no status sends 200.
func HTTPStatus(status Int) Value {
	switch {
	case !status.present:
		return Value{}
	case status.number == 0:
		return intOf(200)
	}
	return intOf(status.number)
}

// HTTPVersion is `http_version`: network.protocol.version, absent for 0.0.
func HTTPVersion(major, minor Int) Value {
	if !major.present || !minor.present {
		return Value{}
	}
	switch [2]int64{major.number, minor.number} {
	case [2]int64{0, 0}:
		return Value{}
	case [2]int64{1, 0}:
		return textOf("1.0")
	case [2]int64{1, 1}:
		return textOf("1.1")
	}
	text := strconv.FormatInt(major.number, 10)
	if major.number < 2 || minor.number != 0 {
		text += "." + strconv.FormatInt(minor.number, 10)
	}
	return textOf(text)
}

// SchemeFromTLS is `scheme_from_tls`: url.scheme of a server's request.
func SchemeFromTLS(tls Bool) Value {
	switch {
	case !tls.present:
		return Value{}
	case tls.value:
		return textOf("https")
	}
	return textOf("http")
}

// RouteOfPattern is `route_of_pattern`: a ServeMux pattern without its method and host.
func RouteOfPattern(pattern Text) Value {
	slash := strings.IndexByte(pattern.text, '/')
	if slash < 0 {
		return Value{}
	}
	return textOf(Text{pattern.text[slash:], pattern.state}.shown())
}

// HTTPServerError is `http_server_error`: error.type of a server, abort, panic, or the status from 500 up.
func HTTPServerError(status Int, panicType, panicText Text) Value {
	switch {
	case panicType.text == "*errors.errorString" && panicText.text == "net/http: abort Handler":
		return textOf("abort")
	case panicType.text != "":
		return textOf("panic")
	}
	return statusFrom(500, status)
}

// HTTPClientError is `http_client_error`: error.type of a client, the error's if there is one, else the status from 400
// up.
func HTTPClientError(status Int, typeName, message Text, number Int, timeout, canceled Texts) Value {
	if typeName.text != "" {
		return GoError(typeName, message, number, timeout, canceled)
	}
	return statusFrom(400, status)
}

// statusFrom is the status as a text if it is at least so much.
func statusFrom(least int64, status Int) Value {
	if status.number < least {
		return Value{}
	}
	return textOf(strconv.FormatInt(status.number, 10))
}
