package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"strconv"
	"strings"
	"text/template"
)

// A compiledTemplate is an advice's template, read once.
type compiledTemplate struct {
	*Template
	parsed *template.Template
}

var templateLine = regexp.MustCompile(`^template: [^:]*:(\d+):(?:\d+:)? ?`)

// compileTemplate reads a template. The error's line is relative to the template's first, 0 when it is unknown.
func compileTemplate(t *Template, version string) (*compiledTemplate, int, error) {
	functions := template.FuncMap{"Version": func() string { return version }}
	parsed, err := template.New("template").Funcs(functions).Option("missingkey=error").Parse(t.Text)
	if err != nil {
		return nil, lineOf(err), fmt.Errorf("%s", templateLine.ReplaceAllString(err.Error(), ""))
	}
	return &compiledTemplate{t, parsed}, 0, nil
}

func lineOf(err error) int {
	found := templateLine.FindStringSubmatch(err.Error())
	if found == nil {
		return 0
	}
	line, _ := strconv.Atoi(found[1])
	return line - 1
}

// A subject is what a template is about: the node of a place, or what earlier advice has made of it.
type subject struct {
	src  *source
	node ast.Node
}

// A hole is where a template moves text of the program to.
type hole struct {
	subject
	pieces []piece
}

const holePrefix = "gotap_hole_"

// A rendering is one execution of a template. What it asks of the file (names, imports) is done only when it
// succeeds.
type rendering struct {
	template *compiledTemplate
	at       place
	subject  subject
	pieces   []piece // what `.` stands for
	by       origin
	holes    []hole
	names    map[*ast.FieldList]map[int]string
}

// A fragment is Go text that a template has produced, all of it or one expression.
type fragment struct {
	src  *source
	span span
	expr ast.Expr
	file *ast.File
}

func (f fragment) pieces() []piece { return []piece{{src: f.src, span: f.span}} }

const (
	statementsBefore = "package _; func _() { "
	statementsAfter  = " }"
	declarationsHead = "package _; "
)

// execute runs the template.
func (r *rendering) execute() (string, error) {
	var out strings.Builder
	if err := r.template.parsed.Execute(&out, &dot{r}); err != nil {
		return "", fmt.Errorf("%s", templateLine.ReplaceAllString(err.Error(), ""))
	}
	return out.String(), nil
}

// statements renders statements; the fragment is empty when there are none.
func (r *rendering) statements() (fragment, error) {
	text, err := r.execute()
	if err != nil {
		return fragment{}, err
	}
	line, err := oneLine(text)
	if err != nil {
		return fragment{}, fmt.Errorf("the template yields text that is not Go: %w: %s", err, text)
	}
	return r.parse(statementsBefore, line, statementsAfter)
}

// expression renders exactly one expression.
func (r *rendering) expression() (fragment, error) {
	made, err := r.statements()
	if err != nil {
		return made, err
	}
	body := made.file.Decls[0].(*ast.FuncDecl).Body.List
	if len(body) != 1 || len(made.file.Decls) != 1 {
		return made, fmt.Errorf("the template must yield one expression, not %d statements", len(body))
	}
	statement, ok := body[0].(*ast.ExprStmt)
	if !ok {
		return made, fmt.Errorf("the template must yield an expression, not a statement")
	}
	made.expr = statement.X
	made.span = made.src.spanOf(statement.X)
	return made, nil
}

// declarations renders declarations, on one line unless compiler directives need lines of their own.
func (r *rendering) declarations() (fragment, error) {
	text, err := r.execute()
	if err != nil {
		return fragment{}, err
	}
	head := declarationsHead
	if strings.Contains(text, "//go:") {
		head = "package _\n"
	} else if text, err = oneLine(text); err != nil {
		return fragment{}, fmt.Errorf("the template yields text that is not Go: %w", err)
	}
	made, err := r.parse(head, strings.TrimSpace(text), "\n")
	if err == nil && len(made.file.Imports) > 0 {
		err = fmt.Errorf("the template holds an import declaration: packages are named under `imports`")
	}
	return made, err
}

