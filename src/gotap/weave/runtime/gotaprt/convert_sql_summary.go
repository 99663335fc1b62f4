package gotaprt

import "strings"

// The summary of a SQL query: what gotap.probe.convert_sql_summary does, which has the reasons. It follows the words that
// begin operations and those behind which a table's name stands; what it does not know gives less, never a literal.

// longestSummary is in bytes (semantic conventions: characters).
const longestSummary = 255

// The sets of words: bits of what isOf gives.
const (
	targeted     = 1 << iota // operations behind which their target stands
	listed                   // those whose targets may be several
	changing                 // operations that may stand inside a statement that begins with WITH or EXPLAIN
	prefixing                // WITH, EXPLAIN
	opaque                   // statements whose other words say nothing
	defining                 // CREATE, ALTER, DROP
	defined                  // what these define
	withBody                 // what has a body of statements of its own
	modifying                // words between CREATE and what is created
	beforeTarget             // words that may stand before a target
	joining                  // words behind which a table stands
	afterTables              // words that end a list of tables
)

// setsOf gives the sets that a word belongs to.
func setsOf(word *sqlWord) int {
	switch string(word.text[:word.length]) {
	case "INSERT", "MERGE", "UPSERT":
		return targeted | changing
	case "REPLACE":
		return targeted | changing | modifying | beforeTarget
	case "UPDATE", "DELETE":
		return targeted | listed | changing
	case "TRUNCATE":
		return targeted | listed
	case "CALL", "EXEC", "EXECUTE", "USE", "COPY":
		return targeted
	case "TABLE":
		return targeted | defined | beforeTarget
	case "WITH", "EXPLAIN", "DESCRIBE", "DESC":
		return prefixing
	case "GRANT", "REVOKE", "COMMENT", "DO":
		return opaque
	case "CREATE", "ALTER", "DROP":
		return defining
	case "VIEW", "INDEX", "SEQUENCE", "SCHEMA", "DATABASE", "TYPE":
		return defined
	case "FUNCTION", "PROCEDURE", "TRIGGER":
		return defined | withBody
	case "TEMP", "TEMPORARY", "GLOBAL", "LOCAL", "UNLOGGED", "UNIQUE", "MATERIALIZED", "RECURSIVE", "VIRTUAL", "FOREIGN",
		"EXTERNAL", "FULLTEXT", "SPATIAL", "CLUSTERED", "NONCLUSTERED":
		return modifying
	case "OR":
		return modifying | beforeTarget
	case "INTO", "FROM", "ONLY", "LATERAL", "IF", "NOT", "EXISTS", "ON", "CONCURRENTLY", "OVERWRITE", "IGNORE",
		"LOW_PRIORITY", "HIGH_PRIORITY", "DELAYED", "QUICK", "ROLLBACK", "ABORT", "FAIL", "IMMEDIATE", "OUTFILE", "DUMPFILE",
		"TOP":
		return beforeTarget
	case "JOIN", "STRAIGHT_JOIN":
		return joining
	case "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "FETCH", "FOR", "WINDOW", "QUALIFY", "UNION", "INTERSECT",
		"EXCEPT", "MINUS", "SET", "VALUES", "RETURNING", "OUTPUT", "DEFAULT":
		return afterTables
	}
	return 0
}

// summaryOf gives the summary, empty if there is nothing to tell.
func summaryOf(query Text, traits sqlTraits) string {
	s := summary{query: query.valid(), cut: query.state == columnCut}
	s.begin()
	lexer := sqlLexer{text: s.query, traits: traits}
	for !s.complete {
		token, ok := lexer.next()
		if !ok || token.kind == sqlStop {
			break
		}
		s.add(token)
	}
	s.endTarget()
	return string(s.parts)
}

// level is what is known between two parentheses, or outside of all.
type level struct {
	clauses bool // a FROM here is one of a query, and not of EXTRACT(YEAR FROM …)
	tables  bool // behind a comma here stands a table
}

type summary struct {
	query       string
	parts       []byte
	target      [2]int // where one that has been seen so far lies: `schema.` or `schema.table`
	mark        byte   // the token before, if it was a mark
	word        sqlWord
	verb        sqlWord
	levels      []level // from the outermost to the innermost
	cut         bool
	complete    bool // nothing that follows is wanted
	hasTarget   bool
	hasVerb     bool
	expected    bool // a target may stand here
	parenthesis bool // and behind a parenthesis, too
	pending     bool // the operation that WITH or EXPLAIN stands before is still to come
	defining    bool // behind CREATE, before the kind of thing
	opaque      bool
}

// begin begins a statement.
func (s *summary) begin() {
	s.verb, s.hasVerb = sqlWord{}, false
	s.levels = append(s.levels[:0], level{clauses: true})
	s.expected, s.parenthesis, s.pending, s.defining, s.opaque = false, false, false, false, false
}

func (s *summary) innermost() *level { return &s.levels[len(s.levels)-1] }

