"""The compiled reader: built where it can be, left out (and said so) where it cannot.

AIOMCAST_BUILD=require makes a failed build an error, AIOMCAST_BUILD=skip builds none.
Everything else is in pyproject.toml.
"""

import os
import sys

from setuptools import Extension, setup

MODE = os.environ.get("AIOMCAST_BUILD", "")


def extensions() -> list[Extension]:
    """Return what to build: nothing on request, nor off Linux (recvmmsg, epoll) and CPython (its tuples)."""
    if MODE not in ("", "require", "skip"):
        sys.exit("AIOMCAST_BUILD is neither 'require' nor 'skip'")
    suited = sys.platform.startswith("linux") and sys.implementation.name == "cpython"
    if MODE == "skip" or not suited:
        if MODE == "require":
            sys.exit("AIOMCAST_BUILD=require: the compiled reader needs CPython on Linux")
        return []
    from Cython.Build import cythonize

    source = Extension(
        "aiomcast.reading._native", ["src/aiomcast/reading/_native.pyx"], extra_compile_args=["-O2"]
    )
    built: list[Extension] = cythonize(source, language_level=3)
    for extension in built:
        extension.optional = MODE != "require"  # set here: cythonize makes its own, and drops it
    return built


setup(ext_modules=extensions())
