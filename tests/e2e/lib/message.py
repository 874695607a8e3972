"""Protobuf messages as a list of [number, wire type, value], to change one field of a real one and leave the rest as it is."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


def take_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def varint(value):
    out = bytearray()
    while value > 0x7f:
        out.append(value & 0x7f | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def parse(data):
    fields, at = [], 0
    while at < len(data):
        tag, at = take_varint(data, at)
        kind = tag & 7
        if kind == VARINT:
            value, at = take_varint(data, at)
        else:
            size, at = (8, at) if kind == FIXED64 else (4, at) if kind == FIXED32 else take_varint(data, at)
            value, at = data[at:at + size], at + size
        fields.append([tag >> 3, kind, value])
    return fields


def pack(fields):
    out = b""
    for number, kind, value in fields:
        out += varint(number << 3 | kind)
        out += varint(value) if kind == VARINT else (varint(len(value)) if kind == BYTES else b"") + value
    return out


def changed(data, path, change):
    """The message in which the value at `path`, numbers of fields inwards, has become change(value)."""
    fields = parse(data)
    for field in fields:
        if field[0] == path[0]:
            field[2] = changed(field[2], path[1:], change) if len(path) > 1 else change(field[2])
            return pack(fields)
    raise KeyError(path)
