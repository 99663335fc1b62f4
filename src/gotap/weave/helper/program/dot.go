package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"reflect"
	"strings"
	"unicode"
)

// dot is what templates call `.`.
type dot struct{ r *rendering }

// String moves the node into the template's text.
func (d *dot) String() string { return d.r.placeholder(d.r.subject, d.r.pieces) }

// AST is a view of the node, by the names of go/ast; renamed as github.com/dave/dst has them.
func (d *dot) AST() any { return d.r.view(d.r.subject) }

// Function is the nearest function around the node.
func (d *dot) Function() *functionView { return &functionView{d.r, d.r.at.enclosing()} }

// A DirectiveArgument is one `key:value` of a directive.
type DirectiveArgument struct{ Key, Value string }

// DirectiveArgs finds the nearest directive of a name around the node.
func (d *dot) DirectiveArgs(name string) []DirectiveArgument {
	for at := d.r.at; at.chain != nil; at, _ = at.up() {
		for _, comment := range at.comments() {
			if text, found := directiveText(comment, name); found {
				return directiveArguments(text)
			}
		}
	}
	return nil
}

// directiveArguments splits at white space outside of quotes; values lose the quotes around them.
func directiveArguments(text string) []DirectiveArgument {
	var quote rune
	words := strings.FieldsFunc(text, func(r rune) bool {
		switch {
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case r == quote:
			quote = 0
		}
		return quote == 0 && unicode.IsSpace(r)
	})
	var arguments []DirectiveArgument
	for _, word := range words {
		key, value, _ := strings.Cut(word, ":")
		if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
			value = value[1 : n-1]
		}
		arguments = append(arguments, DirectiveArgument{key, value})
	}
	return arguments
}

// A view is a node as templates see it: fields by name, nodes in them as views. Printing it moves the node.
type view map[string]any

// itself is the key under which a view keeps what it is a view of; no template can spell it.
const itself = ""

type viewed struct {
	r *rendering
	subject
}

// String moves the node into the template's text.
func (v view) String() string {
	of := v[itself].(viewed)
	return of.r.placeholder(of.subject, []piece{{src: of.src, span: of.src.spanOf(of.node), origin: of.r.by}})
}

// Copy copies the node. Text that is used twice is written twice in any case.
func (v view) Copy() string { return v.String() }

// view makes a view of a node and of all within it.
func (r *rendering) view(of subject) any {
	if selector, ok := of.node.(*ast.SelectorExpr); ok && of.src.holes != nil {
		if filled := (&rendering{holes: of.src.holes}).holeNamed(selector); filled != nil {
			return r.view(filled.subject)
		}
	}
	v := view{itself: viewed{r, of}}
	structure := reflect.ValueOf(of.node).Elem()
	for i := 0; i < structure.NumField(); i++ {
		name := structure.Type().Field(i).Name
		switch name {
		case "Doc", "Comment", "Comments", "Obj", "Scope", "Unresolved", "Imports":
		default:
			v[name] = r.fieldView(of.src, structure.Field(i))
		}
	}
	r.addNames(v, of)
	return v
}

func (r *rendering) fieldView(src *source, field reflect.Value) any {
	switch value := field.Interface().(type) {
	case token.Pos:
		return value.IsValid() // dst tells only whether there is an ellipsis, a parenthesis, a `=`
	case ast.Node:
		if field.IsNil() {
			return nil
		}
		return r.view(subject{src, value})
	}
	if field.Kind() != reflect.Slice {
		if (field.Kind() == reflect.Interface || field.Kind() == reflect.Pointer) && field.IsNil() {
			return nil
		}
		return field.Interface()
	}
	views := []any{}
	for i := 0; i < field.Len(); i++ {
		views = append(views, r.fieldView(src, field.Index(i)))
	}
	return views
}

// addNames gives qualified identifiers the Name and Path that dst's identifiers have, selectors a Name, and calls
// the arguments that earlier advice has appended.
func (r *rendering) addNames(v view, of subject) {
	switch node := of.node.(type) {
	case *ast.CallExpr:
		for _, appended := range of.src.appended[node] {
			v["Args"] = append(v["Args"].([]any), r.view(appended))
		}
	case *ast.Ident:
		v["Path"] = ""
	case *ast.SelectorExpr:
		v["Name"] = node.Sel.Name
		if qualifier, ok := node.X.(*ast.Ident); ok && of.src.file != nil {
			v["Path"] = of.src.file.importNamed(qualifier.Name)
		}
	}
}

