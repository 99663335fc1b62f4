"""Functions as the catalogue names them, `net/http.(*Transport).roundTrip`, taken apart for the Go side."""

from __future__ import annotations

from msgspec import Struct

from gotap.probe.signature import Signature
from gotap.weave.rules import model

_LITERALS = ".func*"


class Symbol(Struct, frozen=True):
    """`receiver` is `T`, `*T` or ""; `literals`: the function's literals are meant, and not itself."""

    package: str
    receiver: str
    name: str
    literals: bool

    @property
    def function(self) -> str:
        """The name within the package."""
        if not self.receiver:
            return self.name
        return f"({self.receiver}).{self.name}" if self.receiver.startswith("*") else f"{self.receiver}.{self.name}"

    def selected(self) -> model.JoinPoint:
        """The function's declaration."""
        receiver = (
            model.Receiver(type=f"{'*' * self.receiver.startswith('*')}{self.package}.{self.receiver.lstrip('*')}")
            if self.receiver
            else model.Receiver(value=False)
        )
        return model.Function(options=(receiver, model.Name(name=self.name)))

    def body(self) -> model.JoinPoint:
        """Where statements at the function's entry go."""
        of: model.JoinPoint = self.selected()
        if self.literals:
            literal = model.Function(options=(model.Name(name=""),))
            of = model.AllOf(of=(literal, model.Within(of=of, value=False)))
        return model.AllOf(of=(model.ImportPath(path=self.package), model.FunctionBody(of=of)))

    def calls(self, callee: Symbol) -> model.JoinPoint:
        """Calls of another function in this one."""
        if (callee.package, callee.name) == ("runtime", "gorecover"):
            call: model.JoinPoint = model.FunctionCall(function="recover")
        elif callee.receiver:
            receiver = f"{callee.package}.{callee.receiver.lstrip('*')}"
            call = model.MethodCall(receiver=receiver, name=callee.name, match="any")
        else:
            path = "" if callee.package == self.package else f"{callee.package}."
            call = model.FunctionCall(function=path + callee.name)
        within = model.Within(of=self.selected(), value=self.literals)
        return model.AllOf(of=(model.ImportPath(path=self.package), call, within))


def symbol(signature: Signature) -> Symbol:
    package = signature.package
    rest = signature.symbol.removeprefix(package + ".")
    literals = rest.endswith(_LITERALS)
    rest = rest.removesuffix(_LITERALS)
    receiver, dot, name = rest.rpartition(".")
    return Symbol(package, receiver.strip("()") if dot else "", name, literals)
