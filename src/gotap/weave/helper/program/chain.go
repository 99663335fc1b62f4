package main

import (
	"bytes"
	"go/ast"
	"go/token"
	"strings"
	"unicode"
)

// A chain is a node and the way to it from its file.
type chain struct {
	node   ast.Node
	parent *chain
}

// A place is a node of a target's file.
type place struct {
	*chain
	file *file
}

// up is the parent's place; ok is false at the file itself.
func (p place) up() (parent place, ok bool) {
	return place{p.parent, p.file}, p.parent != nil
}

// enclosing is the nearest function around the place, the place itself included, as declaration or literal.
func (p place) enclosing() ast.Node {
	for c := p.chain; c != nil; c = c.parent {
		switch c.node.(type) {
		case *ast.FuncDecl, *ast.FuncLit:
			return c.node
		}
	}
	return nil
}

// comments are the line comments that stand before the node: those of the outermost node that begins at its place.
func (p place) comments() []string {
	if p.parent != nil && p.parent.node.Pos() == p.node.Pos() {
		return nil
	}
	return p.file.leading[p.file.offset(p.node.Pos())]
}

// leadingComments maps the offset of each token to the line comments before it that stand on lines of their own.
func leadingComments(text []byte, groups []*ast.CommentGroup, offset func(token.Pos) int) map[int][]string {
	leading := map[int][]string{}
	for _, group := range groups {
		for _, comment := range group.List {
			start := offset(comment.Pos())
			if !strings.HasPrefix(comment.Text, "//") || !beginsLine(text, start) {
				continue
			}
			next := skipSpace(text, start)
			leading[next] = append(leading[next], comment.Text)
		}
	}
	return leading
}

func beginsLine(text []byte, offset int) bool {
	for offset--; offset >= 0; offset-- {
		switch text[offset] {
		case '\n':
			return true
		case ' ', '\t', '\r':
		default:
			return false
		}
	}
	return true
}

// skipSpace skips white space and comments.
func skipSpace(text []byte, offset int) int {
	for offset < len(text) {
		rest := text[offset:]
		switch {
		case bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0:
			offset++
		case bytes.HasPrefix(rest, []byte("//")):
			offset += lengthUntil(rest, "\n")
		case bytes.HasPrefix(rest, []byte("/*")):
			offset += lengthUntil(rest, "*/")
		default:
			return offset
		}
	}
	return offset
}

// lengthUntil is the length of the text up to and including its first end, or all of it.
func lengthUntil(text []byte, end string) int {
	if i := bytes.Index(text, []byte(end)); i >= 0 {
		return i + len(end)
	}
	return len(text)
}

var ignoreDirectives = []string{"gotap:ignore", "orchestrion:ignore", "dd:ignore"}

// ignored tells whether a comment excludes the node, and all within, from weaving.
func (p place) ignored() bool {
	for _, comment := range p.comments() {
		for _, name := range ignoreDirectives {
			if _, found := directiveText(comment, name); found {
				return true
			}
		}
	}
	return false
}

// directiveText is what follows a directive's name in a comment.
func directiveText(comment, name string) (arguments string, found bool) {
	rest, found := strings.CutPrefix(comment, "//"+name)
	if !found {
		return "", false
	}
	if rest != "" && !unicode.IsSpace([]rune(rest)[0]) {
		return "", false
	}
	return strings.TrimSpace(rest), true
}

// hasDirective tells whether a directive covers the node: a comment before it, or before a parent that hands
// directives down. Declarations do so to their specs; assignments to their right side, `:=` to its left as well;
// calls to what is called; sends to the value; defer, go, return and expression statements to all that they hold.
func (p place) hasDirective(name string) bool {
	for _, comment := range p.comments() {
		if _, found := directiveText(comment, name); found {
			return true
		}
	}
	parent, ok := p.up()
	return ok && handsDown(parent.node, p.node) && parent.hasDirective(name)
}

func handsDown(parent, node ast.Node) bool {
	if _, isSpec := node.(ast.Spec); isSpec {
		return true
	}
	switch parent := parent.(type) {
	case *ast.AssignStmt:
		return contains(parent.Rhs, node) || parent.Tok == token.DEFINE && contains(parent.Lhs, node)
	case *ast.CallExpr:
		return parent.Fun == node
	case *ast.SendStmt:
		return parent.Value == node
	case *ast.DeferStmt, *ast.ExprStmt, *ast.GoStmt, *ast.ReturnStmt:
		return true
	}
	return false
}

func contains(list []ast.Expr, node ast.Node) bool {
	for _, item := range list {
		if item == node {
			return true
		}
	}
	return false
}
