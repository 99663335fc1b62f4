//go:build !go1.20

package main

func since120() {}
