"""`__all__` is the public API: sorted, whole, documented."""

import importlib
import inspect
import pkgutil
import sys
import types
import typing

import pytest

import aiomcast
from aiomcast import feeds, relay
from aiomcast.rfc3678 import calls

CLASSES = [
    value
    for module in (aiomcast, feeds, relay)
    for name in module.__all__
    if isinstance(value := getattr(module, name), type)
]
FUNCTIONS = [
    value for name in aiomcast.__all__ if isinstance(value := getattr(aiomcast, name), types.FunctionType)
]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(aiomcast.__path__, "aiomcast.")
    if not module.name.endswith(".__main__")  # importing that one runs it
)


def test_all_is_sorted_and_there_is_nothing_else() -> None:
    assert aiomcast.__all__ == sorted(set(aiomcast.__all__))
    public = {
        name
        for name, value in vars(aiomcast).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public == set(aiomcast.__all__)


@pytest.mark.parametrize(
    "name",
    ["SourceFilter", "Packet", "Channel", "Flow", "Membership", "Receiver", "FilterManager",
     "MulticastProtocol", "PacketStream", "Overflow", "Interface", "Statistics", "Sender", "listen",
     "create_multicast_endpoint", "open_socket", "MulticastError", "LimitError", "AddressError"],
)  # fmt: skip
def test_the_names_of_the_design_are_there(name: str) -> None:
    assert name in aiomcast.__all__


@pytest.mark.parametrize("what", [*CLASSES, *FUNCTIONS], ids=lambda one: one.__name__)
def test_public_names_have_a_docstring_of_their_own(what: type) -> None:
    assert what.__doc__
    assert what.__doc__.strip()
    if isinstance(what, type):
        inherited = {base.__doc__ for base in what.__mro__[1:]}
        assert what.__doc__ not in inherited


def public_methods(owner: type) -> list[tuple[str, object]]:
    """Return what a user can call or read: of the class and of the package's classes above it."""
    found: dict[str, object] = {}
    for base in reversed(owner.__mro__):
        if base.__module__.startswith("aiomcast") and not base.__module__.endswith("_native"):
            found.update(vars(base))
    kinds = (types.FunctionType, property, classmethod, staticmethod)
    return [(name, one) for name, one in found.items() if not name.startswith("_") and isinstance(one, kinds)]


@pytest.mark.parametrize("owner", CLASSES, ids=lambda one: one.__name__)
def test_public_methods_have_a_docstring(owner: type) -> None:
    missing = [
        name
        for name, one in public_methods(owner)
        if not (getattr(one, "__doc__", None) or "").strip() and "attrs generated" not in repr(one)
    ]
    assert not missing


@pytest.mark.parametrize("name", MODULES)
def test_every_module_says_what_lives_there_and_exports_what_it_has(name: str) -> None:
    module = importlib.import_module(name)
    assert (module.__doc__ or "").strip()
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported)


@pytest.mark.parametrize("name", MODULES)
def test_what_is_imported_by_the_name_of_a_module_is_the_module(name: str) -> None:
    """`import aiomcast.X` never yields something else than the module X, and no public name hides one."""
    module = importlib.import_module(name)
    parent, _, last = name.rpartition(".")
    assert getattr(sys.modules[parent], last) is module
    assert name not in {f"aiomcast.{public}" for public in aiomcast.__all__}


def test_the_public_modules_export_public_names() -> None:
    from aiomcast import interfaces

    assert isinstance(interfaces, types.ModuleType)
    for name in interfaces.__all__:
        assert getattr(interfaces, name) is getattr(aiomcast, name)


# What each has without an underscore: all of it, documented, and nothing that came by accident.
NAMES = {
    "Receiver": """
        aclose batches capabilities events filters join membership_of memberships options packets refresh
        statistics
    """,
    "Membership": """
        batches block_source diagnose filter group interface interfaces join_source kernel_filter leave
        leave_source on_device packets port refresh statistics statistics_by_source swap unblock_source
    """,
    "PacketStream": "aclose batches capacity receive receive_nowait statistics tags",
    "EventStream": "aclose capacity receive receive_nowait",
    "PacketBatches": "aclose stream",
    "Listener": "receiver",
    "Joining": "close send throw",
}


@pytest.mark.parametrize("owner", NAMES)
def test_the_public_names_of_a_class_are_these_and_no_others(owner: str) -> None:
    kind = getattr(aiomcast, owner)
    assert {name for name in dir(kind) if not name.startswith("_")} == set(NAMES[owner].split())
    for name in NAMES[owner].split():
        assert (getattr(kind, name).__doc__ or "").strip() or name == "capacity"  # which is the queue's


def test_what_is_made_has_no_other_public_names() -> None:
    """A slot or an attribute of the object would be one."""
    receiver = aiomcast.Receiver()
    listener = aiomcast.listen("232.1.1.1", 5000)
    for one in (receiver, listener):
        assert {name for name in dir(one) if not name.startswith("_")} == set(
            NAMES[type(one).__name__].split()
        )


TYPED = [*CLASSES, *FUNCTIONS, *(getattr(calls, name) for name in calls.__all__)]


@pytest.mark.parametrize("what", TYPED, ids=lambda one: one.__name__)
def test_the_types_of_public_names_can_be_asked_for(what: type) -> None:
    """`typing.get_type_hints` finds every name in an annotation, of classes, functions and methods."""
    typing.get_type_hints(what)
    if not isinstance(what, type):
        return
    typing.get_type_hints(what.__init__)  # type: ignore[misc]  # the number of this turn
    for name, one in public_methods(what):
        method = one.fget if isinstance(one, property) else getattr(what, name)
        assert callable(method)
        assert typing.get_type_hints(method) or not inspect.signature(method).parameters, name
    for base in what.__mro__:  # and what is called by a statement: aiter, async with, await
        for name, one in vars(base).items() if base.__module__.startswith("aiomcast") else ():
            if name.startswith("__") and isinstance(one, types.FunctionType):
                typing.get_type_hints(one)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert aiomcast.__version__ == version("aiomcast")


def test_signatures_are_annotated() -> None:
    for function in FUNCTIONS:
        signature = inspect.signature(function)
        assert signature.return_annotation is not inspect.Signature.empty
        assert all(one.annotation is not inspect.Parameter.empty for one in signature.parameters.values())
