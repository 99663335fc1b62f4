"""The link command's configuration without the replacements that a woven build makes."""

from __future__ import annotations

from pathlib import Path

from gotap.weave.linking import original
from gotap.weave.modcache import unescaped


def cached(cache: Path, path: str, version: str, total: str) -> str:
    """A module in the cache, and how the go command writes its replacement by its own folder."""
    folder = cache / "cache" / "download" / path / "@v"
    folder.mkdir(parents=True)
    (folder / f"{version}.ziphash").write_text(total)
    return rf"\n=>\t{cache}/{path}@{version}\t(devel)\t\n\n"


def test_modules_that_are_replaced_by_their_own_folders_are_not_replaced(tmp_path: Path) -> None:
    one = cached(tmp_path, "github.com/!burnt!sushi/toml", "v1.3.2", "h1:one=")
    information = rf"path\tmain\ndep\tgithub.com/BurntSushi/toml\tv1.3.2{one}build\t"
    text = f'packagefile a=/b.a\nmodinfo "0w\\xaf{information}"\n'
    expected = r"path\tmain\ndep\tgithub.com/BurntSushi/toml\tv1.3.2\th1:one=\nbuild\t"
    assert original(text, str(tmp_path)) == f'packagefile a=/b.a\nmodinfo "0w\\xaf{expected}"\n'


def test_modules_that_the_user_replaces_by_others_are_replaced_by_these(tmp_path: Path) -> None:
    other = cached(tmp_path, "example.com/!b", "v2.0.0", "h1:other=")
    assert original(rf'modinfo "dep\texample.com/a\tv1.0.0{other}"', str(tmp_path)) == (
        r'modinfo "dep\texample.com/a\tv1.0.0\n=>\texample.com/B\tv2.0.0\th1:other=\n\n"'
    )


def test_the_module_of_the_program_may_be_one_of_the_cache(tmp_path: Path) -> None:
    own = cached(tmp_path, "example.com/a", "v1.0.0", "h1:a=")
    assert original(rf'modinfo "mod\texample.com/a\tv1.0.0{own}"', str(tmp_path)) == (
        r'modinfo "mod\texample.com/a\tv1.0.0\th1:a=\n"'
    )


def test_other_replacements_and_other_lines_stay(tmp_path: Path) -> None:
    own = cached(tmp_path, "example.com/a", "v1.0.0", "h1:a=")
    text = r'modinfo "dep\texample.com/a\tv1.0.0\n=>\t./a\t(devel)\t\n\n"'
    assert original(text, str(tmp_path)) == text
    assert original(rf"packagefile dep\ta\tv1{own}", str(tmp_path)) == rf"packagefile dep\ta\tv1{own}"


def test_a_checksum_that_the_cache_has_lost_is_left_out(tmp_path: Path) -> None:
    text = rf'modinfo "dep\texample.com/a\tv1.0.0\n=>\t{tmp_path}/example.com/a@v1.0.0\t(devel)\t\n\n"'
    assert original(text, str(tmp_path)) == r'modinfo "dep\texample.com/a\tv1.0.0\t\n"'


def test_names_in_the_cache() -> None:
    assert unescaped("github.com/!burnt!sushi/toml") == "github.com/BurntSushi/toml"
    assert unescaped("v1.0.0-!r!c1") == "v1.0.0-RC1"
