package main

import (
	"fmt"
	"go/types"
	"strconv"
)

// Lowering turns an expression of the catalogue into Go that cannot panic: guards, one behind the other, and a value
// that may be used where all of them hold. The catalogue's expressions know no packages' borders, so what Go does not
// let this package name is read at its offset.

// An operand is a value under way. Where `at` is true the text is an unsafe.Pointer to the value.
type operand struct {
	text string
	typ  types.Type
	at   bool
	kind string // of values that are made for a column as they are
}

// A lowering is the work on one expression.
type lowering struct {
	*scope
	steps []string
}

// A scope is where expressions stand: a package, and names in it.
type scope struct {
	loader  *loader
	home    *Package
	pkg     *types.Package
	names   map[string]operand
	imports map[string]string // alias → path, of all that was lowered
	temps   int
}

func (s *scope) lower(e *Expression) *Lowered {
	w := &lowering{scope: s}
	made, err := w.expression(e)
	if err == nil {
		made, err = w.finished(made)
	}
	if err != nil {
		return &Lowered{Error: err.Error()}
	}
	kind := made.kind
	if kind == "" {
		kind = kindOf(made.typ)
	}
	text, _ := w.source(made.typ)
	return &Lowered{Steps: append([]string{}, w.steps...), Value: made.text, Kind: kind, Type: text}
}

// kindOf names what a column can hold of a type: text, int or bool; "" for everything else.
func kindOf(t types.Type) string {
	basic, ok := t.Underlying().(*types.Basic)
	switch {
	case !ok:
		return ""
	case basic.Info()&types.IsString != 0:
		return "text"
	case basic.Info()&types.IsInteger != 0:
		return "int"
	case basic.Info()&types.IsBoolean != 0:
		return "bool"
	}
	return ""
}

func (w *lowering) expression(e *Expression) (operand, error) {
	switch e.Op {
	case "name":
		if found, ok := w.names[e.Name]; ok {
			return found, nil
		}
		return operand{}, fmt.Errorf("%s is not known here", e.Name)
	case "literal":
		return w.literal(e)
	case "select":
		return w.selected(e)
	case "index":
		return w.indexed(e)
	case "assert":
		return w.asserted(e)
	case "call":
		return w.called(e)
	case "unary":
		return w.unary(e)
	case "binary":
		return w.binary(e)
	}
	return operand{}, fmt.Errorf("%q is not an expression that can be woven", e.Op)
}

func (w *lowering) literal(e *Expression) (operand, error) {
	kinds := map[string]types.Type{"int": types.Typ[types.UntypedInt], "text": types.Typ[types.UntypedString],
		"bool": types.Typ[types.UntypedBool], "nil": types.Typ[types.UntypedNil]}
	t, ok := kinds[e.Type]
	if !ok {
		return operand{}, fmt.Errorf("a literal of kind %q cannot be woven", e.Type)
	}
	return operand{text: e.Name, typ: t}, nil
}

// guard adds a condition; temp a variable with a condition on it, both written with one verb for the variable.
func (w *lowering) guard(condition string) { w.steps = append(w.steps, condition) }

func (w *lowering) temp(value, condition string) string {
	w.temps++
	name := "gotap_" + strconv.Itoa(w.temps)
	w.guard(fmt.Sprintf("%s := %s; %s", name, value, fmt.Sprintf(condition, name)))
	return name
}

// pair is a variable that comes with an `ok`.
func (w *lowering) pair(value string) string {
	w.temps++
	name := "gotap_" + strconv.Itoa(w.temps)
	w.guard(fmt.Sprintf("%s, ok := %s; ok", name, value))
	return name
}

// pointee goes through a pointer that is not nil.
func (w *lowering) pointee(of operand, elem types.Type) operand {
	if of.at {
		return operand{text: w.temp("*(*unsafe.Pointer)("+of.text+")", "%s != nil"), typ: elem, at: true}
	}
	return operand{text: w.temp(of.text, "%s != nil"), typ: elem}
}

func (w *lowering) selected(e *Expression) (operand, error) {
	if e.Of.Op == "assert" {
		if found, ok, err := w.foreign(e); ok || err != nil {
			return found, err
		}
	}
	of, err := w.expression(e.Of)
	if err != nil {
		return of, err
	}
	path, err := fieldPath(of.typ, w.pkg, e.Name)
	if err != nil {
		return of, err
	}
	for _, index := range path {
		pointer, isPointer := of.typ.Underlying().(*types.Pointer)
		if isPointer {
			of = w.pointee(of, pointer.Elem())
		}
		structure, ok := of.typ.Underlying().(*types.Struct)
		if !ok {
			return of, fmt.Errorf("%s has no fields", of.typ)
		}
		if of, err = w.field(of, structure, index, isPointer); err != nil {
			return of, err
		}
	}
	return of, nil
}

