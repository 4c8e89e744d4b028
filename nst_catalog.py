"""The command `nst`: first of all, that `pipeline` and `nst_core` are this distribution's own.

Both names are common; of another package of that name, earlier on the path, only a traceback would
tell. Imports nothing but the standard library before that is known.
"""

import importlib.util
import os
import pathlib
import sys
from collections.abc import Sequence

OWN = ("pipeline", "nst_core")
HERE = pathlib.Path(__file__).resolve().parent
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `nst` with these arguments (default: the process's); its exit status."""
    for name in OWN:
        if sentence := intruder(name):
            print(sentence, file=sys.stderr)
            return EXIT_USAGE
    try:
        from pipeline.__main__ import main as command
    except KeyboardInterrupt:
        print("nst: Stopped; give the same command again.", file=sys.stderr)
        return EXIT_INTERRUPTED
    return command(arguments)


def intruder(name: str) -> str | None:
    """What is wrong with the package that an import of `name` would find; None: it is our own."""
    spec = importlib.util.find_spec(name)
    places = [*(spec.submodule_search_locations or [])] if spec else []
    if spec and spec.origin and not places:
        places = [spec.origin]
    found = [pathlib.Path(place).resolve() for place in places]
    if HERE / name in found[:1]:
        return None
    if not found:
        return (
            f"The package {name!r}, a part of nst-catalog, is not in {HERE}; install nst-catalog "
            "again."
        )
    folder = found[0].parent
    listed = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    is_listed = folder in {pathlib.Path(one).resolve() for one in listed}
    remedy = (
        f"take {folder} out of PYTHONPATH"
        if is_listed
        else f"uninstall or rename it, or install nst-catalog into an environment without {folder}"
    )
    return (
        f"Python finds another {name!r} at {found[0]} before nst-catalog's own in {HERE}; {remedy}."
    )


if __name__ == "__main__":
    sys.exit(main())
