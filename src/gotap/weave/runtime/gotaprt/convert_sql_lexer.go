package gotaprt

import (
	"strings"
	"unicode/utf8"
)

// SQL in tokens: what gotap.probe.convert_sql_lexer does, which has the reasons and the sources. One pass, no
// allocation; all decisions fall by ASCII characters, so bytes do.

type sqlKind uint8

const (
	sqlPlain       sqlKind = iota // a keyword or a name without quotes
	sqlName                       // a quoted name, with its quotes
	sqlLiteral                    // a number, text or truth value, with its prefix and quotes
	sqlPlaceholder                // ? ?1 $1 $name :1 :name @name
	sqlMark                       // one character of anything else
	sqlStop                       // what follows cannot be told
)

type sqlToken struct {
	start, end int
	kind       sqlKind
	blank      bool // blanks or comments stand before it
}

// sqlTraits are what a dialect has.
type sqlTraits uint8

const (
	sqlBackslash sqlTraits = 1 << iota // \ escapes in texts
	sqlStrings                         // "…" is a text
	sqlEither                          // "…" is a text or a name
	sqlHash                            // # begins a comment, and -- only before a blank
	sqlBrackets                        // […] is a name
	sqlNested                          // comments nest
	sqlMoney                           // $1 is a number
	sqlUnknown                         // the dialect is not known: tokens end where two read a character in two ways
)

// traitsOf finds the dialect of a driver's system among entries SYSTEM=TRAIT TRAIT…
func traitsOf(driver Text, systems, dialects Texts) (traits sqlTraits) {
	system := systemOf(driver, systems)
	for _, entry := range dialects {
		name, words, _ := strings.Cut(entry, "=")
		if name != system {
			continue
		}
		for words != "" {
			var word string
			word, words, _ = strings.Cut(words, " ")
			traits |= traitOf(word)
		}
		return traits
	}
	return sqlUnknown
}

func traitOf(word string) sqlTraits {
	switch word {
	case "backslash":
		return sqlBackslash
	case "strings":
		return sqlStrings
	case "either":
		return sqlEither
	case "hash":
		return sqlHash
	case "brackets":
		return sqlBrackets
	case "nested":
		return sqlNested
	case "money":
		return sqlMoney
	}
	return 0
}

// sqlWord is a word in capitals; one that cannot be a keyword, since it is too long or not ASCII, is empty.
type sqlWord struct {
	text   [15]byte
	length uint8
}

func capitals(text string) (word sqlWord) {
	if len(text) > len(word.text) {
		return word
	}
	for i := 0; i < len(text); i++ {
		one := text[i]
		if 'a' <= one && one <= 'z' {
			one -= 'a' - 'A'
		} else if one >= utf8.RuneSelf {
			return sqlWord{}
		}
		word.text[i] = one
	}
	word.length = uint8(len(text))
	return word
}

func (w *sqlWord) is(text string) bool { return string(w.text[:w.length]) == text }

// end is what peek gives behind the end of the text.
const sqlEnd = -1

// sqlLexer gives the tokens of one statement, or of several.
type sqlLexer struct {
	text    string
	at      int
	words   [2]sqlWord // the last two tokens, as far as they were words
	traits  sqlTraits
	stopped bool
}

func (l *sqlLexer) has(trait sqlTraits) bool { return l.traits&trait != 0 }

// next gives a token; none at the end.
func (l *sqlLexer) next() (token sqlToken, ok bool) {
	before := l.at
	l.skip()
	start := l.at
	if start >= len(l.text) && !l.stopped {
		return token, false
	}
	kind := sqlStop
	if !l.stopped {
		kind = l.scan()
	}
	if l.stopped {
		return sqlToken{start: start, end: start, kind: sqlStop}, true
	}
	l.words[0] = l.words[1]
	l.words[1] = sqlWord{}
	if kind == sqlPlain {
		l.words[1] = capitals(l.text[start:l.at])
	}
	return sqlToken{start: start, end: l.at, kind: kind, blank: start > before}, true
}

func (l *sqlLexer) peek(ahead int) int {
	if at := l.at + ahead; at < len(l.text) {
		return int(l.text[at])
	}
	return sqlEnd
}