// foreign is a field of a type that this part of the build does not know, such as a driver's error in the standard
// library, which is the same for all programs: it is found by its name when it is met. ok is false for other types.
func (w *lowering) foreign(e *Expression) (found operand, ok bool, err error) {
	name, err := parseTypeName(e.Of.Type)
	if err != nil {
		return found, false, err
	}
	if _, err := w.resolve(name); err == nil {
		return found, false, nil
	}
	of, err := w.operandAndValue(e.Of.Of)
	if err != nil {
		return of, false, err
	}
	if _, isInterface := of.typ.Underlying().(*types.Interface); !isInterface {
		return of, false, fmt.Errorf("%s is no interface", of.typ)
	}
	text := w.pair(fmt.Sprintf("gotaprt.Field(%s, %q, %q)", of.text, e.Of.Type, e.Name))
	return operand{text: text, typ: types.NewInterfaceType(nil, nil), kind: "found"}, true, nil
}

// fieldPath finds a field, through embedded ones, whatever package its name belongs to.
func fieldPath(t types.Type, here *types.Package, name string) ([]int, error) {
	packages := []*types.Package{here}
	if object := namedObject(dereferenced(t)); object != nil && object.Pkg() != nil {
		packages = append(packages, object.Pkg())
	}
	for _, p := range packages {
		if found, path, _ := types.LookupFieldOrMethod(t, true, p, name); found != nil {
			if _, isField := found.(*types.Var); isField {
				return path, nil
			}
		}
	}
	return nil, fmt.Errorf("%s has no field %s", t, name)
}

func dereferenced(t types.Type) types.Type {
	if pointer, ok := t.Underlying().(*types.Pointer); ok {
		return unalias(pointer.Elem())
	}
	return unalias(t)
}

// field selects one field of a struct; addressable: the operand is a variable that a pointer points to.
func (w *lowering) field(of operand, structure *types.Struct, index int, addressable bool) (operand, error) {
	field := structure.Field(index)
	if !of.at && (field.Exported() || field.Pkg() == w.pkg) {
		return operand{text: of.text + "." + field.Name(), typ: field.Type()}, nil
	}
	fields := make([]*types.Var, structure.NumFields())
	for i := range fields {
		fields[i] = structure.Field(i)
	}
	offset := w.loader.sizes.Offsetsof(fields)[index]
	text := of.text
	if !of.at {
		if !addressable {
			return of, fmt.Errorf("%s is another package's and has no address here", field.Name())
		}
		text = "unsafe.Pointer(" + of.text + ")"
	}
	return operand{text: fmt.Sprintf("unsafe.Add(%s, %d)", text, offset), typ: field.Type(), at: true}, nil
}

func (w *lowering) indexed(e *Expression) (operand, error) {
	of, err := w.operandAndValue(e.Of)
	if err != nil {
		return of, err
	}
	index, err := w.expression(e.Other)
	if err != nil {
		return of, err
	}
	switch t := of.typ.Underlying().(type) {
	case *types.Map:
		return operand{text: w.pair(of.text + "[" + index.text + "]"), typ: t.Elem()}, nil
	case *types.Slice:
		return operand{text: w.temp(of.text, index.text+" < len(%s)") + "[" + index.text + "]", typ: t.Elem()}, nil
	case *types.Basic:
		if t.Info()&types.IsString != 0 {
			return operand{text: w.temp(of.text, index.text+" < len(%s)") + "[" + index.text + "]",
				typ: types.Typ[types.Byte]}, nil
		}
	case *types.Array:
		if number, err := strconv.ParseInt(index.text, 0, 64); err == nil && number < t.Len() {
			return operand{text: of.text + "[" + index.text + "]", typ: t.Elem()}, nil
		}
	}
	return of, fmt.Errorf("%s cannot be indexed by %s", of.typ, index.text)
}

