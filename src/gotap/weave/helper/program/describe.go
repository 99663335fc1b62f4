package main

import (
	"fmt"
	"go/ast"
	"go/types"
	"strings"
)

// describe says what a place is, in words of the language.
func describe(at place) string {
	switch node := at.node.(type) {
	case *ast.FuncDecl, *ast.FuncLit:
		return "function " + qualifiedName(at)
	case *ast.BlockStmt:
		return "body"
	case *ast.CallExpr:
		return "call of " + types.ExprString(node.Fun)
	case *ast.CompositeLit:
		if node.Type != nil {
			return "literal of " + types.ExprString(node.Type)
		}
		return "literal"
	case *ast.KeyValueExpr:
		return "field " + types.ExprString(node.Key)
	case *ast.TypeSpec:
		return "type " + node.Name.Name
	case *ast.ValueSpec:
		return "declaration of " + node.Names[0].Name
	case *ast.File:
		return "file"
	case ast.Expr:
		return "expression " + types.ExprString(node)
	}
	return strings.TrimPrefix(fmt.Sprintf("%T", at.node), "*ast.")
}

// qualifiedName names the function around a place as stack traces do: literals are numbered within the function that
// holds them. Outside of functions it is the package's name.
func qualifiedName(at place) string {
	for at.chain != nil {
		switch node := at.node.(type) {
		case *ast.FuncDecl:
			return at.file.target.Name + "." + declaredName(node)
		case *ast.FuncLit:
			return literalName(at, node)
		}
		at, _ = at.up()
	}
	return ""
}

func declaredName(declaration *ast.FuncDecl) string {
	receiver := receiverOf(declaration)
	if receiver == nil {
		return declaration.Name.Name
	}
	t := unparen(receiver.Type)
	if star, ok := t.(*ast.StarExpr); ok {
		return "(*" + types.ExprString(uninstantiated(unparen(star.X))) + ")." + declaration.Name.Name
	}
	return types.ExprString(uninstantiated(t)) + "." + declaration.Name.Name
}

// literalName numbers a literal: f.func1, and within that f.func1.1.
func literalName(at place, literal *ast.FuncLit) string {
	outside, ok := at.up()
	for ok {
		switch outside.node.(type) {
		case *ast.FuncDecl:
			return fmt.Sprintf("%s.func%d", qualifiedName(outside), ordinal(outside.node, literal))
		case *ast.FuncLit:
			return fmt.Sprintf("%s.%d", qualifiedName(outside), ordinal(outside.node, literal))
		}
		outside, ok = outside.up()
	}
	return at.file.target.Name + ".func"
}

// ordinal counts the literals of a function from 1, without those within literals.
func ordinal(function ast.Node, literal *ast.FuncLit) int {
	count, found := 0, 0
	ast.Inspect(function, func(node ast.Node) bool {
		inner, ok := node.(*ast.FuncLit)
		if !ok || node == function {
			return true
		}
		count++
		if inner == literal {
			found = count
		}
		return false
	})
	return found
}
