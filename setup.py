"""The compiled reader, and what reads numbers: built where it can be, left out (and said so) where it cannot.

AIOMCAST_BUILD=require makes a failed build an error, AIOMCAST_BUILD=skip builds none.
Everything else is in pyproject.toml.
"""

import os
import sys

from setuptools import Extension, setup

MODE = os.environ.get("AIOMCAST_BUILD", "")
NEWEST = 3, 15  # what the compiled reader was looked through for; _native.pyx has it too


def extensions() -> list[Extension]:
    """Return what to build: nothing on request, nor where the compiled reader cannot be trusted."""
    if MODE not in ("", "require", "skip"):
        sys.exit("AIOMCAST_BUILD is neither 'require' nor 'skip'")
    hindrance = ""
    if not sys.platform.startswith("linux") or sys.implementation.name != "cpython":
        hindrance = "it needs CPython on Linux"  # its tuples; recvmmsg, epoll
    elif sys.version_info[:2] > NEWEST:
        hindrance = "it knows no Python after {}.{}".format(*NEWEST)
    if MODE == "require" and hindrance:
        sys.exit(f"AIOMCAST_BUILD=require: the compiled reader cannot be built, {hindrance}")
    if MODE == "skip" or hindrance:
        print("aiomcast: without the compiled reader:", hindrance or "AIOMCAST_BUILD=skip", file=sys.stderr)
        return []
    from Cython.Build import cythonize

    sources = [
        Extension(
            name,
            [f"src/{name.replace('.', '/')}.pyx"],
            extra_compile_args=["-O2"],
            extra_link_args=["-Wl,-s"],  # without symbols, mostly for debugging: a sixth of the size
        )
        for name in ("aiomcast.reading._native", "aiomcast.feeds._numbers")
    ]
    built: list[Extension] = cythonize(sources, language_level=3)
    for extension in built:
        extension.optional = MODE != "require"  # set here: cythonize makes its own, and drops it
    return built


setup(ext_modules=extensions())
