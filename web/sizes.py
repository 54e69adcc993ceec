#!/usr/bin/env python3
"""Lists what fills a .wasm: its sections, and the largest functions by name, which a build without `strip` has.

    CARGO_PROFILE_RELEASE_STRIP=none scripts/targets/web.sh build
    python3 web/sizes.py web/page.wasm [how many functions]
"""

import re
import sys

SECTIONS = ["custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data"]


class Reader:
    """A cursor over bytes."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self):
        """An unsigned LEB128."""
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def name(self):
        return self.take(self.number()).decode(errors="replace")

    def left(self):
        return self.at < len(self.data)


def imported_functions(section):
    """How many functions are imported: they come first in the numbering."""
    count = 0
    for _ in range(section.number()):
        section.name(), section.name()
        kind = section.take(1)[0]
        if kind == 0:
            count += 1
            section.number()
        else:
            raise SystemExit("imports of other things than functions are not read")
    return count


def names_of_functions(section):
    names = {}
    while section.left():
        kind, part = section.take(1)[0], Reader(section.take(section.number()))
        if kind == 1:
            for _ in range(part.number()):
                index = part.number()
                names[index] = part.name()
    return names


def main():
    path, most = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 25
    with open(path, "rb") as file:
        module = Reader(file.read())
    assert module.take(8) == b"\0asm\1\0\0\0", f"{path} is no WebAssembly"
    imported, lengths, names = 0, [], {}
    print(f"{path}: {len(module.data)} bytes")
    while module.left():
        kind, section = module.take(1)[0], Reader(module.take(module.number()))
        title, size = SECTIONS[kind] if kind < len(SECTIONS) else str(kind), len(section.data)
        if kind == 0:
            title = section.name()
            if title == "name":
                names = names_of_functions(section)
        elif kind == 2:
            imported = imported_functions(section)
        elif kind == 10:
            for _ in range(section.number()):
                lengths.append(section.number())
                section.take(lengths[-1])
        print(f"{size:9} section {title}")
    by_size = sorted(((size, imported + i) for i, size in enumerate(lengths)), reverse=True)
    for size, index in by_size[:most]:
        print(f"{size:9} {re.sub(r'::h[0-9a-f]{16}$', '', names.get(index, f'function {index}'))}")
    rest = by_size[most:]
    if rest:
        print(f"{sum(size for size, _ in rest):9} {len(rest)} others")


main()
