"""Packages of the module cache, woven where they are: what the programs tell of themselves is what they tell plain."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from weavecases import Done, go, module, run, tree, weave

#: Small modules; the first has capitals in its name, the third no go.mod.
GO_MOD = """module example.com/app

go 1.21

require (
	github.com/BurntSushi/toml v1.3.2
	github.com/go-chi/chi/v5 v5.0.10
	github.com/kballard/go-shellquote @
)
""".replace("@", "v0.0.0-20180428030007-95032a82bc51")
GO_SUM = """github.com/BurntSushi/toml v1.3.2 h1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=
github.com/BurntSushi/toml v1.3.2/go.mod h1:CxXYINrC8qIiEnFrOxCa7Jy5BFHlXnUU2pbicEuybxQ=
github.com/go-chi/chi/v5 v5.0.10 h1:rLz5avzKpjqxrYwXNfmjkrYYXOyLJd37pz53UFHC6vk=
github.com/go-chi/chi/v5 v5.0.10/go.mod h1:DslCQbL2OYiznFReuXYUmQ2hGd1aDpCnlMNITLSKoi8=
github.com/kballard/go-shellquote @ h1:Z9n2FFNUXsshfwJMBgNA0RU6/i7WVaAegv3PtuIHPMs=
github.com/kballard/go-shellquote @/go.mod h1:CzGEWj7cYgsdH8dAjBGEr58BoE7ScuLd+fwFZ44+/x8=
""".replace("@", "v0.0.0-20180428030007-95032a82bc51")
MAIN = """package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/BurntSushi/toml"
	"github.com/go-chi/chi/v5"
	"github.com/kballard/go-shellquote"
)

func main() {
	words, err := shellquote.Split("a 'b c'")
	fmt.Println(len(words), err)
	var into map[string]int
	fmt.Println(toml.Unmarshal([]byte("a = 1"), &into))
	info, _ := debug.ReadBuildInfo()
	fmt.Println(info)
	fmt.Println(os.Getenv("GOMODCACHE"), os.Getenv("GOFLAGS"), os.Getenv("GOWORK"))
	if len(os.Args) > 1 {
		panics()
	}
	defer func() {
		fmt.Println(recover())
		for depth := 0; ; depth++ {
			_, file, line, ok := runtime.Caller(depth)
			if !ok {
				return
			}
			fmt.Println(file, line)
		}
	}()
	panics()
}

func panics() { chi.NewRouter().Method("bad", "/", nil) }
"""
#: It imports a package that nothing else in the program needs: with the index of the module cache it is not found.
RULE = """
  - id: in {package}
    join-point:
      all-of:
        - import-path: {package}
        - function-body:
            function:
              - name: {function}
    advice:
      - prepend-statements:
          imports:
            tabwriter: text/tabwriter
            os: os
          template: '{{ _ = tabwriter.Debug; os.Stderr.WriteString("woven {function}\\n") }}'
"""
WOVEN = {
    "github.com/BurntSushi/toml": "Unmarshal",
    "github.com/go-chi/chi/v5": "Method",
    "github.com/kballard/go-shellquote": "Split",
}
RULES = "aspects:" + "".join(RULE.format(package=one, function=name) for one, name in WOVEN.items())
FILES = {"go.mod": GO_MOD, "go.sum": GO_SUM, "main.go": MAIN, "gotap.yaml": RULES}
SAID = "woven Split\nwoven Unmarshal\nwoven Method\n"


@pytest.fixture
def app(tmp_path: Path) -> Path:
    return module(tmp_path / "app", FILES)


def both(app: Path, *flags: str, **environment: str) -> tuple[Path, Path]:
    """The plain program and the woven one."""
    programs = app.parent / "plain", app.parent / "woven"
    for path, woven in zip(programs, (False, True), strict=True):
        done = go(app, "build", *flags, "-o", str(path), ".", woven=woven, **environment)
        assert (done.code, done.err) == (0, ""), done.err
    return programs


def same(programs: tuple[Path, Path]) -> Done:
    """What the woven program does, which is what the plain one does but for what is woven in."""
    plain, woven = (run(path) for path in programs)
    assert (woven.code, woven.out) == (plain.code, plain.out) == (0, plain.out)
    assert (plain.err, woven.err) == ("", SAID)
    return woven


def modules_of(program: Path) -> str:
    """What `go version -m` tells, but for the program's own path."""
    done = subprocess.run(["go", "version", "-m", str(program)], capture_output=True, text=True, check=True)
    return done.stdout.removeprefix(str(program))


@pytest.mark.parametrize("version", ["1.21.13", "1.26.8", *(pytest.param(one, marks=pytest.mark.matrix) for one in
                                     ("1.22.12", "1.23.12", "1.24.13", "1.25.10", "1.27.4"))])  # fmt: skip
