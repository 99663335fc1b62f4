package main

import (
	"errors"
	"go/scanner"
	"go/token"
	"strconv"
	"strings"
)

// oneLine writes Go text on one line: comments go, newlines that end statements become semicolons, and raw strings
// with newlines become interpreted ones.
func oneLine(text string) (string, error) {
	var failed error
	set := token.NewFileSet()
	file := set.AddFile("", set.Base(), len(text))
	var words scanner.Scanner
	words.Init(file, []byte(text), func(_ token.Position, message string) {
		if failed == nil {
			failed = errors.New(message)
		}
	}, 0)
	var out strings.Builder
	end, pending := 0, false // where the last token ended; whether a statement ended there by a newline
	for {
		pos, tok, literal := words.Scan()
		if tok == token.EOF {
			break
		}
		if tok == token.SEMICOLON && literal == "\n" {
			pending = true
			continue
		}
		offset := file.Offset(pos)
		if pending {
			out.WriteByte(';')
		}
		if out.Len() > 0 && (pending || offset > end) {
			out.WriteByte(' ')
		}
		pending = false
		word := wordText(tok, literal)
		out.WriteString(word)
		end = offset + len(word)
		if tok == token.STRING && literal[0] == '`' {
			end = offset + rawLength(text[offset:])
		}
	}
	return out.String(), failed
}

func wordText(tok token.Token, literal string) string {
	if tok == token.STRING && strings.Contains(literal, "\n") {
		if value, err := strconv.Unquote(literal); err == nil {
			return strconv.Quote(value)
		}
	}
	if tok.IsLiteral() || tok.IsKeyword() || tok == token.ILLEGAL || tok == token.COMMENT {
		return literal
	}
	return tok.String()
}

// rawLength is the length of a raw string in the text; the scanner's literal lacks its carriage returns.
func rawLength(text string) int {
	if closing := strings.IndexByte(text[1:], '`'); closing >= 0 {
		return closing + 2
	}
	return len(text)
}
