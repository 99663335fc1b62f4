package main

import (
	"go/ast"
	"go/token"
	"go/types"
)

// A lifted literal is one that can be written at package level.
type lifted struct {
	literal  *ast.FuncLit
	function *ast.FuncDecl // nil outside of functions
	use
	captured   []*types.Var // the variables around it that it uses, in the order of their first uses
	mentions   []*ast.Ident // of these variables, outside of `own`
	own        []*ast.FuncLit
	parametric bool // whether type parameters of the function are needed
}

// study finds out what a literal needs; nil if that cannot be had at package level.
func (l *lifting) study(literal *ast.FuncLit, function *ast.FuncDecl, used use) *lifted {
	one := &lifted{literal: literal, function: function, use: used}
	l.parametric = false
	possible := true
	selected := map[*ast.Ident]bool{}
	ast.Inspect(literal, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.FuncLit:
			if node != literal && !l.file.isWritten(node.Pos()) {
				possible = possible && l.standsOutside(node, literal) && l.can(l.info.TypeOf(node))
				one.own = append(one.own, node)
				return false
			}
		case *ast.SelectorExpr:
			selected[node.Sel] = true
		case *ast.Ident:
			possible = possible && (l.take(one, node) || selected[node] && l.info.Uses[node] == nil)
		}
		return possible
	})
	for _, v := range one.captured {
		possible = possible && l.can(v.Type())
	}
	one.parametric = l.parametric
	if !possible || l.parametric && !(used.call != nil && l.hasParameters(function)) {
		return nil
	}
	return one
}

// take looks at a name in a literal, and tells whether it can stand at package level, too.
func (l *lifting) take(one *lifted, id *ast.Ident) bool {
	object := l.info.Uses[id]
	if object == nil {
		_, isDeclared := l.info.Defs[id]
		return isDeclared || id.Name == "_"
	}
	if object.Pkg() != l.pkg || holds(one.literal, object.Pos()) || object.Parent() == l.pkg.Scope() {
		return true
	}
	switch object := object.(type) {
	case *types.PkgName, *types.Func:
		return true
	case *types.TypeName:
		_, isParameter := object.Type().(*types.TypeParam)
		l.parametric = l.parametric || isParameter
		return isParameter
	case *types.Var:
		if !object.IsField() {
			one.capture(object, id)
		}
		return true
	}
	return false
}

func (one *lifted) capture(v *types.Var, id *ast.Ident) {
	one.mentions = append(one.mentions, id)
	for _, known := range one.captured {
		if known == v {
			return
		}
	}
	one.captured = append(one.captured, v)
}

// standsOutside tells whether a literal within another uses nothing that is declared in that one.
func (l *lifting) standsOutside(inner, outer *ast.FuncLit) bool {
	outside := true
	ast.Inspect(inner, func(node ast.Node) bool {
		if id, ok := node.(*ast.Ident); ok {
			object := l.info.Uses[id]
			if object != nil && object.Pkg() == l.pkg && holds(outer, object.Pos()) && !holds(inner, object.Pos()) {
				outside = false
			}
		}
		return outside
	})
	return outside
}

func holds(node ast.Node, at token.Pos) bool { return node.Pos() <= at && at < node.End() }

// hasParameters tells whether type parameters of a function can all be handed on.
func (l *lifting) hasParameters(function *ast.FuncDecl) bool {
	for _, p := range l.parametersOf(function) {
		if p.Obj().Name() == "_" || !l.can(p.Constraint()) {
			return false
		}
	}
	return true
}

// parametersOf are the type parameters of a function, or of the receiver of a method.
func (l *lifting) parametersOf(function *ast.FuncDecl) (found []*types.TypeParam) {
	if function == nil {
		return nil
	}
	signature := l.info.Defs[function.Name].Type().(*types.Signature)
	for _, list := range []*types.TypeParamList{signature.RecvTypeParams(), signature.TypeParams()} {
		for i := 0; i < list.Len(); i++ {
			found = append(found, list.At(i))
		}
	}
	return found
}

// isConstant tells whether a variable keeps its first value and nobody asks for its address, so that a copy of it does
// as well. The compiler captures such variables by value, too, and they need not move to the heap.
func (l *lifting) isConstant(v *types.Var) bool {
	if l.reassigned == nil {
		l.reassigned = reassignedIn(l.file.tree, l.info)
	}
	if _, isParameter := v.Type().(*types.TypeParam); isParameter || l.reassigned[v] {
		return false
	}
	switch v.Type().Underlying().(type) {
	case *types.Pointer, *types.Interface:
		return true
	case *types.Basic, *types.Signature, *types.Map, *types.Chan, *types.Slice:
		return types.NewMethodSet(types.NewPointer(v.Type())).Len() == 0 // methods may take its address
	}
	return false
}

// reassignedIn finds the variables that get another value than their first, or whose address is taken by `&`: results
// get one by `return`, and what `range` declares is one variable for all rounds before Go 1.22.
func reassignedIn(tree *ast.File, info *types.Info) map[types.Object]bool {
	found := map[types.Object]bool{}
	mark := func(list ...ast.Expr) {
		for _, expr := range list {
			if id := variableOf(expr, info); id != nil {
				found[info.ObjectOf(id)] = true
			}
		}
	}
	ast.Inspect(tree, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.AssignStmt:
			for _, left := range node.Lhs {
				if id, ok := left.(*ast.Ident); !ok || info.Defs[id] == nil {
					mark(left)
				}
			}
		case *ast.IncDecStmt:
			mark(node.X)
		case *ast.RangeStmt:
			mark(node.Key, node.Value)
		case *ast.UnaryExpr:
			if node.Op == token.AND {
				mark(node.X)
			}
		case *ast.FuncType:
			for _, result := range expand(node.Results) {
				if result.name != nil {
					mark(result.name)
				}
			}
		}
		return true
	})
	return found
}

// variableOf is the variable that an expression is, or is a part of.
func variableOf(expr ast.Expr, info *types.Info) *ast.Ident {
	for {
		switch e := expr.(type) {
		case *ast.Ident:
			return e
		case *ast.ParenExpr:
			expr = e.X
		case *ast.SelectorExpr:
			if isReference(info.TypeOf(e.X)) {
				return nil
			}
			expr = e.X
		case *ast.IndexExpr:
			if isReference(info.TypeOf(e.X)) {
				return nil
			}
			expr = e.X
		default:
			return nil
		}
	}
}

// isReference tells whether what lies in a value of the type lies elsewhere.
func isReference(t types.Type) bool {
	if t == nil {
		return false
	}
	switch t.Underlying().(type) {
	case *types.Pointer, *types.Slice, *types.Map:
		return true
	}
	return false
}