// A functionView is what templates ask about the function around them.
type functionView struct {
	r    *rendering
	node ast.Node // nil outside of functions
}

var errNoFunction = fmt.Errorf("there is no function around the node")

// Name is the function's name, empty for literals.
func (f *functionView) Name() (string, error) {
	if f.node == nil {
		return "", errNoFunction
	}
	return functionName(f.node), nil
}

// QualifiedName is the function's name as Go's stack traces have it, with the package's name in front: main.f,
// main.(*T).m, main.f.func1.
func (f *functionView) QualifiedName() (string, error) {
	if f.node == nil {
		return "", errNoFunction
	}
	return qualifiedName(f.r.at), nil
}

// Receiver is the name of the method's receiver.
func (f *functionView) Receiver() (string, error) {
	if f.node == nil {
		return "", errNoFunction
	}
	declaration, ok := f.node.(*ast.FuncDecl)
	if !ok || declaration.Recv == nil {
		return "", fmt.Errorf("the function is not a method")
	}
	return f.at(expand(declaration.Recv), 0, "receiver")
}

// Argument is the name of the parameter at an index.
func (f *functionView) Argument(index int) (string, error) {
	return f.at(f.signature().parameters, index, "argument")
}

// Result is the name of the result at an index.
func (f *functionView) Result(index int) (string, error) {
	return f.at(f.signature().results, index, "result")
}

// ArgumentOfType is the name of the first parameter of a type, or empty.
func (f *functionView) ArgumentOfType(name string) (string, error) {
	return f.find(f.signature().parameters, name, "argument", false, false)
}

// ResultOfType is the name of the first result of a type, or empty.
func (f *functionView) ResultOfType(name string) (string, error) {
	return f.find(f.signature().results, name, "result", false, false)
}

// ArgumentThatImplements is the name of the first parameter that is or implements an interface, or empty.
func (f *functionView) ArgumentThatImplements(name string) (string, error) {
	return f.find(f.signature().parameters, name, "argument", true, false)
}

// ResultThatImplements is the name of the first result that is or implements an interface, or empty.
func (f *functionView) ResultThatImplements(name string) (string, error) {
	return f.find(f.signature().results, name, "result", true, false)
}

// LastResultThatImplements is the name of the last result that is or implements an interface, or empty.
func (f *functionView) LastResultThatImplements(name string) (string, error) {
	return f.find(f.signature().results, name, "result", true, true)
}

// FinalResultImplements tells whether the very last result is or implements an interface.
func (f *functionView) FinalResultImplements(name string) (bool, error) {
	wanted, err := parseTypeName(name)
	results := f.signature().results
	if err != nil || len(results) == 0 {
		return false, err
	}
	final := results[len(results)-1]
	return final.is(f.r.at, wanted) || final.implements(f.r.at, wanted), nil
}

func (f *functionView) signature() signature { return f.r.at.signature() }

// find looks for a parameter of exactly the type first, then for one that implements it.
func (f *functionView) find(fields []parameter, text, use string, implementing, last bool) (string, error) {
	name, err := parseTypeName(text)
	if err != nil {
		return "", err
	}
	if last {
		fields = reversed(fields)
	}
	for _, field := range fields {
		if field.is(f.r.at, name) {
			return f.r.nameOf(field, use), nil
		}
	}
	for _, field := range fields {
		if implementing && field.implements(f.r.at, name) {
			return f.r.nameOf(field, use), nil
		}
	}
	return "", nil
}

func reversed(fields []parameter) []parameter {
	var result []parameter
	for i := len(fields) - 1; i >= 0; i-- {
		result = append(result, fields[i])
	}
	return result
}

func (f *functionView) at(fields []parameter, index int, use string) (string, error) {
	if f.node == nil {
		return "", errNoFunction
	}
	if index < 0 || index >= len(fields) {
		return "", fmt.Errorf("there is no %s %d: the function has %d", use, index, len(fields))
	}
	return f.r.nameOf(fields[index], use), nil
}

// nameOf is the parameter's name; one that has none is given one once the rendering succeeds.
func (r *rendering) nameOf(p parameter, use string) string {
	if p.name != nil && p.name.Name != "_" {
		return p.name.Name
	}
	name := fmt.Sprintf("__%s__%d", use, p.index)
	if r.names[p.list] == nil {
		r.names[p.list] = map[int]string{}
	}
	r.names[p.list][p.index] = name
	return name
}
