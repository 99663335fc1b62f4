package main

import "go/ast"

// A givenName is a name for a parameter or result that has none, and who asked for it.
type givenName struct {
	name string
	by   origin
}

// commit remembers the names that a rendering gave.
func (r *rendering) commit() {
	for list, names := range r.names {
		if r.at.file.fields[list] == nil {
			r.at.file.fields[list] = map[int]givenName{}
		}
		for index, name := range names {
			if _, known := r.at.file.fields[list][index]; !known {
				r.at.file.fields[list][index] = givenName{name, r.by}
			}
		}
	}
}

// nameFields writes the names given: a list has names for all or for none, so the others become blank.
func (f *file) nameFields() {
	for list, names := range f.fields {
		var by origin
		for _, given := range names {
			by = given.by
		}
		unnamed := len(list.List) > 0 && len(list.List[0].Names) == 0
		bare := unnamed && !list.Opening.IsValid()
		if bare {
			f.source.insert(f.offset(list.Pos()), "(", by)
		}
		for _, p := range expand(list) {
			f.nameField(p, names, by)
		}
		if bare {
			f.source.insert(f.offset(list.End()), ")", by)
		}
	}
}

func (f *file) nameField(p parameter, names map[int]givenName, by origin) {
	given, found := names[p.index]
	if p.name != nil {
		if found {
			f.source.replaced[f.span(p.name)] = []piece{{text: given.name, origin: given.by}}
		}
		return
	}
	if !found {
		given = givenName{"_", by}
	}
	var at ast.Node = p.field.Type
	f.source.insert(f.offset(at.Pos()), given.name+" ", given.by)
}
