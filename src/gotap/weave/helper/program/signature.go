package main

import (
	"go/ast"
	"go/types"
)

// A signature is the enclosing function's, one entry for each parameter and result, named or not.
type signature struct {
	parameters, results []parameter
}

// A parameter is one parameter, result or receiver.
type parameter struct {
	list  *ast.FieldList
	field *ast.Field
	name  *ast.Ident // nil when it has none
	index int
}

func (p place) signature() signature {
	switch node := p.enclosing().(type) {
	case *ast.FuncDecl:
		return signature{expand(node.Type.Params), expand(node.Type.Results)}
	case *ast.FuncLit:
		return signature{expand(node.Type.Params), expand(node.Type.Results)}
	}
	return signature{}
}

func expand(list *ast.FieldList) []parameter {
	var result []parameter
	if list == nil {
		return nil
	}
	for _, field := range list.List {
		if len(field.Names) == 0 {
			result = append(result, parameter{list, field, nil, len(result)})
		}
		for _, name := range field.Names {
			result = append(result, parameter{list, field, name, len(result)})
		}
	}
	return result
}

// is compares the parameter's type with a rule's. What the text shows is decided without types.
func (p parameter) is(at place, name *typeName) bool {
	expr := p.field.Type
	if variadic, ok := expr.(*ast.Ellipsis); ok {
		if name.op != "..." && name.op != "[]" {
			return false
		}
		expr, name = variadic.Elt, name.elem
	} else if name.op == "..." {
		return false
	}
	switch at.file.textIs(expr, name) {
	case always:
		return true
	case never:
		return false
	}
	t := at.file.target.typeOf(expr)
	return t != nil && name.matches(t, at.file.target.path)
}

// implements tells whether the parameter's type fulfils an interface.
func (p parameter) implements(at place, name *typeName) bool {
	t := at.file.target
	wanted := t.interfaceType(name)
	if wanted == nil {
		return false
	}
	expr := p.field.Type
	variadic, isVariadic := expr.(*ast.Ellipsis)
	if isVariadic {
		expr = variadic.Elt
	}
	found := t.typeOf(expr)
	if found == nil {
		return false
	}
	if isVariadic {
		found = types.NewSlice(found)
	}
	return types.Implements(found, wanted)
}

// textIs compares a type's text with a rule's type: names by the file's imports. Names that could be aliases of
// something else are unknown.
func (f *file) textIs(expr ast.Expr, name *typeName) tri {
	switch expr := unparen(expr).(type) {
	case *ast.StarExpr:
		if name.op == "*" {
			return f.textIs(expr.X, name.elem)
		}
		return never
	case *ast.SelectorExpr:
		qualifier, ok := expr.X.(*ast.Ident)
		if !ok || name.op != "" || name.path == "" || expr.Sel.Name != name.name {
			return unknown
		}
		if f.importNamed(qualifier.Name) == name.path {
			return always
		}
		return unknown
	case *ast.FuncType, *ast.StructType:
		return never
	}
	return unknown
}

// importNamed is the path of what the file imports under a name, as rules write it; empty when there is none.
func (f *file) importNamed(name string) string {
	for _, spec := range f.tree.Imports {
		path := importPathOf(spec)
		if path == "" {
			continue
		}
		local := ""
		if spec.Name != nil {
			local = spec.Name.Name
		} else if p := f.target.imported(path); p != nil {
			local = p.Name
		}
		if local == name {
			return path
		}
	}
	return ""
}
