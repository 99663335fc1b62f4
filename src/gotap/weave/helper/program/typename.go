package main

import (
	"fmt"
	"go/types"
	"strings"
	"unicode"
)

// A typeName is a type as rules write it: `*net/http.Request`, `[]string`, `map[string]any`, `context.Context`.
// Types without an import path are predeclared or of the package at hand; type arguments are not written.
type typeName struct {
	op   string // "" for a name, else one of * [] ... map chan
	path string
	name string
	key  *typeName
	elem *typeName
}

func parseTypeName(text string) (*typeName, error) {
	rest := strings.TrimSpace(text)
	for _, op := range []string{"*", "[]", "...", "chan "} {
		if inner, found := strings.CutPrefix(rest, op); found {
			elem, err := parseTypeName(inner)
			return &typeName{op: strings.TrimSpace(op), elem: elem}, err
		}
	}
	if inner, found := strings.CutPrefix(rest, "map["); found {
		return parseMap(text, inner)
	}
	if rest == "interface{}" {
		rest = "any"
	}
	path, name := splitSymbol(rest)
	if !isIdentifier(name) || strings.ContainsAny(path, " \t[]{}()*\"") {
		return nil, fmt.Errorf("%q is not a type: expected a form like *import/path.Name", text)
	}
	return &typeName{path: path, name: name}, nil
}

// parseMap reads what follows `map[`; keys are names without brackets.
func parseMap(text, inner string) (*typeName, error) {
	keyText, elemText, found := strings.Cut(inner, "]")
	if !found {
		return nil, fmt.Errorf("%q is not a type: `]` is missing", text)
	}
	key, err := parseTypeName(keyText)
	if err != nil {
		return nil, err
	}
	elem, err := parseTypeName(elemText)
	return &typeName{op: "map", key: key, elem: elem}, err
}

// splitSymbol splits `import/path.Name` at the last dot.
func splitSymbol(text string) (path, name string) {
	if dot := strings.LastIndexByte(text, '.'); dot >= 0 {
		return text[:dot], text[dot+1:]
	}
	return "", text
}

func isIdentifier(text string) bool {
	for i, r := range text {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsDigit(r)) {
			return false
		}
	}
	return text != ""
}

// paths lists the packages that the type names.
func (n *typeName) paths() []string {
	if n == nil {
		return nil
	}
	if n.op == "" {
		if n.path == "" {
			return nil
		}
		return []string{n.path}
	}
	return append(n.key.paths(), n.elem.paths()...)
}

// text writes the type as Go, names of packages by the function given.
func (n *typeName) text(qualifier func(path string) string) string {
	switch n.op {
	case "":
		if q := qualifier(n.path); n.path != "" && q != "" {
			return q + "." + n.name
		}
		return n.name
	case "map":
		return "map[" + n.key.text(qualifier) + "]" + n.elem.text(qualifier)
	case "chan":
		return "chan " + n.elem.text(qualifier)
	}
	return n.op + n.elem.text(qualifier)
}

// matches compares with a real type; here is the package in which names without a path are looked for.
func (n *typeName) matches(t types.Type, here string) bool {
	switch n.op {
	case "*":
		p, ok := unalias(t).(*types.Pointer)
		return ok && n.elem.matches(p.Elem(), here)
	case "[]", "...":
		s, ok := unalias(t).(*types.Slice)
		return ok && n.elem.matches(s.Elem(), here)
	case "map":
		m, ok := unalias(t).(*types.Map)
		return ok && n.key.matches(m.Key(), here) && n.elem.matches(m.Elem(), here)
	case "chan":
		c, ok := unalias(t).(*types.Chan)
		return ok && n.elem.matches(c.Elem(), here)
	}
	return n.names(t, here)
}

func (n *typeName) names(t types.Type, here string) bool {
	for {
		if object := namedObject(t); object != nil && n.isObject(object, here) {
			return true
		}
		target := aliased(t)
		if target == nil {
			break
		}
		t = target
	}
	switch t := t.(type) {
	case *types.Basic:
		basic := types.Universe.Lookup(n.name)
		return n.path == "" && basic != nil && types.Identical(basic.Type(), t)
	case *types.Interface:
		return n.path == "" && n.name == "any" && t.Empty()
	}
	return false
}

func (n *typeName) isObject(object *types.TypeName, here string) bool {
	if object.Name() != n.name {
		return false
	}
	if object.Pkg() == nil {
		return n.path == ""
	}
	path := publicPath(object.Pkg().Path())
	return path == n.path || n.path == "" && path == here
}

// namedObject is the name of a named type or of an alias.
func namedObject(t types.Type) *types.TypeName {
	if named, ok := t.(*types.Named); ok {
		return named.Obj()
	}
	return aliasObject(t)
}

// publicPath is the path that rules write: without the marks of test variants and of the standard library's
// vendoring.
func publicPath(path string) string {
	path, _, _ = strings.Cut(path, " ")
	return strings.TrimPrefix(path, "vendor/")
}
