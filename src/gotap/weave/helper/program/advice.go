package main

import (
	"fmt"
	"go/ast"
	"sort"
	"strings"
)

// An advising is one advice of an aspect, made ready.
type advising struct {
	*Advice
	aspect   *Aspect
	index    int
	template *compiledTemplate
	values   []*compiledTemplate
	name     *typeName
}

func (a *advising) origin() origin { return origin{a.aspect.ID, a.index} }

// defaultNamespace sorts behind all others.
const defaultNamespace = "\U0010ffff"

// sortAdvice orders what meets at one node: by namespace, then order, then definition, which is the order given.
func sortAdvice(list []*advising) {
	namespace := func(a *advising) string {
		if a.Namespace == "" {
			return defaultNamespace
		}
		return a.Namespace
	}
	sort.SliceStable(list, func(i, j int) bool {
		if a, b := namespace(list[i]), namespace(list[j]); a != b {
			return a < b
		}
		return list[i].Order < list[j].Order
	})
}

// An application is all advice at one node: each builds on what the ones before have made of it.
type application struct {
	at      place
	subject subject
	span    span                 // where in the file the subject stands
	claimed map[string]*advising // what only one advice may do, by kind
}

func newApplication(at place) *application {
	a := &application{at: at, claimed: map[string]*advising{}}
	var node ast.Node = at.node
	if pair, ok := node.(*ast.KeyValueExpr); ok {
		node = pair.Value
	}
	a.subject = subject{at.file.source, node}
	a.span = at.file.span(node)
	return a
}

func (a *application) rendering(t *compiledTemplate, by *advising) *rendering {
	return &rendering{template: t, at: a.at, subject: a.subject, by: by.origin(),
		pieces: a.at.file.source.content(a.span), names: map[*ast.FieldList]map[int]string{}}
}

// apply does one advice. What it says about nodes that do not fit is part of the rule's error.
func (a *application) apply(by *advising) error {
	switch by.Kind {
	case "prepend-statements":
		return a.prepend(by)
	case "wrap-expression":
		return a.wrap(by)
	case "append-args":
		return a.appendArguments(by)
	case "replace-function":
		return a.replaceFunction(by)
	case "assign-value":
		return a.assign(by)
	case "add-struct-field":
		return a.addField(by)
	case "add-blank-import":
		return a.at.file.addBlankImport(by.Path, by.origin())
	case "inject-declarations":
		return a.declare(by)
	case "insert-before", "insert-after":
		return a.insert(by)
	}
	return fmt.Errorf("%q is not an advice", by.Kind)
}

// unfit is the error of advice at a node of the wrong kind.
func (a *application) unfit(wanted string) error {
	return fmt.Errorf("the advice applies to %s, but the join point matches %s", wanted, describe(a.at))
}

// claim reserves what two advices cannot both do to one node.
func (a *application) claim(by *advising) error {
	if other := a.claimed[by.Kind]; other != nil {
		return fmt.Errorf("%s of %q and of %q meet at one place: only one of them can have its way (%s:%d and %s:%d)",
			by.Kind, other.aspect.ID, by.aspect.ID, other.aspect.File, other.Line, by.aspect.File, by.Line)
	}
	a.claimed[by.Kind] = by
	return nil
}

func (a *application) prepend(by *advising) error {
	block, ok := a.at.node.(*ast.BlockStmt)
	if !ok {
		return a.unfit("blocks")
	}
	r := a.rendering(by.template, by)
	made, err := r.statements()
	if err != nil {
		return err
	}
	if len(made.file.Decls) != 1 {
		return fmt.Errorf("the template must yield statements, not declarations")
	}
	if len(made.file.Decls[0].(*ast.FuncDecl).Body.List) == 0 {
		return nil
	}
	r.commit()
	pieces := append([]piece{{text: "{", origin: by.origin()}}, made.pieces()...)
	pieces = append(pieces, piece{text: "};", origin: by.origin()})
	a.at.file.source.insertFirst(a.at.file.offset(block.Lbrace)+1, pieces)
	return a.at.file.target.requireLanguage(by.template, by)
}

func (a *application) wrap(by *advising) error {
	original, ok := a.subject.node.(ast.Expr)
	if !ok {
		return a.unfit("expressions")
	}
	if _, isPair := original.(*ast.KeyValueExpr); isPair {
		return a.unfit("expressions")
	}
	r := a.rendering(by.template, by)
	made, err := r.expression()
	if err != nil {
		return err
	}
	r.commit()
	pieces := made.pieces()
	if a.needsParentheses(original, made) {
		pieces = parenthesised(pieces, by.origin())
	}
	a.at.file.source.replaced[a.span] = pieces
	a.subject = subject{made.src, made.expr}
	return a.at.file.target.requireLanguage(by.template, by)
}

