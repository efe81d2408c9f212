"""What users hand in by mistake: values of every wrong type, and values that are wrong in themselves."""

__all__ = ["JUNK"]


class _NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


JUNK: dict[str, object] = {
    "None": None,
    "empty text": "",
    "text": "nonsense",
    "long text": "x" * 10_000,
    "a surrogate": "\ud800",
    "a zone of digits that are none": "ff32::1%\u00b2",
    "a zone of many digits": "ff32::1%" + "9" * 5_000,
    "a zone with a surrogate": "fe80::1%\ud800",
    "text with a zero": "192.0.2.1\0",
    "a network": "192.0.2.0/24",
    "empty bytes": b"",
    "bytes": b"192.0.2.1",
    "a bytearray": bytearray(b"\xe8\x01\x01\x01"),
    "an empty list": [],
    "a list in a list": [["192.0.2.1"]],
    "a list of objects": [object(), object()],
    "a list of unhashables": [{}, []],
    "a dict": {5: []},
    "a set": {1.5},
    "an object": object(),
    "an object without a repr": _NoRepr(),
    "a class": int,
    "a function": print,
    "nan": float("nan"),
    "infinity": float("inf"),
    "a complex number": 1j,
    "-1": -1,
    "0": 0,
    "2**70": 1 << 70,
    "10**5000": 10**5_000,  # whose repr is refused
    "True": True,
    "False": False,
    "...": ...,
}
