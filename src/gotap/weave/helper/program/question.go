package main

import (
	"fmt"
	"go/types"
	"sort"
	"strings"
)

// A Question is about one function of the catalogue: whether a package has it as described, and how expressions that
// stand in it are written. Names are those of the catalogue.
type Question struct {
	ID       string `json:"id"`
	Package  string `json:"package"`
	Function string `json:"function"` // (*T).m, T.m, f
	// Parameters are the receiver, if there is one, and the first parameters; results may be left out.
	Parameters []Named `json:"parameters"`
	Results    []Named `json:"results"`
	// Entry and Keep stand at the function's entry. What is kept can be named later, as can the results and what
	// others keep.
	Entry map[string]*Expression `json:"entry"`
	Keep  map[string]*Expression `json:"keep"`
	Kept  []*Keeper              `json:"kept"`
	Later map[string]*Expression `json:"later"`
}

// A Keeper is another function of the package whose results are kept, under names of the catalogue.
type Keeper struct {
	Function string                 `json:"function"`
	Results  []Named                `json:"results"`
	Keep     map[string]*Expression `json:"keep"`
}

// Named is a parameter or result: `_` is one that nobody names. Type is its full name.
type Named struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// Expression is one node of the catalogue's expressions. A literal's Name is its Go text, its Type its kind.
type Expression struct {
	Op        string        `json:"op"`
	Name      string        `json:"name"`
	Type      string        `json:"type"`
	Of        *Expression   `json:"of"`
	Other     *Expression   `json:"other"`
	Arguments []*Expression `json:"arguments"`
}

// Reply answers a question. Types are Go text in the package.
type Reply struct {
	ID         string              `json:"id"`
	Missing    string              `json:"missing"` // why there is no such function; the rest is empty then
	Parameters []string            `json:"parameters"`
	Results    []string            `json:"results"`
	Values     map[string]*Lowered `json:"values"`
	Keep       map[string]*Lowered `json:"keep"`    // with Type
	Imports    map[string]string   `json:"imports"` // alias → path, of all the text here
}

// Lowered is an expression as Go: nested conditions of `if`, and the value where all hold.
type Lowered struct {
	Error string   `json:"error"` // why it makes no sense in this build
	Steps []string `json:"steps"`
	Value string   `json:"value"`
	Kind  string   `json:"kind"` // text, int, bool, column, found; "" otherwise
	Type  string   `json:"type"` // as Go, if it can be named here
}

// keptPrefix stands in front of names that are kept, in the text of later expressions; the struct that holds them is
// called gotap_op there.
const keptPrefix = "gotap_op.keep_"

// answerQuestions replies to all questions about packages of the build.
func (w *weaving) answerQuestions() {
	for _, q := range w.request.Questions {
		w.answer.Replies = append(w.answer.Replies, w.reply(q))
	}
}

func (w *weaving) reply(q *Question) *Reply {
	reply := &Reply{ID: q.ID, Values: map[string]*Lowered{}, Keep: map[string]*Lowered{}, Imports: map[string]string{}}
	home := w.loader.packages[q.Package]
	if home == nil {
		reply.Missing = "package " + q.Package + " is not in this build"
		return reply
	}
	pkg, err := w.loader.declarations(q.Package)
	if err != nil {
		reply.Missing = err.Error()
		return reply
	}
	here := &scope{loader: w.loader, home: home, pkg: pkg, imports: reply.Imports, names: map[string]operand{}}
	signature, err := here.function(q.Function)
	if err == nil {
		err = here.describe(reply, signature, q)
	}
	if err != nil {
		reply.Missing = err.Error()
		return reply
	}
	here.evaluate(reply, q)
	return reply
}

// describe checks the function against the catalogue and brings its parameters into scope.
func (s *scope) describe(reply *Reply, signature *types.Signature, q *Question) error {
	all := parametersOf(signature)
	if len(q.Parameters) > len(all) {
		return fmt.Errorf("%s takes %d parameters, not %d", q.Function, len(all), len(q.Parameters))
	}
	for i, t := range all {
		text, _ := s.source(t)
		reply.Parameters = append(reply.Parameters, text)
		if i >= len(q.Parameters) {
			continue
		}
		if err := s.same(q.Parameters[i], t); err != nil {
			return err
		}
		s.names[q.Parameters[i].Name] = operand{text: q.Parameters[i].Name, typ: t}
	}
	for i := 0; i < signature.Results().Len(); i++ {
		text, _ := s.source(signature.Results().At(i).Type())
		reply.Results = append(reply.Results, text)
	}
	return nil
}

