package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
)

// compileNode makes ready the join points that look at one node and at the types in it.
func compileNode(j *JoinPoint) (point, error) {
	switch j.Kind {
	case "function-call":
		path, name := splitSymbol(j.Function)
		return functionCall{path, name}, symbolError(j.Kind, j.Function, name)
	case "declaration-of":
		path, name := splitSymbol(j.Name)
		return declarationOf{path, name}, symbolError(j.Kind, j.Name, name)
	}
	text := j.Type
	if j.Kind == "method-call" {
		text = j.Receiver
	}
	name, err := parseTypeName(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.Kind, err)
	}
	if j.Kind != "value-declaration" && name.op != "" {
		return nil, fmt.Errorf("%s takes the name of a type, not %q", j.Kind, text)
	}
	switch j.Kind {
	case "method-call":
		return methodCall{name, j.Name, j.Match}, nil
	case "struct-definition":
		return structDefinition{name}, nil
	case "struct-literal":
		return structLiteral{name, j.Field, j.Match}, nil
	}
	return valueDeclaration{name}, nil
}

func symbolError(kind, symbol, name string) error {
	if !isIdentifier(name) {
		return fmt.Errorf("%s: %q is not a name of the form import/path.Name", kind, symbol)
	}
	return nil
}

// A functionCall is a call of a package's function, however it is imported; calls within that package are not meant.
// Without a path it is a predeclared function or one of the package at hand.
type functionCall struct{ path, name string }

func (c functionCall) inPackage(t *target) verdict {
	if c.path == "" {
		return verdict{tri: unknown}
	}
	for _, imported := range t.Imports {
		if publicPath(imported) == c.path {
			return verdict{tri: unknown}
		}
	}
	return refuse("no package of the build that may be changed imports " + c.path)
}

func (c functionCall) inFile(f *file) verdict { return both(f.mayHold(c.name), f.mayHold(c.path)) }

func (c functionCall) matches(at place) bool {
	call, ok := at.node.(*ast.CallExpr)
	if !ok {
		return false
	}
	identifier := calledName(call)
	if identifier == nil || identifier.Name != c.name {
		return false
	}
	info := at.file.target.types()
	if qualifier := qualifierOf(call); qualifier != nil {
		imported, ok := info.Uses[qualifier].(*types.PkgName)
		return ok && c.path == publicPath(imported.Imported().Path())
	}
	object := info.Uses[identifier]
	if object == nil || object.Pkg() != nil && object.Parent() != object.Pkg().Scope() {
		return false // a method, a field, or something local
	}
	if object.Pkg() == nil || object.Pkg() == at.file.target.pkg {
		return c.path == ""
	}
	return publicPath(object.Pkg().Path()) == c.path // by a dot import
}

// calledName is the name of what is called: of `f(…)`, `p.f(…)`, `f[T](…)`.
func calledName(call *ast.CallExpr) *ast.Ident {
	switch called := uninstantiated(unparen(call.Fun)).(type) {
	case *ast.Ident:
		return called
	case *ast.SelectorExpr:
		return called.Sel
	}
	return nil
}