def test_programs_tell_of_files_and_modules_what_they_tell_plain(version: str, app: Path, tmp_path: Path) -> None:
    before = tree(app)
    programs = both(app, GOTOOLCHAIN=f"go{version}")
    assert tree(app) == before
    done = same(programs)
    assert "\ndep\tgithub.com/BurntSushi/toml\tv1.3.2\th1:o7IhLm0Msx3BaB+n3Ag7L8EVlByGnpq14C4YWiu/gL8=\n" in done.out
    assert "=>" not in done.out
    assert modules_of(programs[0]) == modules_of(programs[1])
    cache = os.environ["GOTAP_CACHE"].encode()
    assert cache not in programs[1].read_bytes()
    assert stack(run(programs[0], "panic")) == stack(run(programs[1], "panic"))


def stack(ended: Done) -> list[str]:
    """Functions and places of a panic; offsets in functions and addresses are those of other code."""
    assert ended.code == 2
    lines = [line.split(" +0x")[0].split("(0x")[0].split("({0x")[0] for line in ended.err.splitlines()]
    return [line for line in lines if line and not line.startswith(("goroutine ", "woven "))]


def test_only_what_is_woven_and_what_imports_it_is_compiled_anew(app: Path, tmp_path: Path) -> None:
    rules = "aspects:" + RULE.format(package="github.com/go-chi/chi/v5", function="Method")
    (app / "gotap.yaml").write_text(rules)
    assert go(app, "build", "-o", str(tmp_path / "one"), ".").code == 0
    (app / "gotap.yaml").write_text(rules.replace("woven", f"never compiled before {time.time_ns()}"))
    done = go(app, "build", "-x", "-o", str(tmp_path / "two"), ".")
    assert done.code == 0, done.err
    assert compiled(done) == ["github.com/go-chi/chi/v5", "main"]
    assert compiled(go(app, "build", "-x", "-o", str(tmp_path / "two"), ".")) == []


def compiled(done: Done) -> list[str]:
    """Packages that a build with -x compiles; the path of the compiler is in quotes if it has spaces."""
    return re.findall(r"/compile['\"]? -o .* -p (\S+) ", done.err)


def test_a_second_build_is_the_same_and_plain_ones_are_what_they_were(app: Path) -> None:
    plain, woven = (path.read_bytes() for path in both(app))
    assert [path.read_bytes() for path in both(app)] == [plain, woven]


WAYS = (
    ["-trimpath"], ["-mod", "readonly"],
    *(pytest.param(one, marks=pytest.mark.matrix) for one in (["-race"], ["-mod=mod"], ["-buildmode=pie"])),
)  # fmt: skip


@pytest.mark.parametrize("flags", WAYS, ids=" ".join)
def test_ways_to_build(flags: list[str], app: Path) -> None:
    before = tree(app)
    programs = both(app, *flags, CGO_ENABLED="1")
    same(programs)
    assert modules_of(programs[0]) == modules_of(programs[1])
    assert tree(app) == before


def test_go_mod_by_another_name(app: Path) -> None:
    (app / "go.mod").rename(app / "other.mod")
    (app / "go.sum").rename(app / "other.sum")
    module(app, {"go.mod": "module example.com/app\n\ngo 1.21\n"})
    before = tree(app)
    same(both(app, "-modfile=other.mod"))
    same(both(app, GOFLAGS="-buildvcs=false -modfile=other.mod"))
    assert tree(app) == before


def test_modules_that_the_user_replaces_by_others_of_the_cache(app: Path) -> None:
    """By version, and in all versions; a program tells of both modules then."""
    old = "github.com/go-chi/chi/v5 v5.0.8"
    text = GO_MOD.replace("chi/v5 v5.0.10", "chi/v5 v5.0.8")
    for line in (f"replace {old} => github.com/go-chi/chi/v5 v5.0.10\n",
                 "replace github.com/go-chi/chi/v5 => github.com/go-chi/chi/v5 v5.0.10\n"):  # fmt: skip
        module(app, {"go.mod": f"{text}\n{line}"})
        programs = both(app)
        assert "=>\tgithub.com/go-chi/chi/v5\tv5.0.10\th1:rLz5" in same(programs).out
        assert modules_of(programs[0]) == modules_of(programs[1])


@pytest.mark.parametrize("version", [pytest.param("1.22.12", marks=pytest.mark.matrix), "1.26.8"])
def test_workspaces(version: str, tmp_path: Path) -> None:
    """Rules are the main modules'; go.work replaces a module, in a version that no go.mod names."""
    lib = 'package lib\n\nimport _ "github.com/go-chi/chi/v5"\n'
    sums = "".join(line + "\n" for line in GO_SUM.splitlines() if "chi" in line)
    top = module(tmp_path / "top", {
        **{f"app/{name}": text for name, text in FILES.items()},
        "app/go.mod": GO_MOD.replace("go 1.21", "go 1.22").replace("chi/v5 v5.0.10", "chi/v5 v5.0.8"),
        "lib/go.mod": "module example.com/lib\n\ngo 1.22\n\nrequire github.com/go-chi/chi/v5 v5.0.8\n",
        "lib/lib.go": lib, "lib/go.sum": sums, "go.mod": "module example.com/top\n\ngo 1.22\n",
        "go.work": "go 1.22\n\nuse (\n\t./app\n\t\"./lib\"\n)\n\n"
                   "replace github.com/go-chi/chi/v5 v5.0.8 => github.com/go-chi/chi/v5 v5.0.10\n",
    })  # fmt: skip
    go(top / "app", "build", "-o", os.devnull, ".", woven=False, GOTOOLCHAIN=f"go{version}")  # go.work.sum
    before = tree(top)
    programs = both(top / "app", GOTOOLCHAIN=f"go{version}")
    same(programs)
    assert modules_of(programs[0]) == modules_of(programs[1])
    for path in programs:
        path.unlink()
    assert tree(top) == before


