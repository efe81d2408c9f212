"""What setup.py builds and what it leaves out, told of other systems and versions by stand-ins."""

import ast
import re
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "setup.py"
pytestmark = pytest.mark.skipif(not SETUP.exists(), reason="setup.py is not here")


def extension(name: str, sources: list[str], *, optional: bool | None = None, **_: object) -> SimpleNamespace:
    """As setuptools'."""
    return SimpleNamespace(name=name, sources=sources, optional=optional)


def cythonize(sources: list[SimpleNamespace], **_: object) -> list[SimpleNamespace]:
    """As Cython's, which makes extensions anew and drops the options it does not know."""
    return [extension(source.name, source.sources) for source in sources]


def build(monkeypatch: pytest.MonkeyPatch, mode: str, **here: object) -> list[SimpleNamespace]:
    """Run setup.py with AIOMCAST_BUILD as `mode`, on CPython for Linux or `here`; return its extensions."""
    built: list[SimpleNamespace] = []

    def setup(ext_modules: list[SimpleNamespace]) -> None:
        built.extend(ext_modules)

    cpython = SimpleNamespace(name="cpython")
    system = {"platform": "linux", "implementation": cpython, "version_info": (3, 11, 7, "final", 0), **here}
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
    built = build(monkeypatch, mode)
    assert [one.name for one in built] == ["aiomcast.reading._native", "aiomcast.feeds._numbers"]
    assert all((ROOT / one.sources[0]).exists() for one in built)
    assert {one.optional for one in built} == {optional}


def test_nothing_is_built_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    assert build(monkeypatch, "skip") == []
    with pytest.raises(SystemExit, match="AIOMCAST_BUILD is neither"):
        build(monkeypatch, "perhaps")


@pytest.mark.parametrize(
    ("here", "why"),
    [
        ({"platform": "darwin"}, "needs CPython on Linux"),
        ({"implementation": SimpleNamespace(name="pypy")}, "needs CPython on Linux"),
        ({"version_info": (3, 99, 0, "alpha", 1)}, "no Python after 3"),
    ],
)
def test_what_cannot_be_built_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], here: dict[str, object], why: str
) -> None:
    assert build(monkeypatch, "", **here) == []
    assert why in capfd.readouterr().err
    assert build(monkeypatch, "skip", **here) == []
    with pytest.raises(SystemExit, match=f"AIOMCAST_BUILD=require: .*{why}"):
        build(monkeypatch, "require", **here)


def test_the_newest_python_is_the_same_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """In setup.py, in the compiled reader's own check, and in what the package says of itself."""
    (written,) = re.findall(r"^NEWEST = (\d+, \d+)", SETUP.read_text(), re.MULTILINE)
    newest = ast.literal_eval(written)
    assert build(monkeypatch, "", version_info=(*newest, 99, "final", 0))
    assert not build(monkeypatch, "", version_info=(newest[0], newest[1] + 1, 0, "alpha", 1))
    source = (ROOT / "src/aiomcast/reading/_native.pyx").read_text()
    (refused,) = re.findall(r"PY_VERSION_HEX >= 0x(\w{8})\n    #error", source)
    assert bytes.fromhex(refused) == bytes([newest[0], newest[1] + 1, 0, 0])
    assert 'up to {}.{}"'.format(*newest) in source
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = [
        tuple(map(int, match.groups())) for it in classifiers if (match := re.search(r":: (\d)\.(\d+)$", it))
    ]
    assert versions == [(3, minor) for minor in range(11, newest[1] + 1)]
