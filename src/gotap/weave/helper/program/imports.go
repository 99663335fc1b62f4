package main

import (
	"fmt"
	"go/ast"
	"go/scanner"
	"go/token"
	"go/types"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
)

func importPathOf(spec *ast.ImportSpec) string {
	path, _ := strconv.Unquote(spec.Path.Value)
	return path
}

// imported is what a package's sources import by a path, nil when the build does not list it.
func (t *target) imported(path string) *Package {
	if resolved, ok := t.ImportMap[path]; ok {
		path = resolved
	}
	return t.loader.packages[path]
}

// importAs makes a package usable in the file's woven text and gives its name there; the package itself has none. The
// name is one of its own, so that nothing in the file shadows it. Fails where the import would close a cycle.
func (f *file) importAs(path, alias string, by origin) (string, error) {
	if path == f.target.path {
		return "", nil
	}
	if name, known := f.names[path]; known {
		return name, nil
	}
	if err := f.target.checkCycle(path); err != nil {
		return "", err
	}
	name := "__gotap_" + nameCharacters.ReplaceAllString(alias, "_")
	for number := 2; f.isImportName(name); number++ {
		name = "__gotap_" + alias + strconv.Itoa(number)
	}
	f.names[path] = name
	f.addImport(name, path, by)
	return name, nil
}

var (
	nameCharacters = regexp.MustCompile(`[^\pL\p{Nd}_]`)
	versionEnding  = regexp.MustCompile(`[./]v\d+$`)
)

// aliasFor derives an alias from a path, for advice that names packages by path only.
func aliasFor(path string) string {
	path = versionEnding.ReplaceAllString(path, "")
	return path[strings.LastIndexByte(path, '/')+1:]
}

func (f *file) isImportName(name string) bool {
	for _, used := range f.names {
		if used == name {
			return true
		}
	}
	return false
}

// addImport writes an import behind the package clause, on its line.
func (f *file) addImport(name, path string, by origin) {
	f.source.insert(f.offset(f.tree.Name.End()), fmt.Sprintf(";import %s %q", name, path), by)
	f.target.needed = append(f.target.needed, Reference{f.target.ImportPath, path, by.aspect})
}

// addBlankImport makes the package be part of the program, unless the file imports it already.
func (f *file) addBlankImport(path string, by origin) error {
	if _, known := f.names[path]; known || f.blanks[path] || path == f.target.path {
		return nil
	}
	for _, spec := range f.tree.Imports {
		if importPathOf(spec) == path {
			return nil
		}
	}
	if err := f.target.checkCycle(path); err != nil {
		return err
	}
	f.blanks[path] = true
	f.addImport("_", path, by)
	return nil
}

// checkCycle refuses the import of a package that itself depends on the target, by its own imports or by woven ones.
func (t *target) checkCycle(path string) error {
	resolved := path
	if p := t.imported(path); p != nil {
		resolved = p.ImportPath
	}
	here := publicPath(t.path)
	if t.loader.reaches(resolved, here) {
		way := strings.Join(t.loader.wayTo(resolved, here, map[string]bool{}), " → ")
		return fmt.Errorf("importing %s into %s makes a cycle of imports: %s", path, t.path, way)
	}
	if edge := (wovenImport{here, resolved}); !slices.Contains(t.loader.woven, edge) {
		t.loader.woven = append(t.loader.woven, edge)
	}
	return nil
}

// wayTo is a chain of imports from one package to another.
func (l *loader) wayTo(from, to string, seen map[string]bool) []string {
	if publicPath(from) == to {
		return []string{from}
	}
	seen[from] = true
	var next []string
	if p := l.packages[from]; p != nil {
		next = append(next, p.Imports...)
	}
	for _, added := range l.woven {
		if added.from == publicPath(from) {
			next = append(next, added.to)
		}
	}
	for _, one := range next {
		if !seen[one] && l.reaches(one, to) {
			if way := l.wayTo(one, to, seen); way != nil {
				return append([]string{from}, way...)
			}
		}
	}
	return nil
}

