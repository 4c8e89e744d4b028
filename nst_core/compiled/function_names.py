"""Names for traced functions that are the same in every process.

TensorFlow numbers the functions of a process as they come, so that the same steps are called
something else after other work, and a compiled program, which is found again by its function's
name, is not found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from tensorflow.core.framework import function_pb2

# Of the arguments of a loop's condition that it does not use; TensorFlow puts its number into them.
_UNUSED = "___redundant_placeholder"
# It names a gradient by a number too, which nobody asks for once the function is traced.
_GRADIENT = "_gradient_op_type"


def portable(traced: Any) -> list[Any]:
    """The definitions of a concrete function and of all that it calls; itself last.

    Each is named by a hash of what it does, so that the same name is the same function.
    """
    library = {one.signature.name: one for one in traced.graph.as_graph_def().library.function}
    names: dict[str, str] = {}
    found: list[Any] = []

    def rename(definition: Any) -> str:
        before = definition.signature.name
        if before not in names:
            copy = _anonymous(definition)
            for reference in _references(copy):
                reference.name = rename(library[reference.name])
            content = copy.SerializeToString(deterministic=True)
            names[before] = f"nst_{hashlib.sha256(content).hexdigest()[:32]}"
            copy.signature.name = names[before]
            found.append(copy)
        return names[before]

    rename(traced.function_def)
    return found


def _anonymous(definition: Any) -> Any:
    """A copy without what differs between processes."""
    copy = function_pb2.FunctionDef()
    copy.CopyFrom(definition)
    copy.signature.name = ""
    for index, argument in enumerate(copy.signature.input_arg):
        if _UNUSED in argument.name:
            argument.name = f"unused_{index}"
    for node in copy.node_def:
        node.attr.pop(_GRADIENT, None)
        node.ClearField("experimental_debug_info")
    return copy


def _references(definition: Any) -> Iterator[Any]:
    """What names another function, in an order that does not depend on the process."""
    for node in definition.node_def:
        for _, value in sorted(node.attr.items()):
            if value.HasField("func"):
                yield value.func
            yield from value.list.func
