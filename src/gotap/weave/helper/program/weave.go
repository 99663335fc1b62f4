package main

import (
	"errors"
	"fmt"
	"go/ast"
	"sort"
)

// A rule is an aspect made ready, and how far towards a match it got.
type rule struct {
	*Aspect
	point   point
	advice  []*advising
	matched bool
	stage   int // 0: no package may match; 1: no file of such; 2: no node of such
	why     string
	failed  bool
}

// A weaving is the work on one request.
type weaving struct {
	weaver
	rules  []*rule
	answer *Answer
}

// weave answers a request.
func weave(request *Request) *Answer {
	w := &weaving{weaver: weaver{request, newLoader(request), map[string]bool{}}, answer: emptyAnswer()}
	for _, module := range request.MainModules {
		w.mainModules[module] = true
	}
	w.answerQuestions()
	for _, aspect := range request.Aspects {
		w.prepare(aspect)
	}
	internal := map[string]bool{}
	for _, path := range request.Internal {
		internal[path] = true
	}
	var targets []*target
	for _, path := range request.Targets {
		if p := w.loader.packages[path]; p != nil {
			t := newTarget(w.loader, p)
			targets = append(targets, t)
			w.weavePackage(t, internal[path])
		}
	}
	w.verifyAll(targets)
	w.finish()
	return w.answer
}

func emptyAnswer() *Answer {
	return &Answer{Edits: []Edit{}, Matches: []Match{}, Unmatched: []Unmatched{}, Links: []Reference{},
		Imports: []Reference{}, Languages: []Language{}, Bodiless: []string{}, Errors: []WeaveError{},
		Replies: []*Reply{}}
}

// prepare compiles an aspect's join point and templates; what is wrong with them is told at the rule's lines.
func (w *weaving) prepare(aspect *Aspect) {
	r := &rule{Aspect: aspect, why: "there is no package that may be changed"}
	w.rules = append(w.rules, r)
	if aspect.JoinPoint == nil {
		w.fail(r, aspect.Line, place{}, errors.New("the aspect has no join point"))
		return
	}
	var err error
	if r.point, err = w.compile(aspect.JoinPoint); err != nil {
		w.fail(r, aspect.Line, place{}, err)
		return
	}
	for index, advice := range aspect.Advice {
		made := &advising{Advice: advice, aspect: aspect, index: index}
		if line, err := made.compile(w.request.Version); err != nil {
			w.fail(r, line, place{}, err)
		}
		r.advice = append(r.advice, made)
	}
}

// compile reads the advice's templates and types; an error comes with its line in the rule's file.
func (a *advising) compile(version string) (line int, err error) {
	for _, t := range append([]*Template{a.Template}, a.Values...) {
		if t == nil {
			continue
		}
		compiled, offset, err := compileTemplate(t, version)
		if err != nil {
			return t.Line + offset, err
		}
		if t == a.Template {
			a.template = compiled
		} else {
			a.values = append(a.values, compiled)
		}
	}
	switch a.Kind {
	case "prepend-statements", "wrap-expression", "assign-value", "inject-declarations", "insert-before", "insert-after":
		if a.template == nil {
			return a.Line, fmt.Errorf("%s has no template", a.Kind)
		}
	case "append-args", "add-struct-field":
		a.name, err = parseTypeName(a.Type)
	}
	return a.Line, err
}

// fail reports an error of a rule. Places without a file are left out.
func (w *weaving) fail(r *rule, line int, at place, err error) {
	r.failed = true
	told := WeaveError{Aspect: r.ID, RuleFile: r.File, RuleLine: line, Message: err.Error()}
	if at.file != nil {
		position := at.file.position(at.node.Pos())
		told.File, told.Line, told.Column = at.file.name, position.Line, position.Column
	}
	w.answer.Errors = append(w.answer.Errors, told)
}

// weavePackage weaves one package, if any rule may match in it.
func (w *weaving) weavePackage(t *target, internal bool) {
	var active []*rule
	for _, r := range w.rules {
		if r.failed && r.point == nil {
			continue
		}
		switch v := r.point.inPackage(t); {
		case v.tri == never:
			r.reach(0, v.why)
		case internal && !r.TracerInternal:
			r.reach(1, "package "+t.path+" is left as it is, since gotap's runtime imports it")
		default:
			active = append(active, r)
			r.reach(1, "no file of a package that may match was read")
		}
	}
	if len(active) == 0 {
		return
	}
	if err := t.read(); err != nil {
		for _, r := range active {
			w.fail(r, r.Line, place{}, err)
		}
		return
	}
	for _, f := range t.files {
		w.weaveFile(f, active)
	}
	w.collect(t)
}

