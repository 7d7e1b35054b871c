"""File systems, a local one and one like an object store, that let a test in before and after every operation.

Only what an operation does is counted, a copy and its delete apart, so that the test can fail, kill or change the
world between any two steps of a run.
"""

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

LOCAL = fs.LocalFileSystem()


class Steps:
    """Calls `at_step(number)` before and after everything that an operation does, numbered from 1."""

    def __init__(self, at_step: Callable[[int], None] = lambda _: None):
        self.at_step, self.count = at_step, 0

    def do(self, *effects: Callable[[], object]) -> object:
        """A step before each effect and one after the last; returns the last one's result."""
        done = [self.look(effect) for effect in effects][-1]
        return self.look(lambda: done)

    def look(self, effect: Callable[[], object]) -> object:
        """A step before, none after."""
        self.count += 1
        self.at_step(self.count)
        return effect()


def filesystem(kind: str, steps: Steps) -> fs.FileSystem:
    """`local`, or `object store`."""
    return Local(steps) if kind == "local" else fs.PyFileSystem(ObjectStore(steps))


class Local(fs.LocalFileSystem):
    """The local file system with steps."""

    def __init__(self, steps: Steps):
        super().__init__()
        self.steps = steps

    def get_file_info(self, what):
        return self.steps.look(lambda: LOCAL.get_file_info(what))

    def create_dir(self, path, *, recursive=True):
        self.steps.do(lambda: LOCAL.create_dir(path, recursive=recursive))

    def delete_dir(self, path):
        self.steps.do(lambda: LOCAL.delete_dir(path))

    def delete_file(self, path):
        self.steps.do(lambda: LOCAL.delete_file(path))

    def move(self, source, target):
        self.steps.do(lambda: LOCAL.move(source, target))

    def open_input_stream(self, path, **_):
        return self.steps.look(lambda: LOCAL.open_input_stream(path))

    def open_input_file(self, path):
        return self.steps.look(lambda: LOCAL.open_input_file(path))

    def open_output_stream(self, path, **_):
        return pa.PythonFile(_Stream(self.steps, path, as_object=False), mode="w")


class ObjectStore(fs.FileSystemHandler):
    """Objects kept as local files: a move is a copy and a delete, and an object appears when its stream is closed."""

    def __init__(self, steps: Steps):
        self.steps = steps

    def get_type_name(self) -> str:
        return "object-store"

    def normalize_path(self, path: str) -> str:
        return path

    def get_file_info(self, paths: Sequence[str]) -> list[fs.FileInfo]:
        return self.steps.look(lambda: LOCAL.get_file_info(list(paths)))

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        return self.steps.look(lambda: LOCAL.get_file_info(selector))

    def create_dir(self, path: str, recursive: bool) -> None:
        self.steps.do(lambda: LOCAL.create_dir(path, recursive=recursive))

    def delete_dir(self, path: str) -> None:
        found = LOCAL.get_file_info(fs.FileSelector(path, recursive=True))
        files = [info.path for info in found if info.is_file]
        self.steps.do(*(lambda file=file: LOCAL.delete_file(file) for file in files), lambda: LOCAL.delete_dir(path))

    def delete_file(self, path: str) -> None:
        self.steps.do(lambda: LOCAL.delete_file(path))

    def move(self, source: str, target: str) -> None:
        self.steps.do(lambda: LOCAL.copy_file(source, target), lambda: LOCAL.delete_file(source))

    def open_input_stream(self, path: str):
        return self.steps.look(lambda: pa.PythonFile(open(path, "rb"), mode="r"))

    open_input_file = open_input_stream

    def open_output_stream(self, path: str, metadata: dict):
        return pa.PythonFile(_Stream(self.steps, path, as_object=True), mode="w")

    def _unused(self, *_):
        raise NotImplementedError

    copy_file = open_append_stream = delete_dir_contents = delete_root_dir_contents = _unused


class _Stream(io.RawIOBase):
    """An output stream; with `as_object` nothing is there before it is closed, and nothing if a write failed."""

    def __init__(self, steps: Steps, path: str, as_object: bool):
        self.steps, self.path, self.as_object = steps, path, as_object
        self.inner = steps.do(io.BytesIO if as_object else lambda: io.FileIO(path, "wb"))

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        return self.steps.look(lambda: self.inner.write(data))

    def tell(self) -> int:
        return self.inner.tell()

    def close(self) -> None:
        if not self.closed:
            super().close()
            if self.as_object:
                self.steps.do(lambda: Path(self.path).write_bytes(self.inner.getvalue()))
            self.inner.close()
