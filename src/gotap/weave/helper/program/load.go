package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"regexp"
	"runtime"
	"sync"
)

// A loader makes types of the build's packages from their sources, each at most once, and without the bodies of
// functions.
type loader struct {
	set      *token.FileSet
	packages map[string]*Package
	sizes    types.Sizes
	parsed   map[string][]*ast.File
	declared map[string]*types.Package
	above    map[string]map[string]bool // what each package depends on, itself included
	woven    []wovenImport
}

func newLoader(request *Request) *loader {
	arch := request.GoArch
	if arch == "" {
		arch = runtime.GOARCH
	}
	l := &loader{
		set:      token.NewFileSet(),
		packages: map[string]*Package{},
		sizes:    types.SizesFor("gc", arch),
		parsed:   map[string][]*ast.File{},
		declared: map[string]*types.Package{"unsafe": types.Unsafe},
		above:    map[string]map[string]bool{},
	}
	for _, p := range request.Packages {
		l.packages[p.ImportPath] = p
	}
	return l
}

// dependencies lists, by public path, what a package depends on, itself included.
func (l *loader) dependencies(path string) map[string]bool {
	if known, ok := l.above[path]; ok {
		return known
	}
	result := map[string]bool{publicPath(path): true}
	l.above[path] = result // imports make no cycles; should a list say otherwise, this ends it
	if p := l.packages[path]; p != nil {
		for _, imported := range p.Imports {
			for dependency := range l.dependencies(imported) {
				result[dependency] = true
			}
		}
	}
	return result
}

// A wovenImport is an import that is going to be woven in.
type wovenImport struct{ from, to string }

// reaches tells whether a package depends on another, with all that is going to be woven in.
func (l *loader) reaches(from, to string) bool {
	seen := map[string]bool{}
	todo := []string{from}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		known := l.dependencies(next)
		if known[to] {
			return true
		}
		for _, added := range l.woven {
			if known[added.from] && !seen[added.to] {
				seen[added.to] = true
				todo = append(todo, added.to)
			}
		}
	}
	return false
}

// declarations are the types that a package declares; what does not type-check is left out of them.
func (l *loader) declarations(path string) (*types.Package, error) {
	if known, ok := l.declared[path]; ok {
		return known, nil
	}
	p := l.packages[path]
	if p == nil {
		return nil, fmt.Errorf("package %s is not in the list of the build", path)
	}
	l.parseWithDependencies(path)
	config := l.config(p)
	config.IgnoreFuncBodies = true
	checked, _ := config.Check(publicPath(path), l.set, l.parsed[path], nil)
	l.declared[path] = checked
	return checked, nil
}

// check makes types of a package with the bodies of its functions, and says what its expressions are.
func (l *loader) check(p *Package, files []*ast.File) (*types.Package, *types.Info) {
	info := newInfo()
	config := l.config(p)
	checked, _ := config.Check(publicPath(p.ImportPath), l.set, files, info)
	return checked, info
}

func newInfo() *types.Info {
	return &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{},
		Defs:  map[*ast.Ident]types.Object{},
		Uses:  map[*ast.Ident]types.Object{},
	}
}

func (l *loader) config(p *Package) *types.Config {
	return &types.Config{
		GoVersion:   languageVersion(p.Lang),
		FakeImportC: true,
		Error:       func(error) {}, // the compiler tells the user's errors better
		Importer:    importerOf{l, p},
		Sizes:       l.sizes,
	}
}

var languagePattern = regexp.MustCompile(`^go\d+\.\d+`)

// languageVersion leaves out patch releases, which go/types of Go 1.21 may refuse.
func languageVersion(lang string) string { return languagePattern.FindString(lang) }

// An importerOf resolves the imports of one package.
type importerOf struct {
	*loader
	p *Package
}

// Import implements types.Importer.
func (i importerOf) Import(path string) (*types.Package, error) {
	if resolved, ok := i.p.ImportMap[path]; ok {
		path = resolved
	}
	return i.declarations(path)
}

// parseWithDependencies parses all that a package's types need, on all processors.
func (l *loader) parseWithDependencies(path string) {
	var wanted []*Package
	seen := map[string]bool{}
	var visit func(string)
	visit = func(path string) {
		p := l.packages[path]
		if seen[path] || p == nil || l.declared[path] != nil || l.parsed[path] != nil {
			return
		}
		seen[path] = true
		wanted = append(wanted, p)
		for _, imported := range p.Imports {
			visit(imported)
		}
	}
	visit(path)
	results := make([][]*ast.File, len(wanted))
	tickets := make(chan struct{}, runtime.GOMAXPROCS(0))
	var all sync.WaitGroup
	for i, p := range wanted {
		all.Add(1)
		tickets <- struct{}{}
		go func(i int, p *Package) {
			defer all.Done()
			results[i] = l.parseDeclarations(p)
			<-tickets
		}(i, p)
	}
	all.Wait()
	for i, p := range wanted {
		l.parsed[p.ImportPath] = results[i]
	}
}

// parseDeclarations parses a package and forgets the bodies of its functions, which hold most of the memory.
func (l *loader) parseDeclarations(p *Package) []*ast.File {
	files := []*ast.File{}
	for _, name := range p.Files {
		file, _ := parser.ParseFile(l.set, name, nil, parser.SkipObjectResolution)
		if file == nil {
			continue
		}
		for _, declaration := range file.Decls {
			if function, ok := declaration.(*ast.FuncDecl); ok && function.Body != nil {
				function.Body = &ast.BlockStmt{Lbrace: function.Body.Lbrace, Rbrace: function.Body.Rbrace}
			}
		}
		files = append(files, file)
	}
	return files
}
