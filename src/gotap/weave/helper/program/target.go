package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
)

// A target is a package that may be changed. Its files are read when something may match in it, parsed when
// something may match in the file, and type-checked when a match depends on types.
type target struct {
	*Package
	loader   *loader
	path     string // as rules write it
	files    []*file
	trees    []*ast.File
	info     *types.Info
	pkg      *types.Package
	needed   []Reference     // packages that woven text imports
	linked   []Reference     // packages that woven text needs linked
	lang     Language        // the language version that woven text asks for
	declared map[string]bool // declarations that are in already
	bodiless bool            // whether declarations without bodies were woven in
}

// A file is one of a target's sources.
type file struct {
	target  *target
	name    string
	text    []byte
	tree    *ast.File
	token   *token.File
	leading map[int][]string
	source  *source
	names   map[string]string // import path → name under which woven text imports it
	blanks  map[string]bool   // import paths that were added without a name
	fields  map[*ast.FieldList]map[int]givenName
}

func newTarget(l *loader, p *Package) *target {
	return &target{Package: p, loader: l, path: publicPathOf(p), declared: map[string]bool{}}
}

// publicPathOf keeps the prefix of vendored packages of the standard library: as a target they are what they are
// called.
func publicPathOf(p *Package) string {
	for i := range p.ImportPath {
		if p.ImportPath[i] == ' ' {
			return p.ImportPath[:i]
		}
	}
	return p.ImportPath
}

// read reads the package's files. Errors are those of the file system.
func (t *target) read() error {
	if t.files != nil {
		return nil
	}
	for _, name := range t.Files {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f := &file{target: t, name: name, text: text, names: map[string]string{}, blanks: map[string]bool{}}
		f.fields = map[*ast.FieldList]map[int]givenName{}
		t.files = append(t.files, f)
	}
	return nil
}

// parse parses the file. One that Go cannot parse has no tree: the compiler shall tell the user.
func (f *file) parse() {
	if f.token != nil {
		return
	}
	tree, err := parser.ParseFile(f.target.loader.set, f.name, f.text, parser.ParseComments|parser.SkipObjectResolution)
	if tree == nil {
		return
	}
	f.token = f.target.loader.set.File(tree.Package)
	if err != nil || f.token == nil {
		return
	}
	f.tree = tree
	f.leading = leadingComments(f.text, tree.Comments, f.offset)
	f.source = newSource(f.text, f)
}

func (f *file) offset(pos token.Pos) int { return f.token.Offset(pos) }

func (f *file) span(node ast.Node) span { return span{f.offset(node.Pos()), f.offset(node.End())} }

// position is where a node stands in the file as it is on disk, whatever its //line comments say.
func (f *file) position(pos token.Pos) token.Position { return f.token.PositionFor(pos, false) }

// types type-checks the whole package on first use.
func (t *target) types() *types.Info {
	if t.info == nil {
		for _, f := range t.files {
			f.parse()
			if f.tree != nil {
				t.trees = append(t.trees, f.tree)
			}
		}
		t.pkg, t.info = t.loader.check(t.Package, t.trees)
	}
	return t.info
}

// interfaceType finds an interface by its name: `error`, `any`, `io.Reader`, or a name of this package. Nil when
// there is none.
func (t *target) interfaceType(name *typeName) *types.Interface {
	if name.op != "" {
		return nil
	}
	t.types()
	object := types.Universe.Lookup(name.name)
	switch {
	case name.path == t.path || name.path == "" && object == nil:
		object = t.pkg.Scope().Lookup(name.name)
	case name.path != "":
		object = t.loader.lookup(t.Package, name)
	}
	if object == nil {
		return nil
	}
	found, _ := object.Type().Underlying().(*types.Interface)
	return found
}

// lookup finds a named type of a package, in the variant that p imports when it imports it.
func (l *loader) lookup(p *Package, name *typeName) types.Object {
	candidates := append([]string{}, p.Imports...)
	candidates = append(candidates, name.path, "vendor/"+name.path)
	for _, path := range candidates {
		if publicPath(path) != name.path {
			continue
		}
		if declared, err := l.declarations(path); err == nil {
			return declared.Scope().Lookup(name.name)
		}
	}
	return nil
}

// typeOf is the type of an expression, nil when it is unknown.
func (t *target) typeOf(expr ast.Expr) types.Type {
	found := t.types().TypeOf(expr)
	if found == nil || found == types.Typ[types.Invalid] {
		return nil
	}
	return found
}
