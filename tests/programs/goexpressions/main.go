// Command goexpressions says how Go reads expressions and durations: an oracle for gotap's own reader of them.
//
// Each line of input is an object, {"expression": "a+b*c"} or {"duration": "1m30s"}; each line of output a text, which
// begins with "error" where Go refuses. Expressions are told with all operators in front: (+ a (* b c)).
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
	"time"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var question struct{ Expression, Duration string }
		if err := json.Unmarshal(in.Bytes(), &question); err != nil {
			panic(err)
		}
		answer, _ := json.Marshal(answer(question.Expression, question.Duration))
		fmt.Fprintf(out, "%s\n", answer)
	}
}

func answer(expression, duration string) string {
	if duration != "" {
		d, err := time.ParseDuration(duration)
		if err != nil {
			return "error: " + err.Error()
		}
		return fmt.Sprint(int64(d))
	}
	tree, err := parser.ParseExpr(expression)
	if err != nil {
		return "error: " + err.Error()
	}
	return told(tree)
}

// literal is the value of a number, signs and parentheses included.
func literal(e ast.Expr) constant.Value {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return constant.MakeFromLiteral(e.Value, e.Kind, 0)
		}
	case *ast.ParenExpr:
		return literal(e.X)
	case *ast.UnaryExpr:
		if v := literal(e.X); v != nil && e.Op == token.SUB {
			return constant.UnaryOp(token.SUB, v, 0)
		}
	}
	return nil
}

func told(e ast.Expr) string {
	if v := literal(e); v != nil {
		if v.Kind() == constant.Int {
			return v.ExactString()
		}
		f, _ := constant.Float64Val(v)
		return fmt.Sprintf("%.17g", f)
	}
	switch e := e.(type) {
	case nil:
		return "_"
	case *ast.BasicLit:
		return "text:" + hex.EncodeToString([]byte(constant.StringVal(constant.MakeFromLiteral(e.Value, e.Kind, 0))))
	case *ast.Ident:
		return e.Name
	case *ast.ParenExpr:
		return told(e.X)
	case *ast.SelectorExpr:
		return fmt.Sprintf("(. %s %s)", told(e.X), e.Sel.Name)
	case *ast.IndexExpr:
		return fmt.Sprintf("([] %s %s)", told(e.X), told(e.Index))
	case *ast.SliceExpr:
		return fmt.Sprintf("([:] %s %s %s)", told(e.X), told(e.Low), told(e.High))
	case *ast.TypeAssertExpr:
		return fmt.Sprintf("(.() %s %s)", told(e.X), strings.ReplaceAll(types.ExprString(e.Type), " ", ""))
	case *ast.CallExpr:
		parts := []string{told(e.Fun)}
		for _, one := range e.Args {
			parts = append(parts, told(one))
		}
		return "(call " + strings.Join(parts, " ") + ")"
	case *ast.StarExpr:
		return "(* " + told(e.X) + ")"
	case *ast.UnaryExpr:
		return fmt.Sprintf("(%s %s)", e.Op, told(e.X))
	case *ast.BinaryExpr:
		return fmt.Sprintf("(%s %s %s)", e.Op, told(e.X), told(e.Y))
	}
	return fmt.Sprintf("error: %T", e)
}
