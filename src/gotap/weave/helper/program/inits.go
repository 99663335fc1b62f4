package main

import (
	"fmt"
	"go/ast"
	"strings"
)

// Functions called init are named by their number in the package, too: main.init.0, and main.init.0.func1 in it. One
// that a rule declares becomes a function with a name of its own, which the program's next init calls first. Where none
// follows it stays what it is.

// renameInits registers these changes in the woven text of a package's files.
func (p *wovenPackage) renameInits() {
	var waiting []initOfRule
	count := map[*wovenFile]int{}
	for _, f := range p.files {
		if f.tree == nil {
			continue
		}
		for _, declaration := range f.tree.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok || function.Recv != nil || function.Name.Name != "init" || function.Body == nil {
				continue
			}
			if f.isWritten(function.Pos()) {
				count[f]++
				name := fmt.Sprintf("gotap_rule_%s_init_%d", nameOfFile(f.name), count[f])
				waiting = append(waiting, initOfRule{f, function, name})
				continue
			}
			waiting = f.callFirst(function, waiting)
		}
	}
}

// An initOfRule is a function init of a rule's text, with the name that it gets.
type initOfRule struct {
	file     *wovenFile
	function *ast.FuncDecl
	name     string
}

// callFirst makes a function call those that wait, and returns those that still do: files that all variants of a
// package share are the same in all of them, so no file of tests can be asked to call what another file declares.
func (f *wovenFile) callFirst(function *ast.FuncDecl, waiting []initOfRule) (left []initOfRule) {
	for _, one := range waiting {
		if isTest(f.name) && !isTest(one.file.name) {
			left = append(left, one)
			continue
		}
		there := one.file.woven
		where := there.spanOf(one.function)
		by, _ := there.writer(where.start + 1)
		there.insert(where.start, "\n//go:noinline\n", by)
		there.replaced[there.spanOf(one.function.Name)] = []piece{{text: one.name, origin: by}}
		f.woven.insert(f.woven.token.Offset(function.Body.Lbrace)+1, one.name+"();", by)
	}
	return left
}

func isTest(name string) bool { return strings.HasSuffix(name, "_test.go") }
