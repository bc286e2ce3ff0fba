// What the DTCP fuzz targets share.
#pragma once

#include "lib/dtcp/auth.h"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string_view>

namespace flowtap::test {

/// An invariant that does not depend on NDEBUG.
inline void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "violated: %s\n", what);
        std::abort();
    }
}

inline bool is_inside(std::string_view part, std::string_view whole) {
    return part.data() == nullptr || part.empty() ||
           (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

inline lib::dtcp::Hmac& fuzz_key() {
    static auto key = [] {
        constexpr std::string_view text = "Juniper";
        return lib::dtcp::Hmac::create({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()})
            .value();
    }();
    return key;
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

}  // namespace flowtap::test
