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
    # Which watch: epoll, which keeps a place for a descriptor, what selectors has, or none.
    "reading/portable/watch.py": 2,
    "loops/waking.py": 1,
    # Who receives: recvmsg, or WSARecvMsg; and who waits: poll, or WSAPoll.
    "reading/__init__.py": 1,
    "reading/windows/recvmsg.py": 1,
    "system/readiness.py": 1,
    # Whose netlink it is: FreeBSD has one with other numbers.
    "system/netlink.py": 1,
    # What pipes and signals the command's own process has.
    "command/output.py": 4,
    "command/payloads.py": 1,
    # Whether there is uvloop.
    "command/running.py": 1,
}

MODULES = {"platform", "sysconfig"}
TABLES = {"LINUX_64", "LINUX_32", "FREEBSD", "MACOS", "WINDOWS"}
ATTRIBUTES = {("sys", "platform"), ("os", "name"), ("os", "uname"), ("sys", "getwindowsversion")}
OF_A_TABLE = {"name", "full_state"}


def modules(tree: ast.AST) -> dict[str, str]:
    """Return the modules that `tree` imports whole, by the names it gives them."""
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.Import))
    return {one.asname or one.name: one.name for node in imports for one in node.names}


def tables(tree: ast.AST) -> set[str]:
    """Return the names that `tree` gives to the table of the platform."""
    found = {"ABI", "abi"}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=ast.Call(func=ast.Name(id="native"))):
                found |= {one.id for one in targets if isinstance(one, ast.Name)}
            case ast.arg(arg=name, annotation=ast.Name(id="Abi")):
                found.add(name)
    return found


def looks(source: str) -> int:
    """Return how often a module asks which platform it runs on, or what the platform's table is called."""
    tree = ast.parse(source)
    imported, held = modules(tree), tables(tree)

    def is_look(owner: ast.expr, name: str) -> bool:
        match owner:
            case ast.Name(id=called):
                is_table = called in held and name in OF_A_TABLE
                return is_table or (imported.get(called, called), name) in ATTRIBUTES
            case ast.Call(func=ast.Name(id="native")):
                return name in OF_A_TABLE
            case ast.Attribute(attr="ABI"):
                return name in OF_A_TABLE
        return False

    def is_table(one: ast.expr) -> bool:
        called = one.id if isinstance(one, ast.Name) else one.attr if isinstance(one, ast.Attribute) else ""
        return called in TABLES

    count = 0
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=owner, attr=name):
                count += is_look(owner, name)
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(name)), *_]):
                count += is_look(owner, name)
            case ast.Import(names=names):
                count += sum(one.name in MODULES for one in names)
            case ast.ImportFrom(module=module, names=names, level=0):
                count += module in MODULES
                count += sum((module, one.name) in ATTRIBUTES for one in names)
            case ast.Compare(left=left, comparators=others):
                count += any(is_table(one) for one in (left, *others))
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
        "import sys as s\nx = s.platform", "import os as o\nx = o.name", "from os import name as n",
        "x = getattr(sys, 'platform')", "x = getattr(ABI, 'full_state')", "import sysconfig",
        "table = native()\nx = table.name", "def x(table: Abi) -> str: return table.full_state",
        "x = sockets.ABI.name", "x = ABI is abi.WINDOWS",
    ):  # fmt: skip
        assert looks(line) == 1, line
    assert looks("x = ABI.facts.reuse_port, interface.name") == 0
