// What Verilator's FST writer asks of the library LZ4, whose headers few machines have: here nothing
// gets smaller. The finished file is compressed as a whole.

#pragma once

#include <cstring>

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

// One sequence of literals: a token, its length beyond 14 in bytes of 255, the bytes themselves.
inline int LZ4_compress_default(const char* source, char* target, int size, int) {
    char* at = target;
    *at++ = static_cast<char>((size < 15 ? size : 15) << 4);
    if (size >= 15) {
        int more = size - 15;
        for (; more >= 255; more -= 255) *at++ = static_cast<char>(255);
        *at++ = static_cast<char>(more);
    }
    std::memcpy(at, source, static_cast<std::size_t>(size));
    return static_cast<int>(at - target) + size;
}