// needsParentheses tells whether the new expression would fall apart, or be read as a block, where the old one stood.
func (a *application) needsParentheses(original ast.Expr, made fragment) bool {
	if selector, ok := made.expr.(*ast.SelectorExpr); ok && made.src.replaced[made.src.spanOf(selector)] != nil {
		return false // it is the old expression itself
	}
	_, wasLiteral := original.(*ast.CompositeLit)
	if _, isLiteral := made.expr.(*ast.CompositeLit); isLiteral && !wasLiteral {
		return true
	}
	operand, ok := a.at.node.(ast.Expr)
	return ok && a.at.parent != nil && isLoose(made.expr) && binds(a.at.parent.node, operand)
}

// insert puts statements before or behind a call that is a statement of its own.
func (a *application) insert(by *advising) error {
	statement, ok := a.at.parent.node.(*ast.ExprStmt)
	if !ok || !inList(a.at.parent.parent.node) {
		return a.unfit("calls that are statements")
	}
	r := a.rendering(by.template, by)
	made, err := r.statements()
	if err != nil {
		return err
	}
	r.commit()
	where, src := a.at.file.span(statement), a.at.file.source
	semicolon := piece{text: "; ", origin: by.origin()}
	if by.Kind == "insert-before" {
		src.insertFirst(where.start, append(made.pieces(), semicolon))
	} else {
		src.inserts[where.end] = append(append(src.inserts[where.end], semicolon), made.pieces()...)
	}
	return a.at.file.target.requireLanguage(by.template, by)
}

// inList tells whether a node holds a list of statements.
func inList(node ast.Node) bool {
	switch node.(type) {
	case *ast.BlockStmt, *ast.CaseClause, *ast.CommClause:
		return true
	}
	return false
}

func (a *application) call() (*ast.CallExpr, error) {
	call, ok := a.subject.node.(*ast.CallExpr)
	if !ok {
		return nil, a.unfit("calls")
	}
	return call, nil
}

// appendArguments adds arguments behind the last. A call with `...` gets a copy of its slice with the new elements:
// the caller's slice stays what it is.
func (a *application) appendArguments(by *advising) error {
	call, err := a.call()
	if err != nil {
		return err
	}
	src := a.subject.src
	var added []piece
	var appended []subject
	for i, value := range by.values {
		r := a.rendering(value, by)
		made, err := r.expression()
		if err != nil {
			return err
		}
		r.commit()
		appended = append(appended, subject{made.src, made.expr})
		if i > 0 || len(call.Args) > 0 || len(src.appended[call]) > 0 {
			added = append(added, piece{text: ", ", origin: by.origin()})
		}
		added = append(added, made.pieces()...)
		if err := a.at.file.target.requireLanguage(value, by); err != nil {
			return err
		}
	}
	if call.Ellipsis.IsValid() {
		return a.appendToSlice(by, src, src.spanOf(call.Args[len(call.Args)-1]), added)
	}
	offset := src.token.Offset(call.Lparen) + 1
	if n := len(call.Args); n > 0 {
		offset = src.spanOf(call.Args[n-1]).end
	}
	src.inserts[offset] = append(src.inserts[offset], added...)
	src.appended[call] = append(src.appended[call], appended...)
	return nil
}

func (a *application) appendToSlice(by *advising, src *source, last span, added []piece) error {
	element, err := a.at.file.typeText(by.name, by.origin())
	if err != nil {
		return err
	}
	pieces := []piece{{text: "append(append([]" + element + "(nil), ", origin: by.origin()}}
	pieces = append(pieces, src.content(last)...)
	pieces = append(pieces, piece{text: "...)", origin: by.origin()})
	pieces = append(pieces, added...)
	src.replaced[last] = append(pieces, piece{text: ")", origin: by.origin()})
	return nil
}

// typeText writes a type of a rule in the file, importing what it names.
func (f *file) typeText(name *typeName, by origin) (string, error) {
	for _, path := range name.paths() {
		if _, err := f.importAs(path, aliasFor(path), by); err != nil {
			return "", err
		}
	}
	return name.text(func(path string) string { return f.names[path] }), nil
}