func (r *rule) reach(stage int, why string) {
	if stage >= r.stage {
		r.stage, r.why = stage, why
	}
}

func (w *weaving) weaveFile(f *file, rules []*rule) {
	var active []*rule
	for _, r := range rules {
		v := r.point.inFile(f)
		if v.tri == never {
			r.reach(1, v.why)
			continue
		}
		active = append(active, r)
		r.reach(2, "nothing in package "+f.target.ImportPath+" matches, though its imports and names would allow it")
	}
	if len(active) == 0 {
		return
	}
	if f.parse(); f.tree == nil {
		return
	}
	w.walk(f, active)
}

// walk visits the file's nodes, children before parents, and leaves out what is ignored.
func (w *weaving) walk(f *file, rules []*rule) {
	var stack *chain
	ast.Inspect(f.tree, func(node ast.Node) bool {
		if node == nil {
			w.visit(place{stack, f}, rules)
			stack = stack.parent
			return true
		}
		switch node.(type) {
		case *ast.Comment, *ast.CommentGroup:
			return false
		}
		next := &chain{node, stack}
		if (place{next, f}).ignored() {
			return false
		}
		stack = next
		return true
	})
}

// visit applies to a node the advice of all rules that match it.
func (w *weaving) visit(at place, rules []*rule) {
	var found []*advising
	byAspect := map[*Aspect]*rule{}
	for _, r := range rules {
		if r.point.matches(at) {
			r.matched = true
			byAspect[r.Aspect] = r
			found = append(found, r.advice...)
		}
	}
	if len(found) == 0 {
		return
	}
	sortAdvice(found)
	todo := newApplication(at)
	for _, advice := range found {
		w.tell(advice, at)
		if byAspect[advice.aspect].failed {
			continue
		}
		if err := todo.apply(advice); err != nil {
			line := advice.Line
			if advice.template != nil {
				line = max(line, advice.template.Line)
			}
			w.fail(byAspect[advice.aspect], line, at, err)
		}
	}
}

func (w *weaving) tell(advice *advising, at place) {
	position := at.file.position(at.node.Pos())
	what := describe(at)
	switch at.node.(type) {
	case *ast.FuncDecl, *ast.FuncLit:
	default:
		if at.enclosing() != nil {
			what += " in " + qualifiedName(at)
		}
	}
	w.answer.Matches = append(w.answer.Matches, Match{advice.aspect.ID, advice.index, at.file.target.ImportPath,
		at.file.name, position.Line, position.Column, what})
}

// collect takes over what was woven into a package.
func (w *weaving) collect(t *target) {
	for _, f := range t.files {
		if f.source == nil {
			continue
		}
		f.nameFields()
		f.dropUnusedImports()
		w.answer.Edits = append(w.answer.Edits, w.edits(f, f.whole())...)
	}
	w.answer.Links = append(w.answer.Links, t.linked...)
	w.answer.Imports = append(w.answer.Imports, t.needed...)
	if t.lang.Lang != "" {
		w.answer.Languages = append(w.answer.Languages, t.lang)
	}
	if t.bodiless {
		w.answer.Bodiless = append(w.answer.Bodiless, t.ImportPath)
	}
}

// edits are the changes that make these leaves of a file. What cannot be written is told.
func (w *weaving) edits(f *file, leaves []leaf) []Edit {
	edits, err := f.edits(leaves)
	if err != nil {
		w.answer.Errors = append(w.answer.Errors, WeaveError{File: f.name, Message: err.Error()})
	}
	return edits
}

// finish tells which rules matched nothing, and why.
func (w *weaving) finish() {
	for _, r := range w.rules {
		if !r.matched && !r.failed {
			w.answer.Unmatched = append(w.answer.Unmatched, Unmatched{r.ID, r.why, r.stage})
		}
	}
	sort.SliceStable(w.answer.Matches, func(i, j int) bool {
		a, b := w.answer.Matches[i], w.answer.Matches[j]
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Line < b.Line || a.Line == b.Line && a.Column < b.Column
	})
}
