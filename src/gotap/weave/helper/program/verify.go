package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"regexp"
	"sort"
	"strings"
)

// Text of the user's rules that does not compile is found before anything is built: the compiler would name the user's
// line only, and not the rule's. What gotap's own rules weave is not looked at again.

// verify type-checks a package as it will be, and blames rules for what was right before. What is right may be written
// in another way then.
func (w *weaving) verify(t *target) {
	if !w.anyOfUser(t) {
		return
	}
	now := w.loader.checkWoven(t, (*file).now)
	var before []*ast.File
	for _, f := range t.files {
		if f.tree != nil {
			before = append(before, f.tree)
		}
	}
	_, found := w.loader.errors(t.Package, w.loader.set, before, nil)
	known := countMessages(found)
	added := w.addedNames()
	for _, one := range now.errors {
		if known[one.Msg] > 0 {
			known[one.Msg]--
			continue
		}
		if strings.HasPrefix(one.Msg, "could not import ") || namesAny(one.Msg, added) {
			continue // what is missing is told otherwise
		}
		w.blame(now, one)
	}
	if len(w.answer.Errors) == 0 {
		w.liftLiterals(now)
	}
}

func countMessages(found []types.Error) map[string]int {
	count := map[string]int{}
	for _, one := range found {
		count[one.Msg]++
	}
	return count
}

func (w *weaving) anyOfUser(t *target) bool {
	for _, edit := range w.answer.Edits {
		if edit.Package == t.ImportPath && w.isUsers(edit.Aspect) {
			return true
		}
	}
	return false
}

func (w *weaving) isUsers(aspect string) bool {
	r := w.ruleOf(aspect)
	return r != nil && !r.Own
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
func (w *weaving) blame(at *wovenPackage, one types.Error) {
	f, offset := at.fileOf(one.Pos)
	if f == nil {
		return
	}
	by, original := f.woven.writer(offset)
	if !w.isUsers(by.aspect) {
		return
	}
	r := w.ruleOf(by.aspect)
	line := r.advice[by.advice].Line
	if t := r.advice[by.advice].template; t != nil {
		line = max(line, t.Line)
	}
	position := f.position(f.token.Pos(original))
	w.answer.Errors = append(w.answer.Errors, WeaveError{Aspect: r.ID, RuleFile: r.File, RuleLine: line,
		File: f.name, Line: position.Line, Column: position.Column,
		Message: "what it weaves does not compile: " + one.Msg})
	r.failed = true
}

// errors type-checks files as a package, with the bodies of functions; `info` may be nil.
func (l *loader) errors(p *Package, set *token.FileSet, files []*ast.File, info *types.Info) (
	pkg *types.Package, found []types.Error) {
	config := l.config(p)
	config.Error = func(err error) {
		if one, ok := err.(types.Error); ok {
			found = append(found, one)
		}
	}
	pkg, _ = config.Check(publicPath(p.ImportPath), set, files, info)
	return pkg, found
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
