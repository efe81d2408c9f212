"""What setup.py builds and what it leaves out, told of other systems and versions by stand-ins."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

SETUP = Path(__file__).parents[2] / "setup.py"
pytestmark = pytest.mark.skipif(not SETUP.exists(), reason="setup.py is not here")


def extension(name: str, sources: list[str], *, optional: bool | None = None, **_: object) -> SimpleNamespace:
    """As setuptools'."""
    return SimpleNamespace(name=name, sources=sources, optional=optional)


def cythonize(source: SimpleNamespace, **_: object) -> list[SimpleNamespace]:
    """As Cython's, which makes extensions anew and drops the options it does not know."""
    return [extension(source.name, source.sources)]


def build(monkeypatch: pytest.MonkeyPatch, mode: str, **here: object) -> list[SimpleNamespace]:
    """Run setup.py with AIOMCAST_BUILD as `mode`, on CPython for Linux or `here`; return its extensions."""
    built: list[SimpleNamespace] = []

    def setup(ext_modules: list[SimpleNamespace]) -> None:
        built.extend(ext_modules)

    system = {"platform": "linux", "implementation": SimpleNamespace(name="cpython"), **here}
    stand_ins = {
        "sys": SimpleNamespace(exit=sys.exit, stderr=sys.stderr, **system),
        "setuptools": SimpleNamespace(Extension=extension, setup=setup),
        "Cython": SimpleNamespace(),
        "Cython.Build": SimpleNamespace(cythonize=cythonize),
    }
    with monkeypatch.context() as patched:
        patched.setenv("AIOMCAST_BUILD", mode)
        for name, module in stand_ins.items():
            patched.setitem(sys.modules, name, module)
        exec(compile(SETUP.read_text(), SETUP, "exec"), {"__name__": "__main__"})
    return built


@pytest.mark.parametrize(("mode", "optional"), [("", True), ("require", False)])
def test_a_failed_build_is_an_error_where_it_is_required(
    monkeypatch: pytest.MonkeyPatch, mode: str, optional: bool
) -> None:
    (built,) = build(monkeypatch, mode)
    assert built.name == "aiomcast.reading._native"
    assert built.optional is optional


def test_nothing_is_built_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(monkeypatch, "skip") == []
    with pytest.raises(SystemExit, match="AIOMCAST_BUILD is neither"):
        build(monkeypatch, "perhaps")


@pytest.mark.parametrize("here", [{"platform": "darwin"}, {"implementation": SimpleNamespace(name="pypy")}])
def test_what_cannot_be_built_is_left_out(monkeypatch: pytest.MonkeyPatch, here: dict[str, object]) -> None:
    assert build(monkeypatch, "", **here) == []
    with pytest.raises(SystemExit, match="AIOMCAST_BUILD=require: "):
        build(monkeypatch, "require", **here)
