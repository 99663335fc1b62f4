package gotaprt

import "strings"

const redacted = "REDACTED"

// sensitiveKeys are those keys of queries whose values are credentials (gotap.probe.redact).
var sensitiveKeys = Texts{
	"X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "AWSAccessKeyId", "Signature", "sig",
	"X-Goog-Signature",
}

// URLPath is `url_path`: absent when empty.
func URLPath(path Text) Value { return FromText(path) }

// URLQuery is `url_query`: the values of sensitive keys are REDACTED.
func URLQuery(query Text, sensitive Texts) Value {
	if !query.some() {
		return Value{}
	}
	return textOf(shownQuery(query, sensitive))
}

// URLFull is `url_full`: the URL that a client asks for, of its unescaped path and its query. It ends where a part was cut.
func URLFull(scheme, host, path, query Text, sensitive Texts) Value {
	if !scheme.some() || !host.some() {
		return Value{}
	}
	full := scheme.valid() + "://" + host.shown()
	if host.state == columnCut || !path.some() && !query.some() {
		return textOf(full)
	}
	parts := make([]byte, 0, len(full)+len(path.text)+len(query.text)+len("?")+len(redacted)+len(ellipsis))
	parts = appendPath(append(parts, full...), path.valid())
	switch {
	case path.state == columnCut:
		parts = append(parts, ellipsis...)
	case query.some():
		parts = append(append(parts, '?'), shownQuery(query, sensitive)...)
	}
	return textOf(string(parts))
}

// appendPath escapes what Go's URL.EscapedPath escapes (net/url/url.go, shouldEscape in the mode encodePath).
func appendPath(to []byte, path string) []byte {
	const upper = "0123456789ABCDEF"
	for i := 0; i < len(path); i++ {
		one := path[i]
		if 'a' <= one|0x20 && one|0x20 <= 'z' || '0' <= one && one <= '9' || strings.IndexByte("-_.~$&+,/:;=@", one) >= 0 {
			to = append(to, one)
		} else {
			to = append(to, '%', upper[one>>4], upper[one&15])
		}
	}
	return to
}

func shownQuery(query Text, sensitive Texts) string {
	if sensitive == nil {
		sensitive = sensitiveKeys
	}
	shown := redactQuery(query.valid(), sensitive)
	if query.state == columnCut {
		shown += ellipsis
	}
	return shown
}

// redactQuery redacts the values of sensitive keys, however these are escaped. A query that has none stays as it is.
func redactQuery(query string, sensitive Texts) string {
	if len(sensitive) == 0 || strings.IndexByte(query, '=') < 0 {
		return query
	}
	var to []byte
	copied := 0
	for start := 0; start <= len(query); {
		end := strings.IndexByte(query[start:], '&')
		if end < 0 {
			end = len(query)
		} else {
			end += start
		}
		if value := secretAt(query[start:end], sensitive); value >= 0 {
			to = append(append(to, query[copied:start+value]...), redacted...)
			copied = end
		}
		start = end + 1
	}
	if to == nil {
		return query
	}
	return string(append(to, query[copied:]...))
}

// secretAt finds where in a pair of a query the value of a sensitive key begins; -1 if none does. Go refuses pairs with
// semicolons, others take those for separators: a sensitive key behind any of them redacts the rest of the pair.
func secretAt(pair string, sensitive Texts) int {
	for start := 0; ; {
		equals := strings.IndexByte(pair[start:], '=')
		if equals < 0 {
			return -1
		}
		equals += start
		key := pair[start:equals]
		key = key[strings.LastIndexByte(key, ';')+1:]
		for _, one := range sensitive {
			if unescapesTo(key, one) {
				return equals + 1
			}
		}
		semicolon := strings.IndexByte(pair[equals:], ';')
		if semicolon < 0 {
			return -1
		}
		start = equals + semicolon + 1
	}
}

// unescapesTo tells whether an escaped key is this one, as net/url.ParseQuery unescapes it; an escape that is none stands
// for itself.
func unescapesTo(key, plain string) bool {
	at := 0
	for i := 0; i < len(key); i++ {
		one := key[i]
		switch {
		case one == '+':
			one = ' '
		case one == '%' && i+2 < len(key) && isHexDigit(key[i+1]) && isHexDigit(key[i+2]):
			one = hexDigit(key[i+1])<<4 | hexDigit(key[i+2])
			i += 2
		}
		if at == len(plain) || plain[at] != one {
			return false
		}
		at++
	}
	return at == len(plain)
}

func isHexDigit(one byte) bool {
	return '0' <= one && one <= '9' || 'a' <= one|0x20 && one|0x20 <= 'f'
}

func hexDigit(one byte) byte {
	if one <= '9' {
		return one - '0'
	}
	return one | 0x20 - 'a' + 10
}