func (l *sqlLexer) before(at int) int {
	if at == 0 {
		return sqlEnd
	}
	return int(l.text[at-1])
}

// find moves behind the next text, or to the end if there is none.
func (l *sqlLexer) find(text string, from int) {
	if from <= len(l.text) {
		if found := strings.Index(l.text[from:], text); found >= 0 {
			l.at = from + found + len(text)
			return
		}
	}
	l.at = len(l.text)
}

// skip passes blanks and comments.
func (l *sqlLexer) skip() {
	for !l.stopped {
		switch char := l.peek(0); {
		case isSQLBlank(char):
			l.at++
		case char == '#' && l.has(sqlHash), char == '-' && l.isDashes():
			l.find("\n", l.at)
		case char == '/' && l.peek(1) == '*':
			l.comment()
		default:
			return
		}
	}
}

// isDashes tells whether a -- that begins a comment is here.
func (l *sqlLexer) isDashes() bool {
	if l.peek(1) != '-' {
		return false
	}
	blank := l.peek(2) == sqlEnd || isSQLBlank(l.peek(2))
	if l.has(sqlUnknown) && !blank {
		l.stopped = true
	}
	return blank || !l.has(sqlHash)
}

// comment passes a comment in /* */; one that does not end takes the rest.
func (l *sqlLexer) comment() {
	for depth := 0; l.at < len(l.text); {
		switch char, second := l.peek(0), l.peek(1); {
		case char == '/' && second == '*' && (depth == 0 || l.has(sqlNested)):
			depth++
			l.at += 2
		case char == '/' && second == '*' && l.has(sqlUnknown):
			l.stopped = true
			return
		case char == '*' && second == '/':
			l.at += 2
			if depth--; depth == 0 {
				return
			}
		default:
			l.at++
		}
	}
}

// scan passes the token that begins here.
func (l *sqlLexer) scan() sqlKind {
	char := l.peek(0)
	switch {
	case isSQLLetter(char), char == '@', char == '#' && !l.has(sqlUnknown) && isSQLLetter(l.peek(1)):
		return l.word()
	case isSQLDigit(char), char == '.' && isSQLDigit(l.peek(1)) && !l.afterValue():
		return l.number()
	case char == '\'', char == '"' && l.quotesText():
		return l.literal(char, l.has(sqlBackslash), l.has(sqlUnknown))
	case char == '"', char == '`':
		return l.name(char)
	case char == '[' && l.has(sqlBrackets):
		return l.name(']')
	case char == '$':
		return l.dollar()
	case char == '?':
		for l.at++; isSQLDigit(l.peek(0)); {
			l.at++
		}
		return sqlPlaceholder
	case char == ':' && !l.afterValue() && continuesSQL(l.peek(1)):
		for l.at++; continuesSQL(l.peek(0)); {
			l.at++
		}
		return sqlPlaceholder
	case l.has(sqlUnknown) && (char == '#' || char == '/' && l.peek(1) == '/'):
		l.stopped = true
	}
	// Of characters that are no letters all are ASCII.
	l.at++
	return sqlMark
}

func isSQLBlank(char int) bool { return char == ' ' || '\t' <= char && char <= '\r' }

func isSQLDigit(char int) bool { return '0' <= char && char <= '9' }

// isSQLLetter tells whether names may begin with it.
func isSQLLetter(char int) bool {
	return 'a' <= char|0x20 && char|0x20 <= 'z' || char == '_' || char >= utf8.RuneSelf
}

func continuesSQL(char int) bool { return isSQLLetter(char) || isSQLDigit(char) }

// afterValue tells whether the character before is the end of a name or a value.
func (l *sqlLexer) afterValue() bool {
	char := l.before(l.at)
	return continuesSQL(char) || char != sqlEnd && strings.IndexByte("[])}\"'`:?$@", byte(char)) >= 0
}

