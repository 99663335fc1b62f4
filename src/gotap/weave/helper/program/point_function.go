package main

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

// A function join point is a declaration or a literal that fulfils all options.
type function []functionOption

// A functionOption is one condition on a function.
type functionOption struct {
	inPackage func(*target) verdict
	inFile    func(*file) verdict
	holds     func(place) bool
}

func compileFunction(j *JoinPoint) (point, error) {
	var options function
	for _, option := range j.Options {
		compiled, err := compileOption(option)
		if err != nil {
			return nil, err
		}
		if compiled.inPackage == nil {
			compiled.inPackage = func(*target) verdict { return verdict{tri: unknown} }
		}
		if compiled.inFile == nil {
			compiled.inFile = func(*file) verdict { return verdict{tri: unknown} }
		}
		options = append(options, compiled)
	}
	return options, nil
}

func compileOption(o *FunctionOption) (functionOption, error) {
	switch o.Kind {
	case "name":
		return functionOption{
			inFile: func(f *file) verdict { return f.mayHold(o.Name) },
			holds:  func(at place) bool { return functionName(at.node) == o.Name },
		}, nil
	case "symbol-pattern":
		return compileSymbolPattern(o.Pattern), nil
	case "directive":
		return functionOption{inFile: directive{o.Name}.inFile, holds: directive{o.Name}.matches}, nil
	case "receiver":
		if o.Type != "" {
			return compileReceiver(o.Type)
		}
		return functionOption{holds: func(at place) bool { return (receiverOf(at.node) != nil) == o.Value }}, nil
	case "signature", "signature-contains":
		return compileSignature(o)
	case "result-implements", "final-result-implements", "argument-implements":
		return compileImplements(o)
	}
	return functionOption{}, fmt.Errorf("%q is not an option of function", o.Kind)
}

// compileSymbolPattern compares the function's name, as the symbol table has it, with a pattern: `*` stands for anything,
// but for that of `(*T)`. Literals have no such name.
func compileSymbolPattern(pattern string) functionOption {
	quoted := regexp.QuoteMeta(strings.ReplaceAll(pattern, "(*", "(\x00"))
	quoted = strings.ReplaceAll(strings.ReplaceAll(quoted, `\*`, ".*"), "\x00", `\*`)
	expression := regexp.MustCompile("^" + quoted + "$")
	slash := strings.LastIndexByte(pattern, '/') + 1
	path, name := pattern, pattern[strings.LastIndexByte(pattern, '.')+1:]
	if dot := strings.IndexByte(pattern[slash:], '.'); dot >= 0 {
		path = pattern[:slash+dot]
	}
	return functionOption{
		inPackage: func(t *target) verdict {
			if !strings.Contains(path, "*") && path != t.symbolPath() {
				return refuse("no package of the build that may be changed is called " + path)
			}
			return verdict{tri: unknown}
		},
		inFile: func(f *file) verdict {
			if strings.Contains(name, "*") {
				return verdict{tri: unknown}
			}
			return f.mayHold(name)
		},
		holds: func(at place) bool {
			declaration, ok := at.node.(*ast.FuncDecl)
			return ok && declaration.Body != nil &&
				expression.MatchString(at.file.target.symbolPath()+"."+declaredName(declaration))
		},
	}
}

// symbolPath is the package as the symbol table has it.
func (t *target) symbolPath() string {
	if t.Name == "main" {
		return "main"
	}
	return t.path
}

func compileReceiver(text string) (functionOption, error) {
	name, err := parseTypeName(text)
	if err != nil {
		return functionOption{}, err
	}
	base := name
	if name.op == "*" {
		base = name.elem
	}
	return functionOption{
		inPackage: func(t *target) verdict {
			if base.path != "" && base.path != t.path {
				return refuse("the package is not " + base.path)
			}
			return verdict{tri: unknown}
		},
		inFile: func(f *file) verdict { return f.mayHold(base.name) },
		holds:  func(at place) bool { return receiverIs(receiverOf(at.node), name, base) },
	}, nil
}

// receiverIs compares as text: a receiver's type is always declared in the package, type parameters do not count.
func receiverIs(receiver *ast.Field, name, base *typeName) bool {
	if receiver == nil {
		return false
	}
	t := unparen(receiver.Type)
	star, isPointer := t.(*ast.StarExpr)
	if isPointer != (name.op == "*") {
		return false
	}
	if isPointer {
		t = unparen(star.X)
	}
	identifier, ok := uninstantiated(t).(*ast.Ident)
	return ok && identifier.Name == base.name
}