// qualifierOf is the x of a call of `x.f`, nil for other calls.
func qualifierOf(call *ast.CallExpr) *ast.Ident {
	selector, ok := uninstantiated(unparen(call.Fun)).(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	qualifier, _ := unparen(selector.X).(*ast.Ident)
	return qualifier
}

// A methodCall is a call of a method through a value whose static type is the receiver or a pointer to it.
type methodCall struct {
	receiver *typeName
	name     string
	match    string
}

func (m methodCall) inPackage(t *target) verdict { return t.mayKnow(m.receiver.paths()) }
func (m methodCall) inFile(f *file) verdict      { return f.mayHold(m.name) }

func (m methodCall) matches(at place) bool {
	call, ok := at.node.(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := unparen(call.Fun).(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != m.name {
		return false
	}
	t := at.file.target.typeOf(selector.X)
	if t == nil || at.file.target.types().Types[selector.X].IsType() {
		return false
	}
	pointer, isPointer := unalias(t).(*types.Pointer)
	if isPointer && m.match == "value-only" || !isPointer && m.match == "pointer-only" {
		return false
	}
	if isPointer {
		t = pointer.Elem()
	}
	return m.receiver.matches(t, at.file.target.path)
}

// A structDefinition is the spec of a struct type.
type structDefinition struct{ name *typeName }

func (s structDefinition) inPackage(t *target) verdict {
	if s.name.path == "" || s.name.path == t.path {
		return verdict{tri: unknown}
	}
	return refuse("the package is not " + s.name.path)
}

func (s structDefinition) inFile(f *file) verdict { return f.mayHold(s.name.name) }

func (s structDefinition) matches(at place) bool {
	spec, ok := at.node.(*ast.TypeSpec)
	if !ok || spec.Name.Name != s.name.name || s.name.path != at.file.target.path {
		return false
	}
	_, isStruct := spec.Type.(*ast.StructType)
	return isStruct
}

// A structLiteral is a composite literal of a struct type, with or without a `&`, or one `key: value` of such.
type structLiteral struct {
	name  *typeName
	field string
	match string
}

func (s structLiteral) inPackage(t *target) verdict { return t.mayKnow(s.name.paths()) }

func (s structLiteral) inFile(f *file) verdict {
	if s.field != "" {
		return f.mayHold(s.field)
	}
	return verdict{tri: unknown}
}

func (s structLiteral) matches(at place) bool {
	if s.field != "" {
		pair, ok := at.node.(*ast.KeyValueExpr)
		if !ok {
			return false
		}
		key, ok := pair.Key.(*ast.Ident)
		return ok && key.Name == s.field && s.isLiteral(at, at.parent.node)
	}
	switch node := at.node.(type) {
	case *ast.UnaryExpr:
		return s.match == "pointer-only" && node.Op == token.AND && s.isWritten(at, node.X)
	case *ast.CompositeLit:
		return s.match != "pointer-only" && !(s.match == "value-only" && isAddress(at.parent)) && s.isWritten(at, node)
	}
	return false
}

func isAddress(c *chain) bool {
	unary, ok := c.node.(*ast.UnaryExpr)
	return ok && unary.Op == token.AND
}

// isWritten leaves out literals whose type is left out: they are no expressions of their own.
func (s structLiteral) isWritten(at place, node ast.Node) bool {
	literal, ok := node.(*ast.CompositeLit)
	return ok && literal.Type != nil && s.isLiteral(at, literal)
}

func (s structLiteral) isLiteral(at place, node ast.Node) bool {
	literal, ok := node.(*ast.CompositeLit)
	if !ok {
		return false
	}
	if literal.Type != nil && at.file.textIs(literal.Type, s.name) == always {
		return true
	}
	t := at.file.target.typeOf(literal)
	if t == nil {
		return false
	}
	if pointer, ok := unalias(t).(*types.Pointer); ok { // the elided &T of []*T{{…}}
		t = pointer.Elem()
	}
	return s.name.matches(t, at.file.target.path)
}

// A valueDeclaration is a spec of variables or constants of a type.
type valueDeclaration struct{ name *typeName }

func (v valueDeclaration) inPackage(t *target) verdict { return t.mayKnow(v.name.paths()) }
func (v valueDeclaration) inFile(*file) verdict        { return verdict{tri: unknown} }

func (v valueDeclaration) matches(at place) bool {
	spec, ok := at.node.(*ast.ValueSpec)
	if !ok {
		return false
	}
	if spec.Type != nil && at.file.textIs(spec.Type, v.name) == always {
		return true
	}
	object := at.file.target.types().Defs[spec.Names[0]]
	return object != nil && object.Type() != nil && v.name.matches(types.Default(object.Type()), at.file.target.path)
}

// A declarationOf is the declaration of one function, variable or constant of a package.
type declarationOf struct{ path, name string }

func (d declarationOf) inPackage(t *target) verdict {
	if d.path == t.path {
		return verdict{tri: unknown}
	}
	return refuse("the package is not " + d.path)
}

func (d declarationOf) inFile(f *file) verdict { return f.mayHold(d.name) }

func (d declarationOf) matches(at place) bool {
	switch node := at.node.(type) {
	case *ast.FuncDecl:
		return node.Recv == nil && node.Name.Name == d.name && at.file.target.path == d.path
	case *ast.ValueSpec:
		// The chain of a package-level spec: file, declaration, spec.
		if at.file.target.path != d.path || at.parent.parent == nil || at.parent.parent.parent != nil {
			return false
		}
		for _, name := range node.Names {
			if name.Name == d.name {
				return true
			}
		}
	}
	return false
}