// dropUnusedImports makes blank those imports whose every use is gone: Go refuses imports that nothing uses, and the
// package is to stay part of the program.
func (f *file) dropUnusedImports() {
	leaves := f.whole()
	gone := missing(leaves, len(f.text))
	if len(gone) == 0 {
		return
	}
	uses := f.usesOfImports()
	by := lastOrigin(leaves)
	for _, spec := range f.tree.Imports {
		if spec.Name != nil && (spec.Name.Name == "_" || spec.Name.Name == ".") || importPathOf(spec) == "C" {
			continue
		}
		used, known := uses[spec]
		if !known || used.anyOutside(gone) || writtenName(leaves, used.name) {
			continue
		}
		if spec.Name == nil {
			f.source.insert(f.offset(spec.Pos()), "_ ", by)
		} else {
			f.source.replaced[f.span(spec.Name)] = []piece{{text: "_", origin: by}}
		}
	}
}

// importUses are the places in a file where the name of an import stands.
type importUses struct {
	name    string
	offsets []int
}

func (u importUses) anyOutside(gone []span) bool {
	for _, offset := range u.offsets {
		inside := sort.Search(len(gone), func(i int) bool { return gone[i].end > offset })
		if inside == len(gone) || gone[inside].start > offset {
			return true
		}
	}
	return false
}

func (f *file) usesOfImports() map[*ast.ImportSpec]importUses {
	byPath := map[string]*ast.ImportSpec{}
	for _, spec := range f.tree.Imports {
		name := ""
		if spec.Name != nil {
			name = spec.Name.Name
		}
		byPath[name+" "+importPathOf(spec)] = spec
	}
	info := f.target.types()
	uses := map[*ast.ImportSpec]importUses{}
	ast.Inspect(f.tree, func(node ast.Node) bool {
		identifier, ok := node.(*ast.Ident)
		if !ok {
			return true
		}
		imported, ok := info.Uses[identifier].(*types.PkgName)
		if !ok {
			return true
		}
		if spec := f.specOf(imported, identifier.Name, byPath); spec != nil {
			used := uses[spec]
			used.name = identifier.Name
			used.offsets = append(used.offsets, f.offset(identifier.Pos()))
			uses[spec] = used
		}
		return true
	})
	return uses
}

func (f *file) specOf(imported *types.PkgName, name string, byPath map[string]*ast.ImportSpec) *ast.ImportSpec {
	path := imported.Imported().Path()
	for _, key := range []string{name + " " + path, " " + path} {
		if spec := byPath[key]; spec != nil {
			return spec
		}
	}
	return nil
}

// missing lists the ranges of a file that no leaf shows, in order.
func missing(leaves []leaf, length int) []span {
	var shown []span
	for _, l := range leaves {
		if l.text == "" {
			shown = append(shown, l.span)
		}
	}
	sort.Slice(shown, func(i, j int) bool { return shown[i].start < shown[j].start })
	var gone []span
	cursor := 0
	for _, s := range append(shown, span{length, length}) {
		if s.start > cursor {
			gone = append(gone, span{cursor, s.start})
		}
		cursor = max(cursor, s.end)
	}
	return gone
}

// writtenName tells whether woven text uses a name of the file's as a qualifier.
func writtenName(leaves []leaf, name string) bool {
	for _, l := range leaves {
		if strings.Contains(l.text, name) && qualifies(l.text, name) {
			return true
		}
	}
	return false
}

// qualifies tells whether Go text holds `name.`, other than as a selector's end.
func qualifies(text, name string) bool {
	set := token.NewFileSet()
	var words scanner.Scanner
	words.Init(set.AddFile("", set.Base(), len(text)), []byte(text), nil, 0)
	var before, last token.Token
	literal := ""
	for last != token.EOF {
		_, next, text := words.Scan()
		if next == token.PERIOD && last == token.IDENT && literal == name && before != token.PERIOD {
			return true
		}
		before, last, literal = last, next, text
	}
	return false
}
