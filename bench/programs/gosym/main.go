// Command gosym reads a Go executable's function table by the standard library alone: debug/elf and debug/gosym.
// It prints how many functions there are and the sum of their lines, so that nothing of it can be left undone.
package main

import (
	"debug/elf"
	"debug/gosym"
	"fmt"
	"os"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path string) error {
	file, err := elf.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	section := file.Section(".gopclntab")
	if section == nil {
		return fmt.Errorf("%s has no section .gopclntab", path)
	}
	content, err := section.Data()
	if err != nil {
		return err
	}
	table, err := gosym.NewTable(nil, gosym.NewLineTable(content, file.Section(".text").Addr))
	if err != nil {
		return err
	}
	lines := 0
	for _, function := range table.Funcs {
		_, line, _ := table.PCToLine(function.Entry)
		lines += line
	}
	fmt.Println(len(table.Funcs), lines)
	return nil
}
