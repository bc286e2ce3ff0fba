#include "lib/des_keys.h"

#include <algorithm>
#include <array>

namespace flowtap::lib {
namespace {

constexpr std::size_t des_key_size = 8;
using DesKey = std::span<const std::uint8_t, des_key_size>;

bool same(DesKey left, DesKey right) {
    return std::ranges::equal(left, right, [](unsigned a, unsigned b) { return a >> 1 == b >> 1; });
}

/// Every weak and semi-weak key of DES repeats two bytes in its first half and two in its second.
struct Pattern {
    std::uint8_t first;
    std::uint8_t second;
    std::uint8_t third;
    std::uint8_t fourth;
};

/// NIST SP 800-67 section 3.3.2: 4 weak keys, 6 pairs of semi-weak ones.
constexpr std::array<Pattern, 16> weak_keys{{
    {0x01, 0x01, 0x01, 0x01},
    {0xfe, 0xfe, 0xfe, 0xfe},
    {0xe0, 0xe0, 0xf1, 0xf1},
    {0x1f, 0x1f, 0x0e, 0x0e},
    {0x01, 0x1f, 0x01, 0x0e},
    {0x1f, 0x01, 0x0e, 0x01},
    {0x01, 0xe0, 0x01, 0xf1},
    {0xe0, 0x01, 0xf1, 0x01},
    {0x01, 0xfe, 0x01, 0xfe},
    {0xfe, 0x01, 0xfe, 0x01},
    {0x1f, 0xe0, 0x0e, 0xf1},
    {0xe0, 0x1f, 0xf1, 0x0e},
    {0x1f, 0xfe, 0x0e, 0xfe},
    {0xfe, 0x1f, 0xfe, 0x0e},
    {0xe0, 0xfe, 0xf1, 0xfe},
    {0xfe, 0xe0, 0xfe, 0xf1},
}};

bool is_weak(DesKey key) {
    return std::ranges::any_of(weak_keys, [&](const Pattern& p) {
        const std::array<std::uint8_t, des_key_size> whole{p.first, p.second, p.first, p.second,
                                                           p.third, p.fourth, p.third, p.fourth};
        return same(key, whole);
    });
}

}  // namespace

std::string_view triple_des_weakness(std::span<const std::uint8_t, triple_des_key_size> key) {
    const DesKey first = key.first<des_key_size>();
    const DesKey second = key.subspan<des_key_size, des_key_size>();
    const DesKey third = key.last<des_key_size>();
    if (same(first, second)) {
        return "its first and second part are the same, which makes it single DES";
    }
    if (same(second, third)) {
        return "its second and third part are the same, which makes it single DES";
    }
    if (is_weak(first)) {
        return "its first part is a weak key of DES";
    }
    if (is_weak(second)) {
        return "its second part is a weak key of DES";
    }
    return is_weak(third) ? "its third part is a weak key of DES" : "";
}

}  // namespace flowtap::lib
