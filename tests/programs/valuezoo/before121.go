//go:build !go1.21

package main

const background = "*context.emptyCtx"

func since121() {}