func (a *application) replaceFunction(by *advising) error {
	call, err := a.call()
	if err != nil {
		return err
	}
	if err := a.claim(by); err != nil {
		return err
	}
	path, name := splitSymbol(by.Function)
	if path != "" {
		qualifier, err := a.at.file.importAs(path, aliasFor(path), by.origin())
		if err != nil {
			return err
		}
		if qualifier != "" {
			name = qualifier + "." + name
		}
	}
	src := a.subject.src
	src.replaced[src.spanOf(uninstantiated(unparen(call.Fun)))] = []piece{{text: name, origin: by.origin()}}
	return nil
}

func (a *application) assign(by *advising) error {
	spec, ok := a.at.node.(*ast.ValueSpec)
	if !ok {
		return a.unfit("declarations of variables or constants")
	}
	if err := a.claim(by); err != nil {
		return err
	}
	r := a.rendering(by.template, by)
	made, err := r.expression()
	if err != nil {
		return err
	}
	r.commit()
	var pieces []piece
	for i := range spec.Names {
		if i > 0 {
			pieces = append(pieces, piece{text: ", ", origin: by.origin()})
		}
		pieces = append(pieces, made.pieces()...)
	}
	source := a.at.file.source
	if n := len(spec.Values); n > 0 {
		source.replaced[span{source.spanOf(spec.Values[0]).start, source.spanOf(spec.Values[n-1]).end}] = pieces
	} else {
		offset := source.spanOf(spec).end
		source.inserts[offset] = append(source.inserts[offset], piece{text: " = ", origin: by.origin()})
		source.inserts[offset] = append(source.inserts[offset], pieces...)
	}
	return a.at.file.target.requireLanguage(by.template, by)
}

func (a *application) addField(by *advising) error {
	spec, ok := a.at.node.(*ast.TypeSpec)
	if !ok {
		return a.unfit("struct types")
	}
	structure, ok := spec.Type.(*ast.StructType)
	if !ok {
		return a.unfit("struct types")
	}
	text, err := a.at.file.typeText(by.name, by.origin())
	if err != nil {
		return err
	}
	file := a.at.file
	if n := len(structure.Fields.List); n > 0 {
		file.source.insert(file.span(structure.Fields.List[n-1]).end, "; "+by.Name+" "+text, by.origin())
	} else {
		file.source.insert(file.offset(structure.Fields.Opening)+1, by.Name+" "+text+";", by.origin())
	}
	return nil
}

// declare adds declarations at the end of the file; the same text goes into a package only once.
func (a *application) declare(by *advising) error {
	r := a.rendering(by.template, by)
	made, err := r.declarations()
	if err != nil {
		return err
	}
	file := a.at.file
	key := fmt.Sprint(by.aspect.ID, " ", by.index, " ", string(made.src.text))
	if len(made.file.Decls) == 0 || file.target.declared[key] {
		return nil
	}
	file.target.declared[key] = true
	r.commit()
	for _, declaration := range made.file.Decls {
		if function, ok := declaration.(*ast.FuncDecl); ok && function.Body == nil {
			file.target.bodiless = true
		}
	}
	end := len(file.text)
	pieces := append(made.pieces(), piece{text: "\n", origin: by.origin()})
	if end > 0 && file.text[end-1] != '\n' && len(file.source.inserts[end]) == 0 {
		pieces = append([]piece{{text: "\n", origin: by.origin()}}, pieces...)
	}
	file.source.inserts[end] = append(file.source.inserts[end], pieces...)
	for _, link := range by.Links {
		file.target.linked = append(file.target.linked, Reference{file.target.ImportPath, link, by.aspect.ID})
	}
	if strings.Contains(string(made.src.text), "//go:linkname") {
		if err := file.addBlankImport("unsafe", by.origin()); err != nil {
			return err
		}
	}
	return file.target.requireLanguage(by.template, by)
}

// requireLanguage remembers the newest language version that woven text of the package asks for.
func (t *target) requireLanguage(tpl *compiledTemplate, by *advising) error {
	if tpl.Lang == "" {
		return nil
	}
	wanted := languageVersion(tpl.Lang)
	if wanted == "" {
		return fmt.Errorf("%q is not a language version like go1.21", tpl.Lang)
	}
	if minorOf(wanted) > minorOf(t.lang.Lang) && (t.Lang == "" || minorOf(wanted) > minorOf(t.Lang)) {
		t.lang = Language{t.ImportPath, wanted, by.aspect.ID}
	}
	return nil
}

// minorOf is the 21 of go1.21, 0 for what is no version.
func minorOf(lang string) (minor int) {
	_, _ = fmt.Sscanf(lang, "go1.%d", &minor)
	return minor
}
