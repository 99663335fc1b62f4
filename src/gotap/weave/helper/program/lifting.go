package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// Lambda lifting. The compiler names function literals by their number in the function that holds them, or in the
// package outside of functions: one more, of a rule's text, would rename the user's in stack traces, profiles and
// runtime.FuncForPC (closureName in cmd/compile/internal/ir/func.go, Go 1.21 to 1.27). So literals of rules become
// methods, of a type that holds what they capture, at the end of the file:
//
//	defer func() { span.End(err) }()
//
//	defer (func())((gotap_rule_main_1{span, &err}).call)()
//
//	type gotap_rule_main_1 struct { span_ *Span; err_ *error }
//	func (gotap_rule gotap_rule_main_1) call() { gotap_rule.span_.End((*gotap_rule.err_)) }
//
// Method values take no numbers. Calls by defer and go that have arguments, or a receiver, do: they are numbered among
// themselves, and with the literals, but behind them, before Go 1.22. The user's literals within stay in the function
// that holds them, and are handed over. A literal stays as it is where what it captures or names cannot be written at
// package level.

// liftLiterals rewrites the literals of rules in a package that is known to compile.
func (w *weaving) liftLiterals(now *wovenPackage) {
	now.renameInits()
	lifted := map[*file][]leaf{}
	for _, f := range now.files {
		if f.tree == nil || f.file.tree == nil {
			continue
		}
		if leaves := now.lifted(f); leaves != nil {
			lifted[f.file] = leaves
		}
	}
	w.dropWrong(now, lifted)
	for f, leaves := range lifted {
		w.replaceEdits(f, w.edits(f, leaves))
	}
}

// dropWrong leaves files as they are that would not compile.
func (w *weaving) dropWrong(now *wovenPackage, lifted map[*file][]leaf) {
	for wrong := true; wrong && len(lifted) > 0; {
		wrong = false
		then := w.loader.checkWoven(now.target, func(f *file) []leaf {
			if leaves, found := lifted[f]; found {
				return leaves
			}
			return f.now()
		})
		known := countMessages(now.errors)
		for _, one := range then.errors {
			if known[one.Msg] > 0 {
				known[one.Msg]--
				continue
			}
			wrong = true
			if f, _ := then.fileOf(one.Pos); f != nil && lifted[f.file] != nil {
				delete(lifted, f.file)
			} else {
				clear(lifted)
			}
		}
	}
}

func (w *weaving) replaceEdits(f *file, by []Edit) {
	var kept []Edit
	for _, edit := range w.answer.Edits {
		if edit.Package != f.target.ImportPath || edit.File != f.name {
			kept = append(kept, edit)
		}
	}
	w.answer.Edits = append(kept, by...)
}

// A lifting is the work on one file.
type lifting struct {
	*wovenPackage
	*namer
	file         *wovenFile
	reassigned   map[types.Object]bool
	declarations []leaf
	count        int
}

// lifted is what a file is made of when all its literals of rules are lifted that can be; nil if nothing changes.
func (p *wovenPackage) lifted(f *wovenFile) []leaf {
	l := &lifting{wovenPackage: p, namer: newNamer(p, f.tree), file: f}
	for _, declaration := range f.tree.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok || !f.isWritten(function.Pos()) {
			l.walk(declaration, function)
		}
	}
	if len(f.woven.replaced)+len(f.woven.inserts) == 0 {
		return nil
	}
	l.addImports()
	leaves := f.woven.leaves(span{0, len(f.woven.text)}, true)
	if len(l.declarations) == 0 {
		return leaves
	}
	if last := f.woven.text[len(f.woven.text)-1]; last != '\n' {
		leaves = append(leaves, leaf{text: "\n", origin: l.declarations[0].origin})
	}
	return append(leaves, l.declarations...)
}

