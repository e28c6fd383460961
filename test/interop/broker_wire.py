"""Kafka's messages as dicts, by the repository's own schema/: any request and answer, in any version, also wrong ones.

A body is {field name: value}; what is left out has its default. A value of class Raw goes out as the bytes it holds, None as null even
where null is not allowed. Batches of records are built by hand (batch()), so that anything in them can be wrong.
"""
import importlib.machinery
import importlib.util
import pathlib
import struct
import sys
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
NUMBERS = {"bool": ">?", "int8": ">b", "int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "int64": ">q", "float64": ">d"}


class Raw(bytes):
    """Goes out as it is."""


class WrongAnswer(Exception):
    pass


def load_messages():
    loader = importlib.machinery.SourceFileLoader("gen", str(ROOT / "tool/gen"))
    spec = importlib.util.spec_from_loader("gen", loader)
    gen = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader.exec_module(gen)
    sys.dont_write_bytecode = writes
    requests, responses = {}, {}
    for path in sorted((ROOT / "schema").glob("*.schema")):
        if path.name == "zookeeper.schema":
            continue
        for message in gen.parse(str(path)):
            gen.resolve(message, {})
            if message.head in ("request", "response"):
                (requests if message.head == "request" else responses)[message.key] = message
    return requests, responses


REQUESTS, RESPONSES = load_messages()
KEYS = {m.name.removesuffix("Request"): key for key, m in REQUESTS.items()}
NAMES = {key: name for name, key in KEYS.items()}


def within(version, versions):
    return versions[0] <= version <= versions[1]


def is_flexible(api, version):
    return within(version, REQUESTS[api].flexible)


# --- bytes out ---

def uvarint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def varint(value):
    return uvarint((value << 1) ^ (value >> 63) if value >= 0 else ((-value) << 1) - 1)


def length(value, compact, form):
    """Of null when value is None."""
    if compact:
        return uvarint(0 if value is None else value + 1)
    return struct.pack(form, -1 if value is None else value)


def default_of(field):
    if field.default == "null":
        return None
    if field.is_array:
        return []
    if field.struct:
        return {}
    if field.type == "string":
        return field.default
    if field.type in ("bytes", "records"):
        return None if field.type == "records" else b""
    if field.type == "uuid":
        return bytes(16)
    if field.type == "bool":
        return field.default == "true"
    return int(field.default or "0", 0)


def encode_one(message, field, version, value, compact):
    if isinstance(value, Raw):
        return bytes(value)
    if field.struct:
        head = b""
        if field.is_pointer():
            if value is None:
                return b"\xff"
            head = b"\x01"
        return head + encode_struct(message, field.struct, version, value or {})
    if field.type == "string":
        data = None if value is None else value.encode("utf-8", "surrogateescape")
        return length(None if data is None else len(data), compact, ">h") + (data or b"")
    if field.type in ("bytes", "records"):
        return length(None if value is None else len(value), compact, ">i") + (value or b"")
    if field.type == "uuid":
        return value or bytes(16)
    form = NUMBERS[field.type]
    if form[1] in "?d":
        return struct.pack(form, value)
    bits = 8 * struct.calcsize(form)
    return (int(value or 0) % (1 << bits)).to_bytes(bits // 8, "big")


def encode_field(message, field, version, value):
    compact = within(version, message.flexible) and not field.classic
    if not field.is_array or isinstance(value, Raw):
        return encode_one(message, field, version, value, compact)
    parts = [length(None if value is None else len(value), compact, ">i")]
    parts += [encode_one(message, field, version, item, compact) for item in value or ()]
    return b"".join(parts)


def encode_struct(message, item, version, value):
    out, tags = [], dict(value.get("$tags", {}))
    for field in item.fields:
        given = value.get(field.name, default_of(field))
        if within(version, field.tagged):
            if field.name in value and given != default_of(field):
                tags[field.tag] = encode_field(message, field, version, given)
        elif within(version, field.versions):
            out.append(encode_field(message, field, version, given))
    if within(version, message.flexible):
        out.append(uvarint(len(tags)))
        out += [uvarint(tag) + uvarint(len(data)) + data for tag, data in sorted(tags.items())]
    return b"".join(out)


def encode_request(api, version, correlation, client, body):
    """A frame without its length."""
    message = REQUESTS[api]
    head = struct.pack(">hhi", api, version, correlation)
    if not (api == 7 and version == 0):
        name = None if client is None else client.encode("utf-8", "surrogateescape")
        head += length(None if name is None else len(name), False, ">h") + (name or b"")
        if within(version, message.flexible):
            head += uvarint(0)
    return head + encode_struct(message, message.body, version, body)


# --- bytes in ---

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise WrongAnswer(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        self.at += count
        return self.data[self.at - count:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def varint(self):
        value = self.uvarint()
        return (value >> 1) ^ -(value & 1)

    def length(self, compact, form):
        value = self.uvarint() - 1 if compact else self.number(form)
        return None if value < 0 else value


def decode_one(message, field, version, reader, compact):
    if field.struct:
        if field.is_pointer() and reader.number(">b") < 0:
            return None
        return decode_struct(message, field.struct, version, reader)
    if field.type in ("string", "bytes", "records"):
        size = reader.length(compact, ">h" if field.type == "string" else ">i")
        if size is None:
            return None
        data = reader.take(size)
        return data.decode("utf-8", "surrogateescape") if field.type == "string" else data
    return reader.take(16) if field.type == "uuid" else reader.number(NUMBERS[field.type])


def decode_field(message, field, version, reader):
    compact = within(version, message.flexible) and not field.classic
    if not field.is_array:
        value = decode_one(message, field, version, reader, compact)
    else:
        count = reader.length(compact, ">i")
        value = None if count is None else [decode_one(message, field, version, reader, compact) for _ in range(count)]
    may_be_null = within(version, field.null) or field.type == "records"
    if value is None and not may_be_null:
        raise WrongAnswer(f"{field.name} is null")
    return value


def decode_struct(message, item, version, reader):
    out = {}
    for field in item.fields:
        if within(version, field.tagged):
            out[field.name] = default_of(field)
        elif within(version, field.versions):
            out[field.name] = decode_field(message, field, version, reader)
    if within(version, message.flexible):
        for _ in range(reader.uvarint()):
            tag, size = reader.uvarint(), reader.uvarint()
            part = Reader(reader.take(size))
            for field in item.fields:
                if within(version, field.tagged) and field.tag == tag:
                    out[field.name] = decode_field(message, field, version, part)
                    break
            else:
                out[f"tag {tag}"] = part.data
                part.at = size
            if part.at != size:
                raise WrongAnswer(f"tag {tag} has {size - part.at} bytes too many")
    return out


def decode_response(api, version, data):
    """Of what follows the correlation id."""
    message, reader = RESPONSES[api], Reader(data)
    if within(version, message.flexible) and api != 18 and reader.uvarint():
        raise WrongAnswer("the header has tags")
    body = decode_struct(message, message.body, version, reader)
    if reader.at != len(data):
        raise WrongAnswer(f"{len(data) - reader.at} bytes too many")
    return body


# --- records ---

def crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


CRC_TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC_TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def xxh32(data):
    """Of fewer than 16 bytes: what the head of an LZ4 frame needs."""
    value, mask = (0x165667B1 + len(data)) & 0xFFFFFFFF, 0xFFFFFFFF
    for byte in data:
        value = (value + byte * 0x165667B1) & mask
        value = ((value << 11 | value >> 21) * 0x9E3779B1) & mask
    for shift, prime in ((15, 0x85EBCA77), (13, 0xC2B2AE3D), (16, 1)):
        value = ((value ^ value >> shift) * prime) & mask
    return value


def compress(codec, data):
    """Frames of the codec's own whose blocks are stored, not compressed: no library is needed for them."""
    if codec == 1:
        packer = zlib.compressobj(wbits=31)
        return packer.compress(data) + packer.flush()
    if codec == 2:
        if not data:
            return b"\0"
        size = len(data) - 1
        tag = bytes([size << 2]) if size < 60 else b"\xf0" + bytes([size]) if size < 256 else b"\xf4" + struct.pack("<H", size)
        return uvarint(len(data)) + tag + data
    if codec == 3:
        head = b"\x60\x40"
        return b"\x04\x22\x4d\x18" + head + bytes([xxh32(head) >> 8 & 255]) + struct.pack("<I", len(data) | 1 << 31) + data + bytes(4)
    if codec == 4:
        return b"\x28\xb5\x2f\xfd\xa0" + struct.pack("<I", len(data)) + struct.pack("<I", len(data) << 3 | 1)[:3] + data
    return data


def record(delta, timestamp_delta, key, value, headers=()):
    body = b"\0" + varint(timestamp_delta) + varint(delta)
    for data in (key, value):
        body += varint(-1) if data is None else varint(len(data)) + data
    body += varint(len(headers))
    for name, data in headers:
        body += varint(len(name)) + name + (varint(-1) if data is None else varint(len(data)) + data)
    return varint(len(body)) + body


def batch(records, base=0, epoch=-1, magic=2, attributes=0, first=0, largest=0, producer=-1, producer_epoch=-1, sequence=-1, count=None,
          last_delta=None, crc=0, size=0, codec=None):
    """`records` is a list of (timestamp delta, key, value, headers), or bytes; crc and size are added to the right ones. The attributes
    say `codec` unless they are to lie."""
    if isinstance(records, bytes):
        body, number = records, 1
    else:
        body, number = b"".join(record(i, *r) for i, r in enumerate(records)), len(records)
    body = compress(attributes & 7 if codec is None else codec, body)
    count = number if count is None else count
    tail = struct.pack(">hiqqqhii", attributes, number - 1 if last_delta is None else last_delta, first, largest, producer, producer_epoch,
                       sequence, count) + body
    checksum = (crc32c(tail) + crc) & 0xFFFFFFFF
    return struct.pack(">qiibI", base, max(0, len(tail) + 9 + size) if size >= 0 else len(tail) + 9 + size, epoch, magic, checksum) + tail
