package main

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Request is what the program reads: the build as `go list` tells it, and the aspects to weave into it.
type Request struct {
	GoVersion string     `json:"goversion"`
	GoRoot    string     `json:"goroot"`
	GoArch    string     `json:"goarch"` // decides the sizes of types; the program's own architecture when empty
	Version   string     `json:"version"`
	Packages  []*Package `json:"packages"`
	Targets   []string   `json:"targets"`
	// Internal: targets into which only aspects marked tracer_internal are woven.
	Internal      []string          `json:"internal"`
	MainModules   []string          `json:"main_modules"`
	Aspects       []*Aspect         `json:"aspects"`
	Configuration map[string]string `json:"configuration"`
	// Questions are answered before anything is woven.
	Questions []*Question `json:"questions"`
}

// Package is one entry of `go list -deps -json`. ImportPath is unique: variants for tests carry " [p.test]".
type Package struct {
	ImportPath string            `json:"import_path"`
	Name       string            `json:"name"`
	Dir        string            `json:"dir"`
	Files      []string          `json:"files"`
	ImportMap  map[string]string `json:"import_map"`
	Imports    []string          `json:"imports"`
	Module     string            `json:"module"`
	Lang       string            `json:"lang"`
	Std        bool              `json:"std"`
	Main       bool              `json:"main"`
	TestMain   bool              `json:"test_main"`
	ForTest    string            `json:"for_test"`
}

// Aspect is one rule: where, and what to do there.
type Aspect struct {
	ID             string     `json:"id"`
	File           string     `json:"file"`
	Line           int        `json:"line"`
	TracerInternal bool       `json:"tracer_internal"`
	Own            bool       `json:"own"` // gotap's: what it weaves needs no second look
	JoinPoint      *JoinPoint `json:"join_point"`
	Advice         []*Advice  `json:"advice"`
}

// JoinPoint is a union told apart by Kind; `of` is a list for all-of and one-of, one join point elsewhere.
type JoinPoint struct {
	Kind     string
	Of       []*JoinPoint
	Values   map[string]string
	Path     string
	Name     string
	Root     bool
	Pattern  string
	Value    bool
	Options  []*FunctionOption
	Function string
	Receiver string
	Match    string
	Type     string
	Field    string
}

// UnmarshalJSON reads `of` in both of its shapes.
func (p *JoinPoint) UnmarshalJSON(text []byte) error {
	var raw struct {
		Kind     string            `json:"kind"`
		Of       json.RawMessage   `json:"of"`
		Values   map[string]string `json:"values"`
		Path     string            `json:"path"`
		Name     string            `json:"name"`
		Root     bool              `json:"root"`
		Pattern  string            `json:"pattern"`
		Value    bool              `json:"value"`
		Options  []*FunctionOption `json:"options"`
		Function string            `json:"function"`
		Receiver string            `json:"receiver"`
		Match    string            `json:"match"`
		Type     string            `json:"type"`
		Field    *string           `json:"field"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	*p = JoinPoint{Kind: raw.Kind, Values: raw.Values, Path: raw.Path, Name: raw.Name, Root: raw.Root,
		Pattern: raw.Pattern, Value: raw.Value, Options: raw.Options, Function: raw.Function,
		Receiver: raw.Receiver, Match: raw.Match, Type: raw.Type}
	if raw.Field != nil {
		p.Field = *raw.Field
	}
	of := bytes.TrimSpace(raw.Of)
	if len(of) == 0 || bytes.Equal(of, []byte("null")) {
		return nil
	}
	if of[0] == '[' {
		return json.Unmarshal(of, &p.Of)
	}
	one := new(JoinPoint)
	p.Of = []*JoinPoint{one}
	return json.Unmarshal(of, one)
}

// FunctionOption is one condition of a `function` join point. A receiver is a Type, or Value when Type is empty.
type FunctionOption struct {
	Kind    string   `json:"kind"`
	Name    string   `json:"name"`
	Pattern string   `json:"pattern"`
	Type    string   `json:"type"`
	Value   bool     `json:"value"`
	Args    []string `json:"args"`
	Returns []string `json:"returns"`
}

// Advice is a union told apart by Kind.
type Advice struct {
	Kind      string      `json:"kind"`
	Line      int         `json:"line"`
	Template  *Template   `json:"template"`
	Namespace string      `json:"namespace"`
	Order     int         `json:"order"`
	Type      string      `json:"type"`
	Values    []*Template `json:"values"`
	Function  string      `json:"function"`
	Path      string      `json:"path"`
	Links     []string    `json:"links"`
	Name      string      `json:"name"`
}

// Template is Go text with text/template actions; Line is where its text begins in the rule's file.
type Template struct {
	Text    string            `json:"text"`
	Imports map[string]string `json:"imports"`
	Lang    string            `json:"lang"`
	Line    int               `json:"line"`
}

// Answer is what the program writes.
type Answer struct {
	Edits     []Edit       `json:"edits"`
	Matches   []Match      `json:"matches"`
	Unmatched []Unmatched  `json:"unmatched"`
	Links     []Reference  `json:"links"`
	Imports   []Reference  `json:"imports"`
	Languages []Language   `json:"languages"`
	Bodiless  []string     `json:"bodiless"`
	Errors    []WeaveError `json:"errors"`
	Replies   []*Reply     `json:"replies"`
}

// Edit replaces Delete bytes at Offset of a file as it is on disk by one line of text. What is inserted at a file's
// end may hold several lines.
type Edit struct {
	Package string `json:"package"`
	File    string `json:"file"`
	Offset  int    `json:"offset"`
	Delete  int    `json:"delete"`
	Insert  string `json:"insert"`
	Aspect  string `json:"aspect"`
	Advice  int    `json:"advice"`
}

// Match is one advice at one place.
type Match struct {
	Aspect  string `json:"aspect"`
	Advice  int    `json:"advice"`
	Package string `json:"package"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	What    string `json:"what"`
}

// Unmatched is an aspect that applies nowhere. Stage is how far it got: see rule.
type Unmatched struct {
	Aspect string `json:"aspect"`
	Reason string `json:"reason"`
	Stage  int    `json:"stage"`
}

// Reference is a package that woven code needs: imported by its text, or only linked.
type Reference struct {
	Package string `json:"package"`
	Import  string `json:"import"`
	Aspect  string `json:"aspect"`
}

// Language is the least language version that woven code of a package needs.
type Language struct {
	Package string `json:"package"`
	Lang    string `json:"lang"`
	Aspect  string `json:"aspect"`
}

// WeaveError is a rule that cannot be followed, with its place in the rules and in the program. It is an error
// value, too.
type WeaveError struct {
	Aspect   string `json:"aspect"`
	RuleFile string `json:"rule_file"`
	RuleLine int    `json:"rule_line"`
	File     string `json:"file"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Message  string `json:"message"`
}

func (e *WeaveError) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s", e.RuleFile, e.RuleLine, e.Aspect, e.Message)
}
