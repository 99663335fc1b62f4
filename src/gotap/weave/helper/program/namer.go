package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"strings"
)

// A namer writes types as Go at package level of one file.
type namer struct {
	home       *types.Package
	isStandard bool
	imports    map[string]string // import path → its name in the file
	added      []namedImport     // those that the file lacks
	parametric bool              // whether a type that was asked about has type parameters in it
}

type namedImport struct{ name, path string }

func newNamer(p *wovenPackage, tree *ast.File) *namer {
	n := &namer{home: p.pkg, isStandard: p.target.Std, imports: map[string]string{}}
	byPath := map[string]*types.Package{}
	for _, imported := range p.pkg.Imports() {
		byPath[imported.Path()] = imported
	}
	for _, spec := range tree.Imports {
		path := publicPath(importPathOf(spec))
		switch {
		case spec.Name != nil && spec.Name.Name != "_" && spec.Name.Name != ".":
			n.imports[path] = spec.Name.Name
		case spec.Name == nil && byPath[path] != nil:
			n.imports[path] = byPath[path].Name()
		}
	}
	return n
}

// can tells whether a type can be written.
func (n *namer) can(t types.Type) bool {
	if object := namedObject(t); object != nil {
		return n.canName(object) && n.canAll(typeArguments(t))
	}
	switch t := t.(type) {
	case *types.Basic:
		return t.Kind() != types.Invalid && t.Kind() != types.UnsafePointer && t.Info()&types.IsUntyped == 0
	case *types.TypeParam:
		n.parametric = true
		return true
	case *types.Pointer:
		return n.can(t.Elem())
	case *types.Slice:
		return n.can(t.Elem())
	case *types.Array:
		return n.can(t.Elem())
	case *types.Chan:
		return n.can(t.Elem())
	case *types.Map:
		return n.can(t.Key()) && n.can(t.Elem())
	case *types.Signature:
		return n.canAll(variables(t.Params())) && n.canAll(variables(t.Results()))
	case *types.Struct:
		for i := 0; i < t.NumFields(); i++ {
			if f := t.Field(i); !n.isVisible(f) || !n.can(f.Type()) {
				return false
			}
		}
		return true
	case *types.Interface:
		return n.canInterface(t)
	case *types.Union:
		for i := 0; i < t.Len(); i++ {
			if !n.can(t.Term(i).Type()) {
				return false
			}
		}
		return true
	}
	return false
}

func (n *namer) canAll(list []types.Type) bool {
	for _, t := range list {
		if !n.can(t) {
			return false
		}
	}
	return true
}

func (n *namer) canInterface(t *types.Interface) bool {
	for i := 0; i < t.NumExplicitMethods(); i++ {
		if m := t.ExplicitMethod(i); !n.isVisible(m) || !n.can(m.Type()) {
			return false
		}
	}
	for i := 0; i < t.NumEmbeddeds(); i++ {
		if !n.can(t.EmbeddedType(i)) {
			return false
		}
	}
	return true
}

func (n *namer) isVisible(object types.Object) bool {
	return object.Exported() || object.Pkg() == n.home
}

// canName tells whether a type's name can be written: it is declared at package level, and visible.
func (n *namer) canName(object *types.TypeName) bool {
	p := object.Pkg()
	if p == nil {
		return true
	}
	if p.Scope().Lookup(object.Name()) != object || !n.isVisible(object) {
		return false
	}
	return p == n.home || n.imports[p.Path()] != "" || n.mayImport(p.Path())
}

// mayImport tells whether Go lets the file import a package: internal ones are for the tree that they belong to
// (`go help importpath`), those of the standard library for that.
func (n *namer) mayImport(path string) bool {
	cut := strings.LastIndex("/"+path+"/", "/internal/")
	if cut <= 0 {
		return cut < 0 || n.isStandard
	}
	return strings.HasPrefix("/"+n.home.Path()+"/", ("/" + path)[:cut]+"/")
}

// text writes a type, and remembers what the file has to import for it.
func (n *namer) text(t types.Type) string {
	return types.TypeString(t, func(p *types.Package) string {
		if p == n.home {
			return ""
		}
		name, known := n.imports[p.Path()]
		if !known {
			name = fmt.Sprintf("__gotap_type_%d", len(n.added)+1)
			n.imports[p.Path()] = name
			n.added = append(n.added, namedImport{name, p.Path()})
		}
		return name
	})
}
