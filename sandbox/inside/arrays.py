"""NumPy arrays and pandas objects as nodes of a message: their data, and nothing that could act."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.inside.codec import Decoder, Encoder, Node

PLAIN_KINDS = "biufcSUMm"


def node(encoder: Encoder, value: Any) -> Node | None:
    """None for what isn't data. Both libraries are only looked up: who has a value has loaded them."""
    numpy, pandas = sys.modules.get("numpy"), sys.modules.get("pandas")
    kind = type(value)
    if numpy is not None and isinstance(value, numpy.generic) and value.dtype.kind in PLAIN_KINDS:
        return ["scalar", value.dtype.str, value.tobytes().hex()]
    if numpy is not None and kind is numpy.ndarray:
        shape = ",".join(str(n) for n in value.shape)
        if value.dtype.kind in PLAIN_KINDS:
            return ["array", value.dtype.str, shape, value.tobytes().hex()]
        if value.dtype.kind == "O":
            return ["objects", shape, *encoder.values(value.ravel().tolist())]
        return None
    if pandas is None:
        return None
    if value is pandas.NaT or value is pandas.NA:
        return ["missing", "NaT" if value is pandas.NaT else "NA"]
    if kind is pandas.Timestamp:
        return ["timestamp", value.isoformat(), str(value.tz) if value.tz else None]
    if kind is pandas.Timedelta:
        return ["nanoseconds", value.as_unit("ns").value]
    if isinstance(value, pandas.Index) and kind is not pandas.MultiIndex and _known(value.dtype):
        described = [str(value.dtype), getattr(value, "freqstr", None), encoder.value(value.name)]
        return ["index", *described, *encoder.values(list(value))]
    if kind is pandas.Series and _known(value.dtype):
        labels = encoder.values((value.index, value.name))
        return ["series", str(value.dtype), *labels, *encoder.values(list(value))]
    if kind is pandas.DataFrame:
        columns = [value.iloc[:, i] for i in range(value.shape[1])]
        return ["frame", *encoder.values((value.columns, value.index, *columns))]
    return None


def _known(dtype: Any) -> bool:
    """Not a type with content of its own, such as categories."""
    return str(dtype) != "category"


def update(target: Any, new: Any) -> None:
    """Copy into ``target`` where it is an array like ``new``; what has another shape stays as it is."""
    if type(target) is not type(new) or target.shape != new.shape or target.dtype != new.dtype:
        return
    if target.flags.writeable:
        target[...] = new


def _plain(text: str) -> Any:
    import numpy

    dtype = numpy.dtype(text)
    if dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"not a plain array type: {text}")
    return dtype


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)


def _read_scalar(_: Decoder, node: Node) -> Any:
    import numpy

    dtype = _plain(node[1])
    if not dtype.itemsize:
        return numpy.zeros((), dtype)[()]
    return numpy.frombuffer(bytes.fromhex(node[2]), dtype=dtype)[0]


def _read_array(_: Decoder, node: Node) -> Any:
    import numpy

    flat = numpy.frombuffer(bytearray.fromhex(node[3]), dtype=_plain(node[1]))
    return flat.reshape(_shape(node[2]))


def _read_objects(decoder: Decoder, node: Node) -> Any:
    import numpy

    flat = numpy.empty(len(node) - 2, dtype=object)
    for i, value in enumerate(decoder.values(node[2:])):
        flat[i] = value
    return flat.reshape(_shape(node[1]))


def _read_missing(_: Decoder, node: Node) -> Any:
    import pandas

    return {"NaT": pandas.NaT, "NA": pandas.NA}[node[1]]


def _read_timestamp(_: Decoder, node: Node) -> Any:
    import pandas

    stamp = pandas.Timestamp(node[1])
    return stamp.tz_convert(node[2]) if node[2] else stamp


def _read_nanoseconds(_: Decoder, node: Node) -> Any:
    import pandas

    return pandas.Timedelta(node[1], unit="ns")


def _read_index(decoder: Decoder, node: Node) -> Any:
    import pandas

    values, name = list(decoder.values(node[4:])), decoder.value(node[3])
    if node[2]:
        return pandas.DatetimeIndex(values, dtype=node[1], freq=node[2], name=name)
    return pandas.Index(values, dtype=node[1], name=name)


def _read_series(decoder: Decoder, node: Node) -> Any:
    import pandas

    index, name = decoder.values(node[2:4])
    return pandas.Series(list(decoder.values(node[4:])), dtype=node[1], index=index, name=name)


def _read_frame(decoder: Decoder, node: Node) -> Any:
    import pandas

    labels, index, *columns = decoder.values(node[1:])
    frame = pandas.concat(columns, axis=1) if columns else pandas.DataFrame(index=index)
    frame.columns = labels
    return frame


READERS: dict[str, Callable[[Decoder, Node], Any]] = {
    "scalar": _read_scalar,
    "array": _read_array,
    "objects": _read_objects,
    "missing": _read_missing,
    "timestamp": _read_timestamp,
    "nanoseconds": _read_nanoseconds,
    "index": _read_index,
    "series": _read_series,
    "frame": _read_frame,
}
