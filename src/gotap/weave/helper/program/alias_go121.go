//go:build !go1.22

package main

import "go/types"

// Go 1.21 has no nodes for aliases: types are what they stand for.
func unalias(t types.Type) types.Type        { return t }
func aliased(types.Type) types.Type          { return nil }
func aliasObject(types.Type) *types.TypeName { return nil }
