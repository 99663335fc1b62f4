//go:build !callbacks

package main

func callbacks(int) int { return 0 }
