package main

import (
	"go/ast"
	"go/token"
	"sort"
	"strings"
)

// A span is a range of bytes, end excluded.
type span struct{ start, end int }

// An origin is who wrote a piece of text.
type origin struct {
	aspect string
	advice int
}

// A source is text with changes: a file as it is on disk, what a template has produced, or a file as it will be.
// Changes refer to other sources, so that what a template moves keeps the changes within it, whenever they are made.
type source struct {
	text     []byte
	token    *token.File
	file     *file  // of a file as it is on disk
	parts    []leaf // of a file as it will be: what its text is made of
	origin   origin
	holes    []hole                 // of what a template has produced
	appended map[ast.Node][]subject // arguments that calls were given
	replaced map[span][]piece
	inserts  map[int][]piece
}

// A piece is literal text of an origin, or a span of a source with the changes to it. A plain piece leaves out the
// replacement of the span itself: it is what the span held before.
type piece struct {
	text   string
	origin origin
	src    *source
	span   span
	plain  bool
}

func newSource(text []byte, f *file) *source {
	s := &source{text: text, file: f, appended: map[ast.Node][]subject{}, replaced: map[span][]piece{},
		inserts: map[int][]piece{}}
	if f != nil {
		s.token = f.token
	}
	return s
}

func (s *source) spanOf(node ast.Node) span {
	return span{s.token.Offset(node.Pos()), s.token.Offset(node.End())}
}

// content is what a span holds at present, for a replacement to build on.
func (s *source) content(at span) []piece {
	if pieces, found := s.replaced[at]; found {
		return pieces
	}
	return []piece{{src: s, span: at, plain: true}}
}

// insert puts text at an offset, behind what stands there already.
func (s *source) insert(offset int, text string, by origin) {
	s.inserts[offset] = append(s.inserts[offset], piece{text: text, origin: by})
}

// insertFirst puts pieces at an offset, before what stands there already.
func (s *source) insertFirst(offset int, pieces []piece) {
	s.inserts[offset] = append(append([]piece{}, pieces...), s.inserts[offset]...)
}

// A leaf is literal text, or a range of the file as it is on disk (text is empty then; the origin is who moved it).
type leaf struct {
	text   string
	origin origin
	span   span
}

// flatten resolves pieces to leaves.
func flatten(pieces []piece) []leaf {
	var leaves []leaf
	for _, p := range pieces {
		if p.src == nil {
			if p.text != "" {
				leaves = append(leaves, leaf{text: p.text, origin: p.origin})
			}
			continue
		}
		for _, l := range p.src.leaves(p.span, p.plain) {
			if l.origin == (origin{}) {
				l.origin = p.origin
			}
			leaves = append(leaves, l)
		}
	}
	return leaves
}

// leaves resolves a span. What is inserted at its very ends belongs to what is around it.
func (s *source) leaves(at span, plain bool) []leaf {
	if pieces, found := s.replaced[at]; found && !plain {
		return flatten(pieces)
	}
	var leaves []leaf
	cursor := at.start
	for _, change := range s.changes(at) {
		if change.start > cursor {
			leaves = append(leaves, s.original(span{cursor, change.start})...)
		}
		cursor = max(cursor, change.start)
		if change.end < 0 {
			leaves = append(leaves, flatten(s.inserts[change.start])...)
			continue
		}
		leaves = append(leaves, flatten(s.replaced[change])...)
		cursor = change.end
	}
	if cursor < at.end {
		leaves = append(leaves, s.original(span{cursor, at.end})...)
	}
	return leaves
}

// changes lists the outermost changes inside a span in order; those with a negative end are insertions.
func (s *source) changes(at span) []span {
	var found []span
	for r := range s.replaced {
		if at.start <= r.start && r.end <= at.end && r != at {
			found = append(found, r)
		}
	}
	for offset := range s.inserts {
		if at.start < offset && offset < at.end {
			found = append(found, span{offset, -1})
		}
	}
	sort.Slice(found, func(i, j int) bool {
		a, b := found[i], found[j]
		if a.start != b.start {
			return a.start < b.start
		}
		if (a.end < 0) != (b.end < 0) {
			return a.end < 0
		}
		return a.end > b.end
	})
	var outermost []span
	end := at.start
	for _, change := range found {
		if change.start < end {
			continue
		}
		outermost = append(outermost, change)
		end = max(end, change.end)
	}
	return outermost
}