func (l *sqlLexer) word() sqlKind {
	start := l.at
	hash := !l.has(sqlUnknown) && !l.has(sqlHash)
	l.at++
	for char := l.peek(0); continuesSQL(char) || char == '$' || char == '@' || char == '#' && hash; char = l.peek(0) {
		l.at++
	}
	word := capitals(l.text[start:l.at])
	if l.peek(0) == '\'' {
		switch string(word.text[:word.length]) {
		case "E":
			return l.literal('\'', true, false)
		case "N", "B", "X":
			return l.literal('\'', l.has(sqlBackslash), l.has(sqlUnknown))
		case "Q", "NQ":
			return l.quotedFreely()
		}
	}
	switch {
	case word.is("TRUE"), word.is("FALSE"):
		return sqlLiteral
	case l.text[start] == '@':
		return sqlPlaceholder
	}
	return sqlPlain
}

// number passes all that hangs together: 0x1F, 1_000, 1.5e-3; a word that hangs on it, too.
func (l *sqlLexer) number() sqlKind {
	for l.at++; ; l.at++ {
		char := l.peek(0)
		exponent := (char == '+' || char == '-') && l.before(l.at)|0x20 == 'e' && isSQLDigit(l.peek(1))
		if !continuesSQL(char) && char != '.' && !exponent {
			return sqlLiteral
		}
	}
}

// quotesText tells whether the "…" here is, or may be, a text.
func (l *sqlLexer) quotesText() bool {
	if !l.has(sqlEither) {
		return l.has(sqlUnknown | sqlStrings)
	}
	if l.before(l.at) == '.' {
		return false
	}
	switch string(l.words[1].text[:l.words[1].length]) {
	case "FROM", "JOIN", "INTO", "UPDATE", "TABLE", "AS":
		if !l.words[0].is("DISTINCT") {
			return false
		}
	}
	end := strings.IndexByte(l.text[l.at+1:], '"')
	return end < 0 || l.peek(end+2) != '.'
}

// literal passes a text from its opening quote on; one that does not end takes the rest. A quote behind an odd number of
// backslashes ends it in one dialect and not in the other: where that is doubtful, the tokens end.
func (l *sqlLexer) literal(quote int, backslash, doubtful bool) sqlKind {
	escaped := false
	for l.at++; l.at < len(l.text); {
		char := l.peek(0)
		l.at++
		if char == '\\' {
			escaped = !escaped
			continue
		}
		if char == quote {
			if escaped && doubtful {
				l.stopped = true
				break
			}
			if !escaped || !backslash {
				if l.peek(0) != quote {
					break
				}
				l.at++
			}
		}
		escaped = false
	}
	return sqlLiteral
}

// quotedFreely passes Oracle's q'[…]', with any character in place of the brackets.
func (l *sqlLexer) quotedFreely() sqlKind {
	if l.at+1 >= len(l.text) {
		l.at = len(l.text)
		return sqlLiteral
	}
	_, size := utf8.DecodeRuneInString(l.text[l.at+1:])
	closing := l.text[l.at+1 : l.at+1+size]
	switch closing {
	case "[":
		closing = "]"
	case "{":
		closing = "}"
	case "(":
		closing = ")"
	case "<":
		closing = ">"
	}
	l.find(closing+"'", l.at+1+size)
	return sqlLiteral
}

// name passes a quoted name, in which the closing quote is doubled; one that does not end is doubtful.
func (l *sqlLexer) name(quote int) sqlKind {
	for l.at++; l.at < len(l.text); l.at++ {
		end := strings.IndexByte(l.text[l.at:], byte(quote))
		if end < 0 {
			break
		}
		l.at += end + 1
		if l.peek(0) != quote {
			return sqlName
		}
	}
	l.stopped = true
	return sqlName
}

// dollar passes a parameter, or a text between two $tag$; one that does not end takes the rest.
func (l *sqlLexer) dollar() sqlKind {
	start := l.at
	l.at++
	if isSQLDigit(l.peek(0)) {
		if l.has(sqlMoney) {
			return l.number()
		}
		for isSQLDigit(l.peek(0)) {
			l.at++
		}
		return sqlPlaceholder
	}
	for continuesSQL(l.peek(0)) {
		l.at++
	}
	switch {
	case l.peek(0) == '$':
		l.find(l.text[start:l.at+1], l.at+1)
		return sqlLiteral
	case l.at > start+1:
		return sqlPlaceholder
	}
	return sqlMark
}
