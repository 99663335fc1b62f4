// Stdnames writes a program that uses every exported function and type of the standard library it is built with.
package main

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

// Packages that are none, need more than a Go compiler, or end the program that links them.
var leftOut = map[string]bool{
	"unsafe": true, "builtin": true, "plugin": true, "runtime/cgo": true, "runtime/race": true, "embed": true,
	"arena": true, "crypto/boring": true, "sync/atomic": true, "internal": true, "cmd": true, "vendor": true,
	"testdata": true, "simd": true, "testing/synctest": true, "runtime/secret": true, "goexperiment": true,
}

type exported struct{ functions, types []string }

func names(directory, path string) (found exported) {
	listed, err := build.Default.ImportDir(directory, 0)
	if err != nil || listed.IsCommand() {
		return found
	}
	for _, name := range listed.GoFiles {
		file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(directory, name), nil, 0)
		if err != nil {
			panic(err)
		}
		for _, declared := range file.Decls {
			switch one := declared.(type) {
			case *ast.FuncDecl:
				if one.Recv == nil && one.Name.IsExported() && one.Type.TypeParams == nil {
					found.functions = append(found.functions, one.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range one.Specs {
					if named, ok := spec.(*ast.TypeSpec); ok && named.Name.IsExported() && named.TypeParams == nil &&
						!constraint(named.Type) {
						found.types = append(found.types, named.Name.Name)
					}
				}
			}
		}
	}
	return found
}

// constraint tells an interface that can only constrain type parameters.
func constraint(declared ast.Expr) bool {
	if one, ok := declared.(*ast.InterfaceType); ok {
		for _, element := range one.Methods.List {
			switch inner := element.Type.(type) {
			case *ast.BinaryExpr, *ast.UnaryExpr:
				return true
			case *ast.Ident:
				if inner.Name == "comparable" {
					return true
				}
			}
		}
	}
	return false
}

func main() {
	root := filepath.Join(build.Default.GOROOT, "src")
	var imports, values []string
	err := filepath.Walk(root, func(directory string, info os.FileInfo, err error) error {
		if err != nil || !info.IsDir() || directory == root {
			return err
		}
		path, _ := filepath.Rel(root, directory)
		path = filepath.ToSlash(path)
		if leftOut[path] || leftOut[info.Name()] || strings.HasPrefix(info.Name(), "_") {
			return filepath.SkipDir
		}
		found := names(directory, path)
		if len(found.functions)+len(found.types) == 0 {
			return nil
		}
		alias := "p" + strings.NewReplacer("/", "_", ".", "_").Replace(path)
		imports = append(imports, fmt.Sprintf("\t%s %q", alias, path))
		for _, name := range found.functions {
			values = append(values, fmt.Sprintf("\t%s.%s,", alias, name))
		}
		for _, name := range found.types {
			values = append(values, fmt.Sprintf("\t(*%s.%s)(nil),", alias, name))
		}
		return nil
	})
	if err != nil {
		panic(err)
	}
	fmt.Println("package main\n\nimport (\n\t\"os\"\n\t\"reflect\"\n" + strings.Join(imports, "\n") + "\n)\n")
	fmt.Println("var values = []any{\n" + strings.Join(values, "\n") + "\n}\n")
	// A method called by a name that is not known beforehand keeps every exported method.
	fmt.Println("func main() {\n\tfor _, value := range values {\n" +
		"\t\treflect.ValueOf(value).MethodByName(os.Args[0])\n\t}\n}")
}