func compileSignature(o *FunctionOption) (functionOption, error) {
	args, err := parseTypeNames(o.Args)
	if err != nil {
		return functionOption{}, err
	}
	returns, err := parseTypeNames(o.Returns)
	if err != nil {
		return functionOption{}, err
	}
	var paths []string
	for _, name := range append(append([]*typeName{}, args...), returns...) {
		paths = append(paths, name.paths()...)
	}
	if o.Kind == "signature" {
		return functionOption{
			inPackage: func(t *target) verdict { return t.mayKnow(paths) },
			holds: func(at place) bool {
				s := at.signature()
				return sameTypes(at, s.parameters, args) && sameTypes(at, s.results, returns)
			},
		}, nil
	}
	return functionOption{holds: func(at place) bool {
		s := at.signature()
		return anyType(at, s.results, returns) || anyType(at, s.parameters, args)
	}}, nil
}

func parseTypeNames(texts []string) ([]*typeName, error) {
	var names []*typeName
	for _, text := range texts {
		name, err := parseTypeName(text)
		if err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	return names, nil
}

func sameTypes(at place, fields []parameter, names []*typeName) bool {
	if len(fields) != len(names) {
		return false
	}
	for i, field := range fields {
		if !field.is(at, names[i]) {
			return false
		}
	}
	return true
}

func anyType(at place, fields []parameter, names []*typeName) bool {
	for _, field := range fields {
		for _, name := range names {
			if field.is(at, name) {
				return true
			}
		}
	}
	return false
}

func compileImplements(o *FunctionOption) (functionOption, error) {
	name, err := parseTypeName(o.Type)
	if err != nil {
		return functionOption{}, err
	}
	return functionOption{holds: func(at place) bool {
		s := at.signature()
		fields := s.results
		switch o.Kind {
		case "argument-implements":
			fields = s.parameters
		case "final-result-implements":
			fields = fields[max(len(fields)-1, 0):]
		}
		for _, field := range fields {
			if field.is(at, name) || field.implements(at, name) {
				return true
			}
		}
		return false
	}}, nil
}

// mayKnow asks whether the package depends on all these packages; types of others cannot appear in it.
func (t *target) mayKnow(paths []string) verdict {
	known := t.loader.dependencies(t.ImportPath)
	for _, path := range paths {
		if !known[path] && path != t.path {
			return refuse("no package of the build that may be changed uses " + path)
		}
	}
	return verdict{tri: unknown}
}

func (fn function) inPackage(t *target) verdict {
	sum := verdict{tri: unknown}
	for _, option := range fn {
		sum = both(sum, option.inPackage(t))
	}
	return sum
}

func (fn function) inFile(f *file) verdict {
	sum := verdict{tri: unknown}
	for _, option := range fn {
		sum = both(sum, option.inFile(f))
	}
	return sum
}

func (fn function) matches(at place) bool {
	switch at.node.(type) {
	case *ast.FuncDecl, *ast.FuncLit:
	default:
		return false
	}
	for _, option := range fn {
		if !option.holds(at) {
			return false
		}
	}
	return true
}

// functionName is a declaration's name; literals have none.
func functionName(node ast.Node) string {
	if declaration, ok := node.(*ast.FuncDecl); ok {
		return declaration.Name.Name
	}
	return ""
}

func receiverOf(node ast.Node) *ast.Field {
	declaration, ok := node.(*ast.FuncDecl)
	if !ok || declaration.Recv == nil || len(declaration.Recv.List) == 0 {
		return nil
	}
	return declaration.Recv.List[0]
}

func unparen(expr ast.Expr) ast.Expr {
	for {
		parenthesised, ok := expr.(*ast.ParenExpr)
		if !ok {
			return expr
		}
		expr = parenthesised.X
	}
}

// uninstantiated is a generic type or function without its type arguments.
func uninstantiated(expr ast.Expr) ast.Expr {
	switch expr := expr.(type) {
	case *ast.IndexExpr:
		return expr.X
	case *ast.IndexListExpr:
		return expr.X
	}
	return expr
}