func (s *source) original(at span) []leaf {
	switch {
	case s.file != nil:
		return []leaf{{span: at}}
	case s.parts != nil:
		return cut(s.parts, at)
	}
	return []leaf{{text: string(s.text[at.start:at.end]), origin: s.origin}}
}

// cut is what leaves show between two offsets of their text.
func cut(leaves []leaf, at span) []leaf {
	var shown []leaf
	begin := 0
	for _, l := range leaves {
		length := l.length()
		start, end := max(at.start-begin, 0), min(at.end-begin, length)
		begin += length
		switch {
		case start >= end:
			continue
		case l.text != "":
			l.text = l.text[start:end]
		default:
			l.span = span{l.span.start + start, l.span.start + end}
		}
		shown = append(shown, l)
	}
	return shown
}

func (l leaf) length() int {
	if l.text != "" {
		return len(l.text)
	}
	return l.span.end - l.span.start
}

// whole is all of a file. Its bounds lie outside of the text, so that insertions at the text's ends are inside.
func (f *file) whole() []leaf {
	leaves := f.source.leaves(span{-1, len(f.text) + 1}, true)
	var clamped []leaf
	for _, l := range leaves {
		if l.text == "" {
			l.span = span{max(l.span.start, 0), min(l.span.end, len(f.text))}
			if l.span.start >= l.span.end {
				continue
			}
		}
		clamped = append(clamped, l)
	}
	return clamped
}

// edits are the changes that make these leaves of a file. Text that keeps its order stays where it is; what was moved
// back or is used again is written anew, on one line.
func (f *file) edits(leaves []leaf) ([]Edit, error) {
	var result []Edit
	var pending []leaf // what comes between the cursor and the next text that stays
	cursor := 0
	var before origin // of the text before the cursor
	flush := func(to int, behind origin) error {
		written, err := f.written(pending)
		pending = nil
		if err != nil || sameWords(f.text[cursor:to], written) {
			return err
		}
		if len(written) == 0 {
			written = []leaf{{origin: lastOrigin([]leaf{{origin: behind}, {origin: before}})}} // text is only taken out
		}
		for i, l := range written {
			edit := Edit{Package: f.target.ImportPath, File: f.name, Offset: cursor, Insert: l.text,
				Aspect: l.origin.aspect, Advice: l.origin.advice}
			if i == len(written)-1 {
				edit.Delete = to - cursor
			}
			result = append(result, edit)
		}
		return nil
	}
	for _, l := range leaves {
		if l.text != "" || l.span.start < cursor {
			pending = append(pending, l)
			continue
		}
		if err := flush(l.span.start, l.origin); err != nil {
			return nil, err
		}
		cursor, before = l.span.end, l.origin
	}
	return result, flush(len(f.text), origin{})
}

// written makes literal text of leaves, neighbours of one origin joined.
func (f *file) written(leaves []leaf) ([]leaf, error) {
	var joined []leaf
	moved := false
	for _, l := range leaves {
		if l.text == "" {
			l.text = string(f.text[l.span.start:l.span.end])
			moved = true
		}
		if last := len(joined) - 1; last >= 0 && (joined[last].origin == l.origin || l.origin == origin{}) {
			joined[last].text += l.text
			continue
		}
		joined = append(joined, l)
	}
	if !moved {
		return joined, nil
	}
	text := ""
	for _, l := range joined {
		text += l.text
	}
	line, err := oneLine(text)
	return []leaf{{text: line, origin: lastOrigin(joined)}}, err
}

// lastOrigin is the last origin that is known.
func lastOrigin(leaves []leaf) (found origin) {
	for _, l := range leaves {
		if l.origin != (origin{}) {
			found = l.origin
		}
	}
	return found
}

// sameWords tells whether replacing the text would change white space only.
func sameWords(text []byte, by []leaf) bool {
	var inserted strings.Builder
	for _, l := range by {
		inserted.WriteString(l.text)
	}
	return !strings.ContainsAny(inserted.String(), "\"`'") &&
		strings.Join(strings.Fields(string(text)), "") == strings.Join(strings.Fields(inserted.String()), "")
}