// parse makes a source of rendered text.
func (r *rendering) parse(before, text, after string) (fragment, error) {
	src := newSource([]byte(before+text+after), nil)
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, "", src.text, parser.SkipObjectResolution)
	if err != nil {
		message := regexp.MustCompile(`^\d+:\d+: `).ReplaceAllString(err.Error(), "")
		return fragment{}, fmt.Errorf("the template yields text that is not Go: %s: %s", message, r.shown(text))
	}
	src.token = set.File(file.Pos())
	src.origin = r.by
	src.holes = r.holes
	made := fragment{src: src, span: span{len(before), len(before) + len(text)}, file: file}
	return made, r.resolve(made)
}

// shown is rendered text with the program's text in the holes.
func (r *rendering) shown(text string) string {
	for i := len(r.holes) - 1; i >= 0; i-- {
		var content strings.Builder
		for _, l := range flatten(r.holes[i].pieces) {
			content.WriteString(l.text)
			content.Write(r.at.file.text[l.span.start:l.span.end])
		}
		text = strings.ReplaceAll(text, "_."+holePrefix+strconv.Itoa(i), content.String())
	}
	return text
}

// resolve fills holes and turns names of the template's imports into names of the file's.
func (r *rendering) resolve(made fragment) error {
	var stack []ast.Node
	var failed error
	ast.Inspect(made.file, func(node ast.Node) bool {
		if node == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if selector, ok := node.(*ast.SelectorExpr); ok && failed == nil {
			failed = r.resolveSelector(made.src, selector, stack[len(stack)-1])
		}
		stack = append(stack, node)
		return true
	})
	return failed
}

func (r *rendering) resolveSelector(src *source, selector *ast.SelectorExpr, parent ast.Node) error {
	qualifier, ok := selector.X.(*ast.Ident)
	if !ok {
		return nil
	}
	if filled := r.holeNamed(selector); filled != nil {
		pieces := filled.pieces
		if expr, isExpr := filled.node.(ast.Expr); isExpr && binds(parent, selector) && isLoose(expr) {
			pieces = parenthesised(pieces, r.by)
		}
		src.replaced[src.spanOf(selector)] = pieces
		return nil
	}
	path, found := r.template.Imports[qualifier.Name]
	if !found {
		return nil
	}
	name, err := r.at.file.importAs(path, qualifier.Name, r.by)
	if err != nil {
		return err
	}
	if name == "" { // the package itself
		dot := span{src.token.Offset(qualifier.Pos()), src.token.Offset(selector.Sel.Pos())}
		src.replaced[dot] = []piece{{text: " ", origin: r.by}}
		return nil
	}
	src.replaced[src.spanOf(qualifier)] = []piece{{text: name, origin: r.by}}
	return nil
}

func (r *rendering) holeNamed(selector *ast.SelectorExpr) *hole {
	qualifier, ok := selector.X.(*ast.Ident)
	digits, found := strings.CutPrefix(selector.Sel.Name, holePrefix)
	if !ok || !found || qualifier.Name != "_" {
		return nil
	}
	if i, err := strconv.Atoi(digits); err == nil && i < len(r.holes) {
		return &r.holes[i]
	}
	return nil
}

// placeholder writes a new hole.
func (r *rendering) placeholder(of subject, pieces []piece) string {
	r.holes = append(r.holes, hole{of, pieces})
	return "_." + holePrefix + strconv.Itoa(len(r.holes)-1)
}

func parenthesised(pieces []piece, by origin) []piece {
	result := append([]piece{{text: "(", origin: by}}, pieces...)
	return append(result, piece{text: ")", origin: by})
}

// binds tells whether a parent binds an operand tighter than loose expressions hold together.
func binds(parent ast.Node, operand ast.Expr) bool {
	switch parent := parent.(type) {
	case *ast.SelectorExpr, *ast.StarExpr, *ast.UnaryExpr, *ast.BinaryExpr, *ast.TypeAssertExpr:
		return true
	case *ast.CallExpr:
		return parent.Fun == operand
	case *ast.IndexExpr:
		return parent.X == operand
	case *ast.SliceExpr:
		return parent.X == operand
	}
	return false
}

// isLoose tells whether an expression needs parentheses to be an operand.
func isLoose(expr ast.Expr) bool {
	switch expr.(type) {
	case *ast.BinaryExpr, *ast.UnaryExpr, *ast.StarExpr, *ast.FuncType, *ast.ChanType:
		return true
	}
	return false
}
