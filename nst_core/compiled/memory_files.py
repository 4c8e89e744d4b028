"""Files of TensorFlow's that lie in this process's memory, in folders of `ram://`."""

from __future__ import annotations

import tensorflow as tf


def put(folder: str, files: dict[str, bytes]) -> None:
    """Write the files that are not there yet."""
    tf.io.gfile.makedirs(folder)
    for name, data in files.items():
        # Here what is opened to be written anew is written on.
        if not tf.io.gfile.exists(f"{folder}/{name}"):
            with tf.io.gfile.GFile(f"{folder}/{name}", "wb") as file:
                file.write(data)


def take(folder: str, word: str) -> dict[str, bytes]:
    """Take away the files in which a word is."""
    found = {}
    for name in written(folder):
        # Threads beside this one take theirs.
        try:
            data = read(f"{folder}/{name}")
            if word.encode() in data:
                tf.io.gfile.remove(f"{folder}/{name}")
                found[name] = data
        except tf.errors.NotFoundError:
            continue
    return found


def written(folder: str) -> list[str]:
    """The names of the files that are written whole."""
    try:
        names = tf.io.gfile.listdir(folder)
    except tf.errors.NotFoundError:
        return []
    return [
        name for name in names if ".tmp" not in name and not tf.io.gfile.isdir(f"{folder}/{name}")
    ]


def read(path: str) -> bytes:
    """What is in a file."""
    with tf.io.gfile.GFile(path, "rb") as file:
        return bytes(file.read())
