"""Scripts: text → syntax tree. docs/trace-language.md is the language's reference.

A script is read in one pass: what says where probes sit character by character (specs.py), predicates and blocks word
by word (lexer.py). Between probes the lexer holds no word, only a position.
"""

from __future__ import annotations

from gotap.errors import GotapError
from gotap.probe import literals
from gotap.probe.expression import Expression, ExpressionParser, Literal, Local, MapValue, Name, Own
from gotap.probe.lexer import Lexer, shown
from gotap.probe.script.language import tree
from gotap.probe.script.language.format import FormatError, parse_format
from gotap.probe.script.language.source import COMMAND_LINE, Source, suggestion
from gotap.probe.script.language.specs import SpecReader
from gotap.probe.script.language.vocabulary import AGGREGATION_USES, BUILTINS, FUNCTIONS, OTHER_WORDS, STATEMENTS

#: Characters of a script, and probes in it.
MOST_TEXT = 1 << 20
MOST_PROBES = 1000

_ASSIGNMENTS = ("=", "+=", "-=")
_OTHER_ASSIGNMENTS = (":=", "*=", "/=", "%=", "&=", "|=", "^=")


def parse_script(text: str, name: str = COMMAND_LINE) -> tree.Script:
    """Raises source.ScriptError, which points at the first thing that is wrong."""
    source = Source(text, name)
    if len(text) > MOST_TEXT:
        raise source.error(-1, f"{name} is {len(text)} characters long", f"scripts have at most {MOST_TEXT}")
    if "\0" in text:
        raise source.error(text.index("\0"), "a script holds no zero bytes", "is this file a script?")
    return _ScriptParser(source).script()


