package gotaprt

import (
	"reflect"
	"strconv"
	"strings"
)

// typeName is a type's name with the whole paths of packages, as the linker writes it and as gotap reads it from a
// program's memory (gotap.image.types.rtype). Structs and interfaces without a name have that of package reflect.
func typeName(t reflect.Type) string {
	if t.Name() != "" {
		if t.PkgPath() == "" {
			return t.Name()
		}
		return escapePath(t.PkgPath()) + "." + t.Name()
	}
	switch t.Kind() {
	case reflect.Pointer:
		return "*" + typeName(t.Elem())
	case reflect.Slice:
		return "[]" + typeName(t.Elem())
	case reflect.Array:
		return "[" + strconv.Itoa(t.Len()) + "]" + typeName(t.Elem())
	case reflect.Map:
		return "map[" + typeName(t.Key()) + "]" + typeName(t.Elem())
	}
	return t.String()
}

// escapePath writes dots of the last element and what is no plain character as %xx (cmd/internal/objabi, PathToPrefix).
func escapePath(path string) string {
	slash := strings.LastIndexByte(path, '/')
	plain := true
	for i := 0; i < len(path) && plain; i++ {
		plain = !isEscaped(path[i], i > slash)
	}
	if plain {
		return path
	}
	to := make([]byte, 0, len(path)+8)
	for i := 0; i < len(path); i++ {
		if one := path[i]; isEscaped(one, i > slash) {
			to = append(to, '%', digits[one>>4], digits[one&15])
		} else {
			to = append(to, one)
		}
	}
	return string(to)
}

func isEscaped(one byte, last bool) bool {
	return one <= ' ' || one >= 0x7f || one == '%' || one == '"' || one == '.' && last
}
