package main

import (
	"fmt"
	"go/types"
	"regexp"
)

var notInNames = regexp.MustCompile(`[^A-Za-z0-9]`)

// source writes a type as Go in the scope's package, and remembers what has to be imported for it. ok is false for
// what cannot be named there.
func (s *scope) source(t types.Type) (text string, ok bool) {
	if !s.nameable(t, map[types.Type]bool{}) {
		return "", false
	}
	return types.TypeString(t, func(p *types.Package) string {
		if p == s.pkg {
			return ""
		}
		path := publicPath(p.Path())
		alias := "gotap_" + notInNames.ReplaceAllString(path, "_")
		s.imports[alias] = path
		return alias
	}), true
}

// nameable tells whether Go lets the scope's package write the type: its names are exported, and importing their
// packages makes no cycle.
func (s *scope) nameable(t types.Type, seen map[types.Type]bool) bool {
	if seen[t] {
		return true
	}
	seen[t] = true
	if object := namedObject(t); object != nil {
		return s.mayName(object) && s.allNameable(typeArguments(t), seen)
	}
	switch t := t.(type) {
	case *types.Basic:
		return true
	case *types.Pointer:
		return s.nameable(t.Elem(), seen)
	case *types.Slice:
		return s.nameable(t.Elem(), seen)
	case *types.Array:
		return s.nameable(t.Elem(), seen)
	case *types.Chan:
		return s.nameable(t.Elem(), seen)
	case *types.Map:
		return s.nameable(t.Key(), seen) && s.nameable(t.Elem(), seen)
	case *types.Signature:
		return s.allNameable(variables(t.Params()), seen) && s.allNameable(variables(t.Results()), seen)
	case *types.Interface:
		return t.NumMethods() == 0
	}
	return false
}

func (s *scope) allNameable(list []types.Type, seen map[types.Type]bool) bool {
	for _, t := range list {
		if !s.nameable(t, seen) {
			return false
		}
	}
	return true
}

func typeArguments(t types.Type) (list []types.Type) {
	named, ok := t.(*types.Named)
	if !ok {
		return nil
	}
	for i := 0; i < named.TypeArgs().Len(); i++ {
		list = append(list, named.TypeArgs().At(i))
	}
	return list
}

func variables(tuple *types.Tuple) (list []types.Type) {
	for i := 0; i < tuple.Len(); i++ {
		list = append(list, tuple.At(i).Type())
	}
	return list
}

func (s *scope) mayName(object *types.TypeName) bool {
	p := object.Pkg()
	if p == nil || p == s.pkg {
		return true
	}
	return object.Exported() && p.Scope().Lookup(object.Name()) == object &&
		!s.loader.reaches(p.Path(), publicPath(s.home.ImportPath))
}

// resolve makes a type of a rule's or the catalogue's name for it.
func (s *scope) resolve(name *typeName) (types.Type, error) {
	if name.op == "" {
		return s.named(name)
	}
	elem, err := s.resolve(name.elem)
	if err != nil {
		return nil, err
	}
	switch name.op {
	case "*":
		return types.NewPointer(elem), nil
	case "[]", "...":
		return types.NewSlice(elem), nil
	case "chan":
		return types.NewChan(types.SendRecv, elem), nil
	}
	key, err := s.resolve(name.key)
	if err != nil {
		return nil, err
	}
	return types.NewMap(key, elem), nil
}

func (s *scope) named(name *typeName) (types.Type, error) {
	var object types.Object
	switch {
	case name.path == publicPath(s.home.ImportPath):
		object = s.pkg.Scope().Lookup(name.name)
	case name.path == "":
		object = types.Universe.Lookup(name.name)
	default:
		object = s.loader.lookup(s.home, name)
	}
	if found, ok := object.(*types.TypeName); ok {
		return found.Type(), nil
	}
	return nil, fmt.Errorf("there is no type %s.%s in this build", name.path, name.name)
}
