"""The tree of errors: what each one also is, and what survives a copy."""

import copy
import errno
import pickle

import pytest

import aiomcast
from aiomcast import errors

TREE: dict[type[Exception], tuple[type[Exception], ...]] = {
    errors.MulticastError: (Exception,),
    errors.ArgumentError: (errors.MulticastError, ValueError),
    errors.AddressError: (errors.ArgumentError,),
    errors.FilterError: (errors.ArgumentError,),
    errors.InterfaceError: (errors.ArgumentError,),
    errors.ArgumentTypeError: (errors.ArgumentError, TypeError),
    errors.AddressTypeError: (errors.AddressError, errors.ArgumentTypeError),
    errors.FilterTypeError: (errors.FilterError, errors.ArgumentTypeError),
    errors.NoSuchInterfaceError: (errors.InterfaceError,),
    errors.InterfaceTypeError: (errors.InterfaceError, errors.ArgumentTypeError),
    errors.StateError: (errors.MulticastError, RuntimeError),
    errors.RefusedError: (errors.MulticastError, OSError),
    errors.LimitError: (errors.RefusedError,),
    errors.InterfaceGoneError: (errors.RefusedError,),
    errors.NoPermissionError: (errors.RefusedError, PermissionError),
    errors.NoRouteError: (errors.RefusedError,),
    errors.CaptureError: (errors.MulticastError,),
    errors.InconsistentError: (errors.MulticastError,),
    errors.UnsupportedError: (errors.MulticastError,),
    errors.MissingExtraError: (errors.MulticastError, ImportError),
}
REFUSED = [kind for kind in TREE if issubclass(kind, OSError)]
PLAIN = [kind for kind in TREE if not issubclass(kind, OSError)]


def test_the_tree_is_whole_and_public() -> None:
    assert set(errors.__all__) == {kind.__name__ for kind in TREE}
    assert set(errors.__all__) <= set(aiomcast.__all__)
    for kind, bases in TREE.items():
        assert kind.__bases__ == bases
        assert kind.__name__ in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", PLAIN)
def test_detail_and_hint_make_the_message(kind: type[errors.MulticastError]) -> None:
    error = kind("it broke", "mend it")
    assert (error.detail, error.hint, str(error)) == ("it broke", "mend it", "it broke: mend it")
    assert str(kind("it broke")) == "it broke"


@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_keeps_the_errno(kind: type[errors.RefusedError]) -> None:
    error = kind(errno.ENOBUFS, "it broke", "mend it")
    assert error.errno == errno.ENOBUFS
    assert (error.detail, error.hint, str(error)) == ("it broke", "mend it", "it broke: mend it")
    assert error.filename is None
    assert str(kind(errno.ENOBUFS, "it broke")) == "it broke"


@pytest.mark.parametrize("kind", TREE)
@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_an_error_survives_a_copy(kind: type[errors.MulticastError], again: object) -> None:
    arguments = (errno.ENOBUFS,) if issubclass(kind, OSError) else ()
    # the type is ignored as each kind has arguments of its own
    error = kind(*arguments, "it broke", "mend it")  # type: ignore[call-arg]
    other = again(error)  # type: ignore[operator]  # copy, deepcopy or pickle
    assert type(other) is kind
    assert str(other) == str(error)
    assert getattr(other, "errno", None) == getattr(error, "errno", None)


def test_a_limit_keeps_its_name_value_and_sysctl_in_a_copy() -> None:
    error = errors.LimitError(errno.ENOBUFS, "full", "raise it", limit="sources", value=10, sysctl="net.x")
    for other in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (other.limit, other.value, other.sysctl) == ("sources", 10, "net.x")
