package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"regexp"
	"sort"
	"strings"
)

// Text of the user's rules that does not compile is found before anything is built: the compiler would name the user's
// line only, and not the rule's. What gotap's own rules weave is not looked at again.

// verify type-checks a package as it will be, and blames rules for what was right before.
func (w *weaving) verify(t *target) {
	edits := map[string][]Edit{}
	for _, edit := range w.answer.Edits {
		if edit.Package == t.ImportPath {
			edits[edit.File] = append(edits[edit.File], edit)
		}
	}
	if !w.anyOfUser(edits) {
		return
	}
	var before, after []*ast.File
	changed := map[string]*changedFile{}
	set := token.NewFileSet()
	var syntax []types.Error
	for _, f := range t.files {
		now := &changedFile{file: f, edits: edits[f.name]}
		changed[f.name] = now
		f.parse()
		if f.tree != nil {
			before = append(before, f.tree)
		}
		tree, err := parser.ParseFile(set, f.name, now.text(), parser.SkipObjectResolution)
		if tree != nil {
			after = append(after, tree)
		}
		if err != nil && f.tree != nil {
			syntax = append(syntax, types.Error{Fset: set, Pos: tree.Package, Msg: err.Error()})
		}
	}
	added := w.addedNames()
	known := map[string]int{}
	for _, one := range w.loader.errors(t.Package, w.loader.set, before) {
		known[one.Msg]++
	}
	for _, one := range append(syntax, w.loader.errors(t.Package, set, after)...) {
		if known[one.Msg] > 0 {
			known[one.Msg]--
			continue
		}
		if strings.HasPrefix(one.Msg, "could not import ") || namesAny(one.Msg, added) {
			continue // what is missing is told otherwise
		}
		position := set.PositionFor(one.Pos, false)
		w.blame(changed[position.Filename], position.Offset, one.Msg)
	}
}

func (w *weaving) anyOfUser(edits map[string][]Edit) bool {
	for _, list := range edits {
		for _, edit := range list {
			if r := w.ruleOf(edit.Aspect); r != nil && !r.Own {
				return true
			}
		}
	}
	return false
}

var declaredNames = regexp.MustCompile(`(?m)^\s*(?:func(?:\s*\([^)]*\))?|var|const|type)\s+(\w+)`)

// addedNames are fields and declarations that rules add: other packages are seen here as they are on disk, without them.
func (w *weaving) addedNames() map[string]bool {
	names := map[string]bool{}
	for _, r := range w.rules {
		for _, advice := range r.Advice {
			switch advice.Kind {
			case "add-struct-field":
				names[advice.Name] = true
			case "inject-declarations":
				for _, found := range declaredNames.FindAllStringSubmatch(advice.Template.Text, -1) {
					names[found[1]] = true
				}
			}
		}
	}
	return names
}

var words = regexp.MustCompile(`\w+`)

// namesAny tells whether a message holds one of these names, if other packages can name it.
func namesAny(message string, names map[string]bool) bool {
	for _, word := range words.FindAllString(message, -1) {
		if names[word] && token.IsExported(word) {
			return true
		}
	}
	return false
}

func (w *weaving) ruleOf(id string) *rule {
	for _, r := range w.rules {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// blame reports an error in the changed text at the line of the rule that wrote nearest to it.
func (w *weaving) blame(at *changedFile, offset int, message string) {
	edit, original := at.origin(offset)
	if edit == nil {
		return
	}
	r := w.ruleOf(edit.Aspect)
	if r == nil || r.Own {
		return
	}
	line := r.Line
	if advice := r.advice[edit.Advice]; advice.template != nil {
		line = max(advice.Line, advice.template.Line)
	} else {
		line = advice.Line
	}
	position := at.file.position(at.file.token.Pos(original))
	w.answer.Errors = append(w.answer.Errors, WeaveError{Aspect: r.ID, RuleFile: r.File, RuleLine: line,
		File: at.file.name, Line: position.Line, Column: position.Column,
		Message: "what it weaves does not compile: " + message})
	r.failed = true
}

// errors type-checks files as a package, with the bodies of functions.
func (l *loader) errors(p *Package, set *token.FileSet, files []*ast.File) (found []types.Error) {
	config := l.config(p)
	config.Error = func(err error) {
		if one, ok := err.(types.Error); ok {
			found = append(found, one)
		}
	}
	_, _ = config.Check(publicPath(p.ImportPath), set, files, nil)
	return found
}

// A changedFile is a file with its edits, which are sorted.
type changedFile struct {
	file  *file
	edits []Edit
}

func (c *changedFile) text() []byte {
	var text []byte
	cursor := 0
	for _, edit := range c.edits {
		text = append(text, c.file.text[cursor:edit.Offset]...)
		text = append(text, edit.Insert...)
		cursor = edit.Offset + edit.Delete
	}
	return append(text, c.file.text[cursor:]...)
}

// origin finds, for an offset in the changed text, the edit that wrote it or else the nearest one, and the offset in
// the text on disk.
func (c *changedFile) origin(offset int) (nearest *Edit, original int) {
	type place struct{ start, end int } // of an insertion in the changed text
	shift, distance := 0, -1
	original = offset
	for i := range c.edits {
		edit := &c.edits[i]
		at := place{edit.Offset + shift, edit.Offset + shift + len(edit.Insert)}
		away := max(at.start-offset, offset-at.end)
		if away <= 0 {
			return edit, edit.Offset
		}
		if distance < 0 || away < distance {
			nearest, distance = edit, away
		}
		shift += len(edit.Insert) - edit.Delete
		if offset >= at.end {
			original = offset - shift
		}
	}
	return nearest, min(original, len(c.file.text))
}

// verifyAll looks at all packages that rules have changed, in the order of their names.
func (w *weaving) verifyAll(targets []*target) {
	if len(w.answer.Errors) > 0 {
		return
	}
	sort.Slice(targets, func(i, j int) bool { return targets[i].ImportPath < targets[j].ImportPath })
	for _, t := range targets {
		w.verify(t)
	}
}