// same compares a described type with the real one. Types that rules cannot write are not compared.
func (s *scope) same(described Named, real types.Type) error {
	name, err := parseTypeName(described.Type)
	if err != nil {
		return nil
	}
	if !name.matches(real, publicPath(s.home.ImportPath)) {
		return fmt.Errorf("%s is of type %s, not %s", described.Name, real, described.Type)
	}
	return nil
}

func parametersOf(signature *types.Signature) (list []types.Type) {
	if receiver := signature.Recv(); receiver != nil {
		list = append(list, receiver.Type())
	}
	return append(list, variables(signature.Params())...)
}

// evaluate lowers all expressions, in the scope that each stands in.
func (s *scope) evaluate(reply *Reply, q *Question) {
	for _, id := range sortedKeys(q.Entry) {
		reply.Values[id] = s.lower(q.Entry[id])
	}
	later := map[string]operand{"panicked": {text: "panicked", typ: types.NewInterfaceType(nil, nil)}}
	s.keep(reply, q.Keep, later)
	for _, keeper := range q.Kept {
		s.names = map[string]operand{}
		signature, err := s.function(keeper.Function)
		if err != nil || signature.Results().Len() != len(keeper.Results) {
			continue
		}
		for i, one := range keeper.Results {
			s.names[one.Name] = operand{text: one.Name, typ: signature.Results().At(i).Type()}
		}
		s.keep(reply, keeper.Keep, later)
	}
	if signature, err := s.function(q.Function); err == nil && signature.Results().Len() == len(q.Results) {
		for i, one := range q.Results {
			later[one.Name] = operand{text: one.Name, typ: signature.Results().At(i).Type()}
		}
	}
	s.names = later
	for _, id := range sortedKeys(q.Later) {
		reply.Values[id] = s.lower(q.Later[id])
	}
}

func (s *scope) keep(reply *Reply, kept map[string]*Expression, later map[string]operand) {
	for _, name := range sortedKeys(kept) {
		w := &lowering{scope: s}
		made, err := w.operandAndValue(kept[name])
		if err != nil {
			reply.Keep[name] = &Lowered{Error: err.Error()}
			continue
		}
		text, ok := s.source(made.typ)
		if !ok {
			reply.Keep[name] = &Lowered{Error: fmt.Sprintf("%s cannot be named here", made.typ)}
			continue
		}
		reply.Keep[name] = &Lowered{Steps: append([]string{}, w.steps...), Value: made.text, Type: text}
		later[name] = operand{text: keptPrefix + name, typ: made.typ}
	}
}

// sortedKeys are in an order of their own: text that is made of them is the same each time.
func sortedKeys(expressions map[string]*Expression) (keys []string) {
	for key := range expressions {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	return keys
}

// function finds a function of the package by its name in symbols.
func (s *scope) function(symbol string) (*types.Signature, error) {
	if receiver, name, ok := strings.Cut(strings.TrimPrefix(symbol, "("), "."); ok {
		pointer := strings.HasPrefix(receiver, "*")
		receiver = strings.Trim(receiver, "*)")
		object, _ := s.pkg.Scope().Lookup(receiver).(*types.TypeName)
		if object == nil {
			return nil, fmt.Errorf("there is no type %s", receiver)
		}
		var t = object.Type()
		if pointer {
			t = types.NewPointer(t)
		}
		method, _, _ := types.LookupFieldOrMethod(t, true, s.pkg, name)
		if function, ok := method.(*types.Func); ok {
			return function.Type().(*types.Signature), nil
		}
		return nil, fmt.Errorf("%s has no method %s", receiver, name)
	}
	if function, ok := s.pkg.Scope().Lookup(symbol).(*types.Func); ok {
		return function.Type().(*types.Signature), nil
	}
	return nil, fmt.Errorf("there is no function %s", symbol)
}