// walk lifts literals of rules below a node, the outermost ones; in a function, or in none.
func (l *lifting) walk(root ast.Node, function *ast.FuncDecl) {
	var stack []ast.Node
	ast.Inspect(root, func(node ast.Node) bool {
		if node == nil {
			stack = stack[:len(stack)-1]
			return true
		}
		if literal, ok := node.(*ast.FuncLit); ok && l.file.isWritten(literal.Pos()) {
			if one := l.study(literal, function, useOf(literal, stack)); one != nil {
				l.lift(one)
				for _, own := range one.own {
					l.walk(own.Body, function)
				}
				return false
			}
		}
		stack = append(stack, node)
		return true
	})
}

// A use is how a literal is used: called by `call`, or as a value if that is nil. `later`: the call is of defer or go.
type use struct {
	call  *ast.CallExpr
	later bool
}

// useOf tells how a literal is used; `stack`: the nodes around it.
func useOf(literal *ast.FuncLit, stack []ast.Node) use {
	at := len(stack) - 1
	for ; at >= 0; at-- {
		if _, ok := stack[at].(*ast.ParenExpr); !ok {
			break
		}
	}
	if at < 0 {
		return use{}
	}
	call, ok := stack[at].(*ast.CallExpr)
	if !ok || unparen(call.Fun) != literal {
		return use{}
	}
	if at > 0 {
		switch stack[at-1].(type) {
		case *ast.DeferStmt, *ast.GoStmt:
			return use{call, true}
		}
	}
	return use{call, false}
}

const receiver = "gotap_rule"

// lift declares what the literal does, and puts a use of that in its place.
func (l *lifting) lift(one *lifted) {
	l.count++
	woven := l.file.woven
	name := fmt.Sprintf("gotap_rule_%s_%d", nameOfFile(l.file.name), l.count)
	by, original := woven.writer(woven.spanOf(one.literal).start + 1)
	parameters, arguments := l.typeParameters(one)
	values, fields := l.handedOver(one, by)
	text, head := "", name+parameters
	if len(fields) > 0 {
		text = "type " + head + " struct{ " + strings.Join(fields, "; ") + " }\n"
		head = "(" + receiver + " " + name + arguments + ") call"
	}
	// Were it inlined, the compiler would count what literals come with the functions that it calls (before Go 1.27).
	body := span{woven.token.Offset(one.literal.Type.Params.Opening), woven.spanOf(one.literal).end}
	text += "//go:noinline\n" + l.file.directive(original) + "func " + head +
		l.file.placed(woven.leaves(body, true)) + "\n"
	l.declarations = append(l.declarations, leaf{text: text, origin: by})
	l.put(one, name+arguments, values, by)
}

// put replaces the literal, of whose declaration the name and what it is to have are given.
func (l *lifting) put(one *lifted, name string, values []piece, by origin) {
	woven := l.file.woven
	where := woven.spanOf(one.literal)
	before, behind := name, ""
	switch {
	case len(values) == 0:
	case one.isPlainLater():
		where = woven.spanOf(one.call.Fun)
		before, behind = "(func())(("+name+"{", "}).call)"
	case l.takesReceiver(one):
		// The place of a call is that of its parenthesis, which here stands on the line where the literal begins.
		where = span{woven.spanOf(one.call.Fun).start, woven.token.Offset(one.call.Lparen) + 1}
		before, behind = name+".call("+name+"{", "}"
		if len(one.call.Args) > 0 {
			behind += ", "
		}
	default:
		before, behind = "("+name+"{", "}).call"
	}
	site := append([]piece{{text: before, origin: by}}, values...)
	woven.replaced[where] = append(site, piece{text: behind, origin: by})
}

// isPlainLater tells whether the literal is called by defer or go as a function without arguments and results, for
// which the compiler makes no wrapper of its own.
func (one *lifted) isPlainLater() bool {
	values := one.literal.Type.Params.NumFields() + one.literal.Type.Results.NumFields()
	return one.later && values == 0 && len(one.own) == 0 && !one.parametric
}

// takesReceiver tells whether the receiver can be one more argument: it cannot beside one that is several values, and
// for the compiler a method expression that needs type parameters is a literal.
func (l *lifting) takesReceiver(one *lifted) bool {
	if one.call == nil || one.parametric {
		return false
	}
	if len(one.call.Args) != 1 {
		return true
	}
	_, isSeveral := l.info.TypeOf(one.call.Args[0]).(*types.Tuple)
	return !isSeveral
}

