//go:build go1.22

package main

import "go/types"

// unalias follows aliases to the type that they stand for. Alias nodes exist in go/types from Go 1.22.
func unalias(t types.Type) types.Type { return types.Unalias(t) }

// aliased is the next type behind an alias, nil for what is no alias.
func aliased(t types.Type) types.Type {
	if _, ok := t.(*types.Alias); ok {
		return types.Unalias(t)
	}
	return nil
}

func aliasObject(t types.Type) *types.TypeName {
	if alias, ok := t.(*types.Alias); ok {
		return alias.Obj()
	}
	return nil
}
