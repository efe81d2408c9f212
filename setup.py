"""The compiled reader: built where it can be, left out (and said so) where it cannot.

AIOMCAST_BUILD=require makes a failed build an error, AIOMCAST_BUILD=skip builds none.
Everything else is in pyproject.toml.
"""

import os
import sys

from setuptools import Extension, setup

MODE = os.environ.get("AIOMCAST_BUILD", "")


def extensions() -> list[Extension]:
    """Return what to build: nothing on request, and nothing off Linux (recvmmsg, epoll)."""
    if MODE not in ("", "require", "skip"):
        sys.exit("AIOMCAST_BUILD is neither 'require' nor 'skip'")
    if MODE == "skip" or not sys.platform.startswith("linux"):
        if MODE == "require":
            sys.exit("AIOMCAST_BUILD=require: the compiled reader needs Linux")
        return []
    from Cython.Build import cythonize

    built = Extension(
        "aiomcast.reading._native",
        ["src/aiomcast/reading/_native.pyx"],
        optional=MODE != "require",
        extra_compile_args=["-O2"],
    )
    return cythonize(built, language_level=3)


setup(ext_modules=extensions())