func (s *summary) add(token sqlToken) {
	var mark byte
	if token.kind == sqlMark {
		mark = s.query[token.start]
	}
	if s.hasTarget && !token.blank && s.continuesTarget(token, mark) {
		s.target[1] = token.end
		s.mark, s.word = mark, sqlWord{}
		return
	}
	s.endTarget()
	var word sqlWord
	if token.kind == sqlPlain {
		word = capitals(s.query[token.start:token.end])
	}
	switch {
	case token.kind == sqlMark:
		s.addMark(mark)
	case s.opaque:
	case token.kind == sqlPlain:
		s.addWord(&word, token)
	case token.kind == sqlName && s.expected:
		s.beginTarget(token)
	default:
		s.expected = false
	}
	s.mark, s.word = mark, word
}

func (s *summary) continuesTarget(token sqlToken, mark byte) bool {
	if token.kind == sqlMark {
		return mark == '.'
	}
	return s.mark == '.' && (token.kind == sqlPlain || token.kind == sqlName)
}

func (s *summary) beginTarget(token sqlToken) {
	s.target, s.hasTarget = [2]int{token.start, token.end}, true
	s.expected = false
}

func (s *summary) endTarget() {
	if !s.hasTarget {
		return
	}
	s.hasTarget = false
	s.emit(s.target[0], s.target[1])
	if setsOf(&s.verb)&withBody != 0 {
		s.complete = true
	}
}

// emit adds a word or a target; one that was cut, or that is too much, ends the summary.
func (s *summary) emit(start, end int) {
	text := strings.TrimRight(s.query[start:end], ".")
	size := len(s.parts) + len(text)
	if len(s.parts) > 0 {
		size++
	}
	if size > longestSummary || s.cut && end == len(s.query) {
		s.complete = true
	}
	if s.complete {
		return
	}
	if len(s.parts) > 0 {
		s.parts = append(s.parts, ' ')
	}
	s.parts = append(s.parts, text...)
}

func (s *summary) expect(listed, parenthesis bool) {
	s.expected, s.parenthesis = true, parenthesis
	s.innermost().tables = listed
}

func (s *summary) addMark(mark byte) {
	switch mark {
	case ';':
		s.begin()
	case '(', '[':
		s.expected = s.expected && s.parenthesis && mark == '('
		s.levels = append(s.levels, level{tables: s.expected})
	case ')', ']':
		if len(s.levels) > 1 {
			s.levels = s.levels[:len(s.levels)-1]
		}
		s.expected = false
	default:
		s.expected = mark == ',' && s.innermost().tables
		s.parenthesis = true
	}
}

func (s *summary) addWord(word *sqlWord, token sqlToken) {
	sets := setsOf(word)
	switch {
	case !s.hasVerb:
		s.operation(word, token)
	case s.defining:
		s.definition(sets, word, token)
	case word.is("SELECT"):
		s.emit(token.start, token.end)
		*s.innermost() = level{clauses: true}
		s.expected = false
		s.pending = s.pending && len(s.levels) > 1
	case s.pending && sets&changing != 0 && (len(s.levels) == 1 || s.mark == '('):
		s.pending = len(s.levels) > 1
		s.operation(word, token)
	case sets&afterTables != 0 && s.mark != '.':
		s.expected, s.innermost().tables = false, false
	case word.is("FROM") && s.isClause():
		s.expect(true, true)
	case sets&joining != 0, word.is("APPLY") && (s.word.is("CROSS") || s.word.is("OUTER")):
		s.expected, s.parenthesis = true, true
	case word.is("INTO"):
		s.expect(false, true)
	case word.is("USING") && (s.verb.is("DELETE") || s.verb.is("MERGE")):
		s.expect(true, false)
	case s.expected && sets&beforeTarget == 0:
		s.beginTarget(token)
	}
}

// isClause tells whether a FROM here names tables.
func (s *summary) isClause() bool {
	copied := s.verb.is("COPY") && len(s.levels) == 1
	return s.innermost().clauses && !s.word.is("DISTINCT") && !copied
}

// operation takes the first word of a statement, or the operation behind WITH or EXPLAIN.
func (s *summary) operation(word *sqlWord, token sqlToken) {
	s.verb, s.hasVerb = *word, true
	s.innermost().clauses = true
	if !word.is("WITH") {
		s.emit(token.start, token.end)
	}
	sets := setsOf(word)
	switch {
	case sets&prefixing != 0:
		s.pending = true
	case sets&targeted != 0:
		s.expect(sets&listed != 0, true)
	}
	s.defining, s.opaque = sets&defining != 0, sets&opaque != 0
}

// definition takes a word behind CREATE, ALTER or DROP.
func (s *summary) definition(sets int, word *sqlWord, token sqlToken) {
	if sets&modifying != 0 {
		return
	}
	s.defining = false
	s.emit(token.start, token.end)
	if sets&defined == 0 {
		s.opaque = true
		return
	}
	s.expect(s.verb.is("DROP"), true)
	s.verb = *word
}