def test_a_module_cache_of_the_users_own_that_cannot_be_written(app: Path, tmp_path: Path) -> None:
    own = tmp_path / "mödul cache"
    settings = {"GOMODCACHE": str(own), "GOFLAGS": "-buildvcs=false -modcacherw"}
    assert go(app, "mod", "download", woven=False, **settings).code == 0
    before = tree(own)
    for folder in (own, *(path for path in own.rglob("*") if path.is_dir())):
        folder.chmod(0o555)
    try:
        programs = both(app, **settings)
        same(programs)
        assert modules_of(programs[0]) == modules_of(programs[1])
        assert tree(own) == before
    finally:
        for folder in (own, *(path for path in own.rglob("*") if path.is_dir())):
            folder.chmod(0o755)


def test_tests_and_coverage_of_modules_of_the_cache(app: Path) -> None:
    """Coverage counts what stands in the module, and nothing that is woven."""
    words = ["test", "-count=1", "-covermode=set", "-coverpkg=github.com/kballard/go-shellquote"]
    profiles = {}
    for woven in (False, True):
        done = go(app, *words, "-coverprofile=profile", "github.com/kballard/go-shellquote", woven=woven)
        assert done.code == 0, done.out + done.err
        profiles[woven] = (app / "profile").read_text()
    assert profiles[True] == profiles[False]
    done = go(app, "test", "-count=1", "-v", "-run=Split", "github.com/kballard/go-shellquote")
    assert "woven Split" in done.out + done.err


def test_run_leaves_the_environment_as_it_is(app: Path) -> None:
    """Where GOMODCACHE is set, and programs are run by another one, too."""
    cache = go(app, "env", "GOMODCACHE", woven=False).out.strip()
    for words, settings in (
        (["."], {"GOFLAGS": ""}), (["."], {"GOMODCACHE": cache}),
        (["-exec", "env GOWORK=own", "."], {"GOMODCACHE": cache, "GOROOT": go(app, "env", "GOROOT").out.strip()}),
    ):  # fmt: skip
        outputs = [go(app, "run", *words, woven=woven, **settings) for woven in (False, True)]
        assert outputs[0].code == outputs[1].code == 0
        assert outputs[0].out == outputs[1].out


def test_what_would_change_names_the_package(app: Path) -> None:
    done = weave(app, "--diff", ".")
    assert "+++ b/github.com/go-chi/chi/v5/mux.go" in done.out
    assert "go.mod" not in done.out


CGO = """aspects:""" + RULE.format(package="github.com/mattn/go-pointer", function="Save")


def test_packages_with_c_in_the_cache(tmp_path: Path) -> None:
    text = 'package main\n\nimport "github.com/mattn/go-pointer"\n\nfunc main() { pointer.Unref(pointer.Save(1)) }\n'
    app = module(tmp_path / "app", {
        "go.mod": "module example.com/app\n\ngo 1.21\n\nrequire github.com/mattn/go-pointer v0.0.1\n",
        "main.go": text, "gotap.yaml": CGO,
    })  # fmt: skip
    assert go(app, "mod", "tidy", woven=False).code == 0
    programs = both(app, CGO_ENABLED="1")
    assert run(programs[1]).err == "woven Save\n"
    assert modules_of(programs[0]) == modules_of(programs[1])


@pytest.mark.parametrize("version", ["1.21.13", pytest.param("1.26.8", marks=pytest.mark.matrix)])
def test_what_the_catalogue_weaves_in_modules_of_an_old_go(version: str, tmp_path: Path) -> None:
    """They have no generic functions, which what is put beside their files does."""
    text = 'package main\n\nimport "golang.org/x/net/http2"\n\nfunc main() { println(http2.NextProtoTLS) }\n'
    required = "(\n\tgolang.org/x/net v0.0.0-20181017193950-04a2e542c03f\n\tgolang.org/x/text v0.3.0\n)"
    app = module(tmp_path / "app", {
        "go.mod": f"module example.com/app\n\ngo 1.21\n\nrequire {required}\n", "main.go": text,
    })  # fmt: skip
    settings = {"GOTOOLCHAIN": f"go{version}"}
    assert go(app, "mod", "tidy", woven=False, **settings).code == 0
    programs = both(app, **settings)
    assert run(programs[1]).err == "h2\n"
    assert b"gotaprt" in programs[1].read_bytes()
