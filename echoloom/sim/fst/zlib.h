// What Verilator's FST writer asks of zlib, as in lz4.h: it keeps what does not get smaller as it is.

#pragma once

#include <cstring>

using uLong = unsigned long;
using uLongf = unsigned long;
using Bytef = unsigned char;
constexpr int Z_OK = 0;

inline uLong compressBound(uLong size) { return size; }

inline int compress2(Bytef* target, uLongf* length, const Bytef* source, uLong size, int) {
    std::memcpy(target, source, size);
    *length = size;
    return Z_OK;
}