// handedOver is what the literal takes from around it, and the fields for that; in its text they take the place of it.
func (l *lifting) handedOver(one *lifted, by origin) (values []piece, fields []string) {
	woven := l.file.woven
	add := func(value piece, field string) {
		if len(fields) > 0 {
			values = append(values, piece{text: ", ", origin: by})
		}
		values, fields = append(values, value), append(fields, field)
	}
	for _, v := range one.captured {
		value, field := l.passed(v)
		add(piece{text: value, origin: by}, field)
	}
	for _, id := range one.mentions {
		woven.replaced[woven.spanOf(id)] = []piece{{text: l.reading(l.info.Uses[id]), origin: by}}
	}
	for i, own := range inOrder(woven, one.own) {
		name, where := fmt.Sprintf("gotap_literal_%d", i+1), woven.spanOf(own)
		add(piece{src: woven, span: where, plain: true, origin: by}, name+" "+l.text(l.info.TypeOf(own)))
		woven.replaced[where] = []piece{{text: receiver + "." + name, origin: by}}
	}
	return values, fields
}

// passed is how a variable is handed to a method, and the field that takes it.
func (l *lifting) passed(v *types.Var) (value, field string) {
	if l.isConstant(v) {
		return v.Name(), v.Name() + "_ " + l.text(v.Type())
	}
	return "&" + v.Name(), v.Name() + "_ *" + l.text(v.Type())
}

// reading is what stands in the method for a variable. Names of fields end in such a way that none is the method's.
func (l *lifting) reading(object types.Object) string {
	field := receiver + "." + object.Name() + "_"
	if v, ok := object.(*types.Var); ok && l.isConstant(v) {
		return field
	}
	return "(*" + field + ")"
}

// inOrder sorts literals as they stand in the file on disk.
func inOrder(woven *source, literals []*ast.FuncLit) []*ast.FuncLit {
	place := func(literal *ast.FuncLit) int {
		_, original := woven.writer(woven.spanOf(literal).start + 1)
		return original
	}
	sort.SliceStable(literals, func(i, j int) bool { return place(literals[i]) < place(literals[j]) })
	return literals
}

// typeParameters are those of the function around the literal, as they are declared and as they are handed on; empty
// if the literal needs none.
func (l *lifting) typeParameters(one *lifted) (declared, passed string) {
	if !one.parametric {
		return "", ""
	}
	var names, fields []string
	for _, p := range l.parametersOf(one.function) {
		names = append(names, p.Obj().Name())
		fields = append(fields, p.Obj().Name()+" "+l.text(p.Constraint()))
	}
	return "[" + strings.Join(fields, ", ") + "]", "[" + strings.Join(names, ", ") + "]"
}

func (l *lifting) addImports() {
	f := l.file
	for _, one := range l.added {
		text := fmt.Sprintf(";import %s %q", one.name, one.path)
		f.woven.insert(f.woven.token.Offset(f.tree.Name.End()), text, l.declarations[0].origin)
	}
}

var notInGoName = regexp.MustCompile(`[^A-Za-z0-9]`)

// nameOfFile is a part of names that no other file of the package has.
func nameOfFile(path string) string {
	base := strings.TrimSuffix(filepath.Base(path), ".go")
	return notInGoName.ReplaceAllStringFunc(base, func(c string) string {
		if c == "_" {
			return "__"
		}
		return fmt.Sprintf("_%x_", c)
	})
}

// placed is the text of leaves, each part of the user's with its own line and column.
func (f *file) placed(leaves []leaf) string {
	var out strings.Builder
	end := -1
	for _, l := range leaves {
		if l.text != "" {
			out.WriteString(l.text)
			end = -1
			continue
		}
		if l.span.start != end {
			out.WriteString(f.directive(l.span.start))
		}
		out.Write(f.text[l.span.start:l.span.end])
		end = l.span.end
	}
	return out.String()
}

func (f *file) directive(offset int) string {
	position := f.position(f.token.Pos(offset))
	return fmt.Sprintf("/*line :%d:%d*/", position.Line, position.Column)
}
