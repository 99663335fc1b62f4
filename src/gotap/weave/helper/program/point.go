package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"strings"
)

// A point is a join point made ready. inPackage and inFile are asked before anything is parsed; a `never` of theirs
// is sure.
type point interface {
	inPackage(*target) verdict
	inFile(*file) verdict
	matches(place) bool
}

// A weaver knows what join points ask about the whole build.
type weaver struct {
	request     *Request
	loader      *loader
	mainModules map[string]bool
}

// compile makes a join point ready. Errors say what is wrong with it.
func (w *weaver) compile(j *JoinPoint) (point, error) {
	switch j.Kind {
	case "all-of", "one-of", "not", "function-body", "within":
		return w.compileCombined(j)
	case "configuration":
		return constant{w.configured(j.Values), "the configuration has other values"}, nil
	case "import-path":
		return packageTest{"the package is not " + j.Path, func(t *target) bool { return t.path == j.Path }}, nil
	case "package-name":
		return packageTest{"the package's name is not " + j.Name, func(t *target) bool { return t.Name == j.Name }}, nil
	case "package-filter":
		return packageTest{"the package's path is outside of " + j.Pattern, w.packageFilter(j)}, nil
	case "test-main":
		test := func(t *target) bool { return t.TestMain == j.Value }
		return packageTest{fmt.Sprintf("test-main is not %v", j.Value), test}, nil
	case "function":
		return compileFunction(j)
	case "function-call", "method-call", "struct-definition", "struct-literal", "value-declaration", "declaration-of":
		return compileNode(j)
	case "directive":
		return directive{j.Name}, nil
	}
	return nil, fmt.Errorf("%q is not a join point", j.Kind)
}

func (w *weaver) compileCombined(j *JoinPoint) (point, error) {
	var parts []point
	for _, inner := range j.Of {
		part, err := w.compile(inner)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	switch {
	case j.Kind == "all-of":
		return allOf(parts), nil
	case j.Kind == "one-of":
		return oneOf(parts), nil
	case len(parts) != 1:
		return nil, fmt.Errorf("%s takes one join point, not %d", j.Kind, len(parts))
	case j.Kind == "not":
		return negation{parts[0]}, nil
	case j.Kind == "within":
		return within{parts[0], j.Value}, nil
	}
	return functionBody{parts[0]}, nil
}

func (w *weaver) configured(values map[string]string) bool {
	for key, value := range values {
		if found, ok := w.request.Configuration[key]; !ok || found != value {
			return false
		}
	}
	return true
}

// packageFilter compares import paths with a pattern; with `root`, paths within the main modules, whose own path is
// ".".
func (w *weaver) packageFilter(j *JoinPoint) func(*target) bool {
	return func(t *target) bool {
		if !j.Root {
			return globMatches(j.Pattern, t.path)
		}
		if !w.mainModules[t.Module] {
			return false
		}
		inside := strings.TrimPrefix(strings.TrimPrefix(t.path, t.Module), "/")
		if inside == "" {
			inside = "."
		}
		return j.Pattern == "" || globMatches(j.Pattern, inside)
	}
}

// A constant join point says the same everywhere.
type constant struct {
	value bool
	why   string
}

func (c constant) inPackage(*target) verdict { return decided(c.value, c.why) }
func (c constant) inFile(*file) verdict      { return decided(c.value, c.why) }
func (c constant) matches(place) bool        { return c.value }

// A packageTest asks about the package only.
type packageTest struct {
	why  string
	test func(*target) bool
}

func (p packageTest) inPackage(t *target) verdict { return decided(p.test(t), p.why) }
func (p packageTest) inFile(f *file) verdict      { return decided(p.test(f.target), p.why) }
func (p packageTest) matches(at place) bool       { return p.test(at.file.target) }

type allOf []point

func (a allOf) inPackage(t *target) verdict {
	sum := verdict{tri: always}
	for _, part := range a {
		sum = both(sum, part.inPackage(t))
	}
	return sum
}

func (a allOf) inFile(f *file) verdict {
	sum := verdict{tri: always}
	for _, part := range a {
		sum = both(sum, part.inFile(f))
	}
	return sum
}

// matches asks in order: rules write what is narrow and cheap first.
func (a allOf) matches(at place) bool {
	for _, part := range a {
		if !part.matches(at) {
			return false
		}
	}
	return true
}

type oneOf []point

func (o oneOf) inPackage(t *target) verdict {
	if len(o) == 0 {
		return refuse("one-of has no alternatives")
	}
	sum := o[0].inPackage(t)
	for _, part := range o[1:] {
		sum = either(sum, part.inPackage(t))
	}
	return sum
}

func (o oneOf) inFile(f *file) verdict {
	if len(o) == 0 {
		return refuse("one-of has no alternatives")
	}
	sum := o[0].inFile(f)
	for _, part := range o[1:] {
		sum = either(sum, part.inFile(f))
	}
	return sum
}

func (o oneOf) matches(at place) bool {
	for _, part := range o {
		if part.matches(at) {
			return true
		}
	}
	return false
}

type negation struct{ of point }

func (n negation) inPackage(t *target) verdict { return n.negated(n.of.inPackage(t)) }
func (n negation) inFile(f *file) verdict      { return n.negated(n.of.inFile(f)) }
func (n negation) matches(at place) bool       { return !n.of.matches(at) }

func (negation) negated(v verdict) verdict { return verdict{-v.tri, "a `not` excludes it"} }

// A functionBody is the block of a function that another join point selects.
type functionBody struct{ of point }

func (b functionBody) inPackage(t *target) verdict { return atMostUnknown(b.of.inPackage(t)) }
func (b functionBody) inFile(f *file) verdict      { return atMostUnknown(b.of.inFile(f)) }

// atMostUnknown lowers `always` to `unknown`: a condition on every node's function does not make every node a body.
func atMostUnknown(v verdict) verdict {
	return verdict{min(v.tri, unknown), v.why}
}

func (b functionBody) matches(at place) bool {
	block, ok := at.node.(*ast.BlockStmt)
	if !ok || at.parent == nil {
		return false
	}
	function, _ := at.up()
	switch node := function.node.(type) {
	case *ast.FuncDecl:
		return node.Body == block && b.of.matches(function)
	case *ast.FuncLit:
		return node.Body == block && b.of.matches(function)
	}
	return false
}

// A within is any node in a function that another join point selects: in its literals only, or outside of them.
type within struct {
	of       point
	literals bool
}

func (w within) inPackage(t *target) verdict { return atMostUnknown(w.of.inPackage(t)) }
func (w within) inFile(f *file) verdict      { return atMostUnknown(w.of.inFile(f)) }

func (w within) matches(at place) bool {
	inLiteral := false
	for around, ok := at.up(); ok; around, ok = around.up() {
		switch around.node.(type) {
		case *ast.FuncLit:
			inLiteral = true
		case *ast.FuncDecl:
			return inLiteral == w.literals && w.of.matches(around)
		}
	}
	return false
}

type directive struct{ name string }

func (directive) inPackage(*target) verdict { return verdict{tri: unknown} }

func (d directive) inFile(f *file) verdict { return f.mayHold("//" + d.name) }

func (d directive) matches(at place) bool { return at.hasDirective(d.name) }

// mayHold asks the bytes of the file.
func (f *file) mayHold(text string) verdict {
	if bytes.Contains(f.text, []byte(text)) {
		return verdict{tri: unknown}
	}
	return refuse(fmt.Sprintf("no file holds %q", text))
}
