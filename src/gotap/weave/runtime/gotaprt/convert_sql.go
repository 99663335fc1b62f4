package gotaprt

import (
	"strconv"
	"strings"
)

// DBSystem is `db_system`: db.system.name from the type of a driver or of its connector, by the longest entry
// PACKAGE=SYSTEM that fits its package.
func DBSystem(driver Text, systems Texts) Value {
	return textOf(systemMemo.of(Text{}, driver, systems, nil, func(_, driver Text, systems, _ Texts) string {
		return systemOf(driver, systems)
	}))
}

// What was made of the drivers and queries that a program uses: looking through a query takes longer than all the rest.
var systemMemo, textMemo, summaryMemo memo

func systemOf(driver Text, systems Texts) (found string) {
	name, _, _ := strings.Cut(driver.text, "[")
	name = strings.TrimPrefix(name, "*")
	name = name[:max0(strings.LastIndexByte(name, '.'))]
	found = "other_sql"
	longest := 0
	for _, entry := range systems {
		prefix, system, _ := strings.Cut(entry, "=")
		if len(prefix) > longest && strings.HasPrefix(name, prefix) && (len(name) == len(prefix) || name[len(prefix)] == '/') {
			longest, found = len(prefix), system
		}
	}
	return found
}

func max0(number int) int {
	if number < 0 {
		return 0
	}
	return number
}

// SQLText is `sql_text`: db.query.text, in which each literal is a ?, and several in a list behind IN are one.
func SQLText(query, driver Text, systems, dialects Texts) Value {
	if !query.some() {
		return Value{}
	}
	return nonEmpty(textMemo.of(query, driver, systems, dialects, maskedText))
}

func maskedText(query, driver Text, systems, dialects Texts) string {
	text := query.valid()
	lexer := sqlLexer{text: text, traits: traitsOf(driver, systems, dialects)}
	stopped := query.state == columnCut
	var to strings.Builder
	to.Grow(len(text) + len(ellipsis))
	var list valueList
	for {
		token, ok := lexer.next()
		if !ok {
			break
		}
		if token.kind == sqlStop {
			stopped = true
			break
		}
		comma, repeated := list.next(text, token)
		if repeated {
			continue
		}
		if comma {
			to.WriteByte(',')
		}
		if token.blank && to.Len() > 0 {
			to.WriteByte(' ')
		}
		if token.kind == sqlLiteral {
			to.WriteByte('?')
		} else {
			to.WriteString(text[token.start:token.end])
		}
	}
	if stopped {
		to.WriteString(ellipsis)
	}
	return to.String()
}

// The places in a list of values.
const (
	outsideList uint8 = iota
	behindIn
	behindParenthesis
	behindValue
	behindComma
)

// valueList follows `IN (value, value, …)` to keep only the first value.
type valueList struct{ place uint8 }

// next tells whether a comma that was held back is needed now, and whether the token is left out.
func (l *valueList) next(text string, token sqlToken) (comma, repeated bool) {
	place := l.place
	var mark byte
	if token.kind == sqlMark {
		mark = text[token.start]
	}
	switch value := token.kind == sqlLiteral || token.kind == sqlPlaceholder; {
	case place == behindIn && mark == '(':
		l.place = behindParenthesis
	case value && (place == behindParenthesis || place == behindComma):
		l.place = behindValue
		return false, place == behindComma
	case place == behindValue && mark == ',':
		l.place = behindComma
		return false, true
	default:
		l.place = outsideList
		if token.kind == sqlPlain && token.end-token.start == len("IN") && strings.EqualFold(text[token.start:token.end], "IN") {
			l.place = behindIn
		}
		return place == behindComma, false
	}
	return false, false
}

// SQLSummary is `sql_summary`: db.query.summary, the operations and what they work on.
func SQLSummary(query, driver Text, systems, dialects Texts) Value {
	if !query.some() {
		return Value{}
	}
	return nonEmpty(summaryMemo.of(query, driver, systems, dialects, func(query, driver Text, systems, dialects Texts) string {
		return summaryOf(query, traitsOf(driver, systems, dialects))
	}))
}

// DBStatus is `db_status`: db.response.status_code, the database's own code, or its number of the error, of which 0 is
// none.
func DBStatus(code Text, number Int) Value {
	switch {
	case code.some():
		return textOf(code.shown())
	case number.number != 0:
		return textOf(strconv.FormatInt(number.number, 10))
	}
	return Value{}
}

// DBError is `db_error`: error.type of a database's client, the database's code, the name of a known error, an entry
// NAME=MESSAGE of names, or what GoError gives.
func DBError(code Text, number Int, typeName, message Text, errno Int, names, timeout, canceled Texts) Value {
	if !typeName.some() {
		return Value{}
	}
	if status := DBStatus(code, number); status.kind != noValue {
		return status
	}
	if message.state == columnWhole && message.text != "" {
		for _, entry := range names {
			if name, known, _ := strings.Cut(entry, "="); known == message.text {
				return textOf(name)
			}
		}
	}
	return GoError(typeName, message, errno, timeout, canceled)
}
