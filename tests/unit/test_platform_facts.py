"""What differs between platforms is a fact of the ABI tables: what still looks at the platform is listed."""

import ast
import re
from collections import Counter
from pathlib import Path

import aiomcast

PACKAGE = Path(aiomcast.__file__).parent

# The places outside rfc3678/abi/ that may look at the platform, and how often they do.
ALLOWED = {
    # Which library can be loaded: ws2_32, or libc with the functions of sourcefilter(3).
    "rfc3678/kernel.py": 1,
    # Which set of the three forms of a full-state call, by the table's own field.
    "rfc3678/full_state.py": 1,
    # Which watch: epoll, which keeps a place for a descriptor, or what selectors has.
    "reading/portable/watch.py": 1,
    "loops/read_loop.py": 2,
    # What pipes and signals the command's own process has.
    "command/cli.py": 4,
}

MODULES = {"platform"}
TABLES = {"LINUX_64", "LINUX_32", "FREEBSD", "MACOS", "WINDOWS"}
ATTRIBUTES = {("sys", "platform"), ("os", "name"), ("os", "uname"), ("sys", "getwindowsversion")}


def looks(source: str) -> int:
    """Return how often a module asks which platform it runs on, or what the platform's table is called."""
    count = 0
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id=owner), attr=name):
                is_table = owner.lower().endswith("abi") and name in ("name", "full_state")
                count += is_table or (owner, name) in ATTRIBUTES
            case ast.Attribute(value=ast.Call(func=ast.Name(id="native")), attr="name" | "full_state"):
                count += 1
            case ast.Import(names=names):
                count += sum(one.name in MODULES for one in names)
            case ast.ImportFrom(module=module, names=names, level=0):
                count += module in MODULES
                count += sum((module, one.name) in ATTRIBUTES for one in names)
            case ast.Compare(left=left, comparators=others):
                count += any(
                    isinstance(one, ast.Name)
                    and re.fullmatch("LINUX(_64|_32)?|FREEBSD|MACOS|WINDOWS", one.id)
                    for one in (left, *others)
                )
    return count


def test_only_the_listed_places_look_at_the_platform() -> None:
    found = Counter[str]()
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).as_posix()
        if not name.startswith("rfc3678/abi/"):
            found[name] += looks(file.read_text("utf-8"))
    assert +found == ALLOWED


def test_the_compiled_reader_does_not_look_at_the_platform() -> None:
    for file in PACKAGE.rglob("*.pyx"):
        assert not re.search(r"sys\.platform|os\.name|UNAME_SYSNAME", file.read_text("utf-8"))


def test_a_look_is_seen() -> None:
    for line in (
        "x = sys.platform", "if os.name == 'nt': pass", "import platform", "from sys import platform",
        "x = ABI.name", "x = ABI.full_state == 'bsd'", "x = native().name", "x = ABI is WINDOWS",
    ):  # fmt: skip
        assert looks(line) == 1, line
    assert looks("x = ABI.facts.reuse_port, interface.name") == 0
