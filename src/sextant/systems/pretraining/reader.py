"""Reads torch's sharded checkpoints without letting them run code.

`torch.distributed.checkpoint` keeps its table of tensors as a pickle, which can call anything when
it is read. Here it may name the types of such a table and nothing else; values that are no tensors,
which torch unpickles too, are none of them.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta

from sextant.errors import InputError

_TABLE = "torch.distributed.checkpoint.metadata"
_NAMED = {
    ("pathlib", "PosixPath"),
    ("pathlib._local", "PosixPath"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    *((_TABLE, name) for name in ("Metadata", "MetadataIndex", "StorageMeta", "TensorProperties")),
    *((_TABLE, name) for name in ("ChunkStorageMetadata", "TensorStorageMetadata")),
    (_TABLE, "_MEM_FORMAT_ENCODING"),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The types of a table of tensors; anything else is refused."""
        known = (module, name) in _NAMED
        if known or (module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


class TensorReader(FileSystemReader):
    """A checkpoint's reader that opens tables of tensors only."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:  # noqa: ARG002 - torch's own
        """The table of a checkpoint.

        Raises:
            InputError: it holds something else.
        """
        path = Path(str(self.path)) / ".metadata"
        try:
            with path.open("rb") as stream:
                table = _Unpickler(stream).load()
        except (OSError, pickle.UnpicklingError, EOFError, AttributeError, ValueError) as error:
            what = f"not the table of a checkpoint of tensors: {str(error)[:200]}"
            raise InputError(what, where=str(path)) from error
        if not isinstance(table, Metadata):
            raise InputError("not the table of a checkpoint", where=str(path))
        if table.storage_meta is None:
            table.storage_meta = StorageMeta()
        table.storage_meta.load_id = self.load_id
        return table