class _ScriptParser(ExpressionParser):
    def __init__(self, source: Source) -> None:
        super().__init__(Lexer(source.text, source.error), FUNCTIONS)
        self.source = source
        self.specs = SpecReader(self.lexer)
        self.in_predicate = False

    # -- probes -------------------------------------------------------------------------------------------------

    def script(self) -> tree.Script:
        lexer = self.lexer
        probes: list[tree.Probe] = []
        signatures: list[tree.Signature] = []
        while True:
            self.skip_separators()
            if lexer.position == len(lexer.text):
                break
            if (signature := self.signature()) is not None:
                signatures.append(signature)
                continue
            if len(probes) == MOST_PROBES:
                raise self.fail(f"more than {MOST_PROBES} probes", "one probe may name many functions", lexer.position)
            probes.append(self.probe())
        if not probes:
            raise self.fail("there is no probe", "write one, such as main.*", 0 if lexer.text else -1)
        return tree.Script(tuple(probes), tuple(signatures), self.source.text, self.source.name)

    def skip_separators(self) -> None:
        lexer = self.lexer
        lexer.skip_lines()
        while lexer.text.startswith(";", lexer.position):
            lexer.position += 1
            lexer.skip_lines()

    def signature(self) -> tree.Signature | None:
        """`sig '…'`, on a line of its own."""
        lexer, text, begin = self.lexer, self.lexer.text, self.lexer.position
        if not text.startswith("sig", begin) or text[begin + 3 : begin + 4] not in (" ", "\t", "'", '"', "`"):
            return None
        lexer.position += 3
        lexer.skip_blanks()
        quote = text[lexer.position : lexer.position + 1]
        at = lexer.position + 1
        if quote not in ("'", '"', "`"):
            raise self.fail("expected a quoted signature", "write sig 'main.f(name string) error'", lexer.position)
        end = text.find(quote, at)
        if end < 0 or "\n" in text[at:end]:
            raise self.fail("the signature is not closed", f"close it by {quote} in the same line", at - 1)
        lexer.position = end + 1
        self.separated("a signature stands on a line of its own")
        if not text[at:end].strip():
            raise self.fail("the signature is empty", "write sig 'main.f(name string) error'", at - 1)
        return tree.Signature(text[at:end], at)

    def probe(self) -> tree.Probe:
        lexer = self.lexer
        at = lexer.position
        specs: list[tree.Spec] = []
        texts: list[str] = []
        while not specs or self.spec_follows():
            begin = lexer.position
            specs.append(self.specs.spec())
            texts.append(lexer.text[begin : lexer.position])
        new_line = lexer.skip_lines()
        predicate, block = None, None
        if lexer.text.startswith("/", lexer.position):
            predicate = self.predicate()
            new_line = lexer.skip_lines()
        if lexer.text.startswith("{", lexer.position):
            lexer.advance()
            block = self.block()
        elif not new_line:
            self.separated("a probe's statements stand between { and }")
        return tree.Probe(tuple(specs), predicate, block, ", ".join(texts), at)

    def spec_follows(self) -> bool:
        """Steps over the comma between two specs."""
        lexer = self.lexer
        lexer.skip_blanks()
        if not lexer.text.startswith(",", lexer.position):
            return False
        lexer.position += 1
        lexer.skip_lines()
        return True

    def separated(self, remedy: str) -> None:
        """Nothing but a separator may come next."""
        lexer = self.lexer
        lexer.skip_blanks()
        found = lexer.text[lexer.position : lexer.position + 1]
        if found not in ("", "\n", ";"):
            raise self.fail(f"unexpected `{found}`", remedy, lexer.position)

    def predicate(self) -> Expression:
        """From the opening slash to behind the closing one."""
        lexer = self.lexer
        opening = lexer.position
        self.step_over("/")
        self.in_predicate = True
        self.skip_line_ends()
        if self.at_operator("/"):
            raise self.fail("the predicate is empty", "write a condition: / args.n > 10 /")
        predicate = self.expression()
        self.skip_line_ends()
        self.in_predicate = False
        if not self.at_operator("/"):
            if lexer.kind == "end" or self.at_operator("{"):
                raise self.fail("the predicate is not closed", "close it by / before the {", opening)
            raise self.unexpected()
        self.leave_words()
        return predicate

    def ends_before(self, operator: str) -> bool:
        """The slash that closes a predicate is no division."""
        if operator != "/" or not self.in_predicate or self.lexer.nesting > 0:
            return False
        after = Lexer(self.lexer.text, self.lexer.fail, self.lexer.position)
        after.skip_blanks()
        return after.text[after.position : after.position + 1] in ("", "\n", "{", ";")

    def step_over(self, operator: str) -> None:
        """From a position before this character to the word behind it."""
        self.lexer.position += len(operator)
        self.lexer.advance()

    def leave_words(self) -> None:
        """Goes on character by character behind the word at hand."""
        self.lexer.kind = ""

    # -- statements ---------------------------------------------------------------------------------------------

    def block(self) -> tuple[tree.Statement, ...]:
        """From the opening brace, which is the word at hand, to behind the closing one, without reading on."""
        opening = self.lexer.start
        self.enter()
        self.lexer.advance()
        statements: list[tree.Statement] = []
        while True:
            while self.lexer.kind == "newline" or self.at_operator(";"):
                self.lexer.advance()
            if self.at_operator("}"):
                break
            if self.lexer.kind == "end":
                raise self.fail("the block is not closed", "close it by }", opening)
            statements.append(self.statement())
        self.depth -= 1
        self.leave_words()
        return tuple(statements)

    def inner_block(self) -> tuple[tree.Statement, ...]:
        self.skip_line_ends()
        if not self.at_operator("{"):
            raise self.fail("expected `{`", self.hint() or "statements stand between { and }")
        return self.block()

    def statement(self) -> tree.Statement:
        lexer = self.lexer
        word, at = lexer.token, lexer.start
        if lexer.kind == "name":
            if word == "if":
                lexer.advance()
                return self.branch(at)
            if word == "for":
                lexer.advance()
                return self.loop(at)
            if word in STATEMENTS:
                lexer.advance()
                statement = self.called(word, at)
                self.end_statement()
                return statement
        if self.at_operator("++", "--"):
            raise self.fail(f"`{word}` stands behind the variable", "write @m++")
        statement = self.assignment(at)
        self.end_statement()
        return statement

    def end_statement(self) -> None:
        if self.lexer.kind not in ("newline", "end") and not self.at_operator(";", "}"):
            remedy = self.hint() or "statements are separated by ; or line ends"
            raise self.fail(f"unexpected {shown(self.lexer.token)}", remedy)

    def called(self, word: str, at: int) -> tree.Statement:
        """A statement that is written like a call; its name has been read."""
        if word == "stop":
            if self.accept("("):
                self.expect(")")
            return tree.Stop(at)
        if not self.at_operator("("):
            raise self.fail("expected `(`", f"write {word}(…)")
        if word == "printf":
            return self.printf(at)
        self.lexer.advance()
        arguments = self.listed(")", "an argument")
        if word == "print":
            if not arguments:
                raise self.fail("print needs something to print", 'write print(x), or print("") for an empty line', at)
            return tree.Print(arguments, at)
        if len(arguments) != 1 or not isinstance(arguments[0], MapValue):
            example = "delete(@m[key])" if word == "delete" else "clear(@m)"
            raise self.fail(f"{word} takes a map", f"write {example}", arguments[0].at if arguments else at)
        return self.removal(word, arguments[0], at)

    def removal(self, word: str, value: MapValue, at: int) -> tree.Statement:
        name = f"@{value.name}"
        if word == "delete":
            if not value.keys:
                raise self.fail(
                    "delete removes what is under one key", f"write delete({name}[key]), or clear({name})", value.at
                )
            return tree.Delete(tree.MapTarget(value.name, value.keys, value.at), at)
        if value.keys:
            raise self.fail("clear empties a whole map", f"write clear({name}), or delete({name}[key])", value.at)
        return tree.Clear(value.name, at)

    def printf(self, at: int) -> tree.Printf:
        lexer = self.lexer
        lexer.advance()
        word, format_at = lexer.token, lexer.start
        if lexer.kind != "text":
            remedy = 'write printf("%s\\n", args.name)' + (", with double quotes" if lexer.kind == "rune" else "")
            raise self.fail("expected a format", remedy)
        format = self.literal("text", word, format_at).value
        assert isinstance(format, bytes)
        text = format.decode("utf-8", "surrogateescape")
        try:
            parse_format(text)
        except FormatError as error:
            place = format_at + literals.position_in_text(word, error.at)
            raise self.fail(str(error), error.remedy, place) from None
        lexer.advance()
        if self.accept(")"):
            return tree.Printf(text, (), at, format_at)
        self.expect(",")
        return tree.Printf(text, self.listed(")", "an argument"), at, format_at)

    def branch(self, at: int) -> tree.If:
        condition = self.expression()
        then = self.inner_block()
        otherwise: tuple[tree.Statement, ...] = ()
        if self.else_follows():
            self.lexer.advance()
            inner = self.lexer.start
            if self.lexer.kind == "name" and self.lexer.token == "if":
                self.enter()
                self.lexer.advance()
                otherwise = (self.branch(inner),)
                self.depth -= 1
            else:
                otherwise = self.inner_block()
                self.lexer.advance()
        return tree.If(condition, then, otherwise, at)

    def else_follows(self) -> bool:
        """Reads the word behind a block; `else` may stand on a line of its own."""
        lexer = self.lexer
        lexer.advance()
        self.skip_line_ends()
        return lexer.kind == "name" and lexer.token == "else"

    def loop(self, at: int) -> tree.For:
        lexer = self.lexer
        in_parentheses = self.accept("(")
        variable = lexer.token[1:]
        if lexer.kind != "local":
            raise self.fail("expected a variable", "write for $i in 0..10 { … }")
        lexer.advance()
        if not (lexer.kind == "name" and lexer.token == "in") and not self.at_operator(":"):
            raise self.fail("expected `in`", f"write for ${variable} in 0..10 {{ … }}")
        lexer.advance()
        first = self.expression()
        if not self.accept(".."):
            raise self.fail("expected `..`", f"write for ${variable} in 0..10 {{ … }}")
        limit = self.expression()
        if in_parentheses:
            self.expect(")")
        body = self.inner_block()
        lexer.advance()
        return tree.For(variable, first, limit, body, at)

    def assignment(self, at: int) -> tree.Statement:
        value = self.expression()
        operator, operator_at = self.lexer.token, self.lexer.start
        if self.at_operator("++", "--"):
            self.lexer.advance()
            return tree.Assign(self.target(value), f"{operator[0]}=", Literal(1, at=operator_at), operator_at)
        if self.at_operator(*_OTHER_ASSIGNMENTS):
            other = operator[:-1]
            remedy = "write =" if other == ":" else f"write x = x {other} …"
            raise self.fail(f"there is no `{operator}`", remedy)
        if not self.at_operator(*_ASSIGNMENTS):
            raise self.no_statement(value, at)
        target = self.target(value)
        self.lexer.advance()
        self.skip_line_ends()
        aggregate = self.aggregate(target, operator)
        if aggregate is not None:
            return aggregate
        return tree.Assign(target, operator, self.expression(), operator_at)

    def aggregate(self, target: tree.Target, operator: str) -> tree.Aggregate | None:
        """`count()` and the like behind the operator; None when something else stands there."""
        name, at = self.lexer.token, self.lexer.start
        if self.lexer.kind != "name" or name not in AGGREGATION_USES or not self.opens_behind():
            return None
        use = AGGREGATION_USES[name][2]
        if operator != "=":
            raise self.fail(f"`{operator}` does not go with {name}()", f"write = {use}")
        if not isinstance(target, tree.MapTarget):
            raise self.fail(f"{name}() is kept in a map", f"write @name = {use}", at)
        self.lexer.advance()
        self.lexer.advance()
        arguments = self.listed(")", "an argument")
        self.check_count(name, AGGREGATION_USES[name], arguments, at)
        if self.lexer.kind == "operator" and not self.at_operator(";", "}"):
            raise self.aggregation_within(name, at)
        return tree.Aggregate(target, name, arguments, at)

    def opens_behind(self) -> bool:
        behind = Lexer(self.lexer.text, self.lexer.fail, self.lexer.position)
        behind.skip_blanks()
        return behind.text.startswith("(", behind.position)

    def target(self, value: Expression) -> tree.Target:
        match value:
            case MapValue(name, keys):
                return tree.MapTarget(name, keys, value.at)
            case Local(name):
                return tree.LocalTarget(name, value.at)
            case Own(name):
                return tree.OwnTarget(name, value.at)
        remedy = "only @maps, $locals and the goroutine's self.NAME can: the target is never changed"
        raise self.fail("this cannot be assigned to", remedy, value.at)

    # -- errors -------------------------------------------------------------------------------------------------

    def no_statement(self, value: Expression, at: int) -> GotapError:
        if isinstance(value, Name) and value.name in OTHER_WORDS:
            return self.fail(f"there is no statement `{value.name}`", OTHER_WORDS[value.name], at)
        if self.at_operator(";", "}") or self.lexer.kind in ("newline", "end"):
            text = " ".join(self.lexer.text[at : self.lexer.start].split())
            return self.fail("a value alone does nothing", f"write print({text})" if len(text) < 60 else "print it", at)
        remedy = self.hint() or "statements are separated by ; or line ends"
        return self.fail(f"unexpected {shown(self.lexer.token)}", remedy)

    def aggregation_within(self, name: str, at: int) -> GotapError:
        return self.fail(f"{name}() stands alone behind the =", f"write @name[key] = {AGGREGATION_USES[name][2]}", at)

    def not_callable(self, name: str, at: int) -> GotapError:
        if name in AGGREGATION_USES:
            return self.aggregation_within(name, at)
        if name in STATEMENTS:
            return self.fail(f"{name} is a statement", "it gives no value", at)
        if name in BUILTINS:
            return self.fail(f"{name} is not a function", f"write {name}", at)
        known = (*FUNCTIONS, *STATEMENTS, *AGGREGATION_USES)
        remedy = OTHER_WORDS.get(name) or suggestion(name, known) or f"known are {', '.join(FUNCTIONS)}"
        return self.fail(f"there is no function {shown(name)}", remedy, at)
