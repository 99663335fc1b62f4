package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
)

// A wovenFile is a file as it will be. It has no tree where Go cannot parse it at all.
type wovenFile struct {
	*file
	woven *source
	tree  *ast.File
}

// A wovenPackage is a package as it will be, type-checked. Its positions are those of the woven text.
type wovenPackage struct {
	target *target
	set    *token.FileSet
	files  []*wovenFile
	pkg    *types.Package
	info   *types.Info
	errors []types.Error
}

// checkWoven type-checks a package whose files will be made of these leaves.
func (l *loader) checkWoven(t *target, leavesOf func(*file) []leaf) *wovenPackage {
	p := &wovenPackage{target: t, set: token.NewFileSet(), info: newInfo()}
	var trees []*ast.File
	for _, f := range t.files {
		one := &wovenFile{file: f, woven: assembled(f, leavesOf(f))}
		p.files = append(p.files, one)
		tree, err := parser.ParseFile(p.set, f.name, one.woven.text, parser.SkipObjectResolution)
		if tree == nil {
			continue
		}
		one.tree, one.woven.token = tree, p.set.File(tree.Package)
		trees = append(trees, tree)
		if err != nil && f.tree != nil {
			p.errors = append(p.errors, types.Error{Fset: p.set, Pos: tree.Package, Msg: err.Error()})
		}
	}
	pkg, found := l.errors(t.Package, p.set, trees, p.info)
	p.pkg, p.errors = pkg, append(p.errors, found...)
	return p
}

// assembled is the text that leaves of a file show.
func assembled(f *file, leaves []leaf) *source {
	var text []byte
	for _, l := range leaves {
		if l.text == "" {
			text = append(text, f.text[l.span.start:l.span.end]...)
		} else {
			text = append(text, l.text...)
		}
	}
	s := newSource(text, nil)
	s.parts = leaves
	return s
}

// now is what a file is made of at present; one that Go cannot parse is as it is on disk.
func (f *file) now() []leaf {
	f.parse()
	if f.source == nil {
		return []leaf{{span: span{0, len(f.text)}}}
	}
	return f.whole()
}

// fileOf is the file that holds a position, with the position's offset in its text.
func (p *wovenPackage) fileOf(at token.Pos) (*wovenFile, int) {
	position := p.set.PositionFor(at, false)
	for _, f := range p.files {
		if f.name == position.Filename {
			return f, position.Offset
		}
	}
	return nil, 0
}

// writer tells who wrote what stands at an offset, or else who wrote nearest to it, and the offset in the text on disk.
func (s *source) writer(offset int) (by origin, original int) {
	begin, last, distance := 0, 0, -1
	for _, l := range s.parts {
		end := begin + l.length()
		if l.text == "" {
			if offset >= begin {
				original = l.span.start + min(offset, end) - begin
			}
			last, begin = l.span.end, end
			continue
		}
		away := max(begin-offset, offset-end)
		if away <= 0 {
			return l.origin, last
		}
		if distance < 0 || away < distance {
			by, distance = l.origin, away
		}
		begin = end
	}
	return by, original
}

// isWritten tells whether what stands at a position is of a rule's text.
func (f *wovenFile) isWritten(at token.Pos) bool {
	offset := f.woven.token.Offset(at)
	shown := cut(f.woven.parts, span{offset, offset + 1})
	return len(shown) > 0 && shown[0].text != ""
}