func (w *lowering) asserted(e *Expression) (operand, error) {
	of, err := w.operandAndValue(e.Of)
	if err != nil {
		return of, err
	}
	from, ok := of.typ.Underlying().(*types.Interface)
	if !ok {
		return of, fmt.Errorf("%s is no interface", of.typ)
	}
	name, err := parseTypeName(e.Type)
	if err != nil {
		return of, err
	}
	wanted, err := w.resolve(name)
	if err != nil {
		return of, err
	}
	if !types.AssertableTo(from, wanted) {
		return of, fmt.Errorf("%s is never %s", of.typ, wanted)
	}
	if text, ok := w.source(wanted); ok {
		return operand{text: w.pair(of.text + ".(" + text + ")"), typ: wanted}, nil
	}
	full := types.TypeString(wanted, nil)
	data := w.pair(fmt.Sprintf("gotaprt.Is(%s, %q)", of.text, full))
	if pointer, ok := wanted.Underlying().(*types.Pointer); ok {
		return operand{text: data, typ: pointer.Elem(), at: true}, nil
	}
	if _, ok := wanted.Underlying().(*types.Basic); !ok {
		// Structs of a single pointer, maps and channels lie in the interface itself.
		return of, fmt.Errorf("%s cannot be named here", wanted)
	}
	return operand{text: data, typ: wanted, at: true}, nil
}

func (w *lowering) called(e *Expression) (operand, error) {
	if len(e.Arguments) != 1 {
		return operand{}, fmt.Errorf("%s of %d arguments cannot be woven", e.Name, len(e.Arguments))
	}
	of, err := w.operandAndValue(e.Arguments[0])
	if err != nil {
		return of, err
	}
	_, isInterface := of.typ.Underlying().(*types.Interface)
	switch e.Name {
	case "typeof":
		if isInterface {
			return operand{text: "gotaprt.TypeOf(" + of.text + ")", typ: types.Typ[types.String], kind: "column"}, nil
		}
	case "unwrap":
		failure := types.Universe.Lookup("error").Type()
		if types.Identical(of.typ, failure) {
			return operand{text: "gotaprt.Unwrap(" + of.text + ")", typ: failure}, nil
		}
	case "len":
		switch of.typ.Underlying().(type) {
		case *types.Map, *types.Chan:
			of.text = w.temp(of.text, "%s != nil")
			return operand{text: "len(" + of.text + ")", typ: types.Typ[types.Int]}, nil
		case *types.Slice, *types.Array, *types.Basic:
			return operand{text: "len(" + of.text + ")", typ: types.Typ[types.Int]}, nil
		}
	}
	return of, fmt.Errorf("%s of %s cannot be woven", e.Name, of.typ)
}

func (w *lowering) unary(e *Expression) (operand, error) {
	of, err := w.expression(e.Of)
	if err != nil {
		return of, err
	}
	switch e.Name {
	case "*":
		pointer, ok := of.typ.Underlying().(*types.Pointer)
		if !ok {
			return of, fmt.Errorf("%s is no pointer", of.typ)
		}
		to := w.pointee(of, pointer.Elem())
		if !to.at {
			to.text = "*" + to.text
		}
		return to, nil
	case "!":
		of, err = w.finished(of)
		return operand{text: "!(" + of.text + ")", typ: of.typ}, err
	}
	return of, fmt.Errorf("%s cannot be woven", e.Name)
}

func (w *lowering) binary(e *Expression) (operand, error) {
	left, err := w.operandAndValue(e.Of)
	if err != nil {
		return left, err
	}
	right, err := w.operandAndValue(e.Other)
	if err != nil {
		return right, err
	}
	logical := e.Name == "&&" || e.Name == "||"
	if !logical && !types.Comparable(left.typ) && !isNil(right.typ) || !fits(left.typ, right.typ) {
		return left, fmt.Errorf("%s %s %s cannot be woven", left.typ, e.Name, right.typ)
	}
	return operand{text: "(" + left.text + " " + e.Name + " " + right.text + ")", typ: types.Typ[types.Bool]}, nil
}

func isNil(t types.Type) bool { return t == types.Typ[types.UntypedNil] }

func fits(a, b types.Type) bool {
	return types.AssignableTo(a, b) || types.AssignableTo(b, a) || types.ConvertibleTo(b, a) && isConstant(b)
}

func isConstant(t types.Type) bool {
	basic, ok := t.(*types.Basic)
	return ok && basic.Info()&types.IsUntyped != 0
}

// operandAndValue is an expression as a value.
func (w *lowering) operandAndValue(e *Expression) (operand, error) {
	made, err := w.expression(e)
	if err != nil {
		return made, err
	}
	return w.finished(made)
}

// finished reads what is known by its address only.
func (w *lowering) finished(of operand) (operand, error) {
	if !of.at {
		return of, nil
	}
	t := of.typ
	if basic, ok := t.Underlying().(*types.Basic); ok {
		t = basic // whatever its name is
	}
	text, ok := w.source(t)
	if !ok {
		return of, fmt.Errorf("%s cannot be named here", of.typ)
	}
	return operand{text: "*(*" + text + ")(" + of.text + ")", typ: t}, nil
}
