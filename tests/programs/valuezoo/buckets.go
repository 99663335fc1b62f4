//go:build !goexperiment.swissmap && !go1.26

package main

const swiss = false
