// What flowtap-receive takes apart: a frame of any link type around ESP, and a copy's encapsulation. The
// first byte chooses the link type.
#include "tools/receive/encapsulation.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <vector>

namespace flowtap::test {
namespace {

using tools::receive::LinkType;

constexpr std::array types{LinkType::ethernet,       LinkType::raw,  LinkType::linux_cooked,
                           LinkType::linux_cooked_2, LinkType::ipv4, LinkType::ipv6};

void require(bool holds, const char* what) {
    if (!holds) {
        std::fprintf(stderr, "violated: %s\n", what);
        std::abort();
    }
}

bool is_inside(std::span<const std::uint8_t> part, std::span<const std::uint8_t> whole) {
    return part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size();
}

void check(std::vector<std::uint8_t> frame, LinkType type) {
    const auto found = tools::receive::find_esp(frame, type);
    require(!found || !*found || is_inside(**found, frame), "the ESP packet is a part of the frame");
    const auto copy = tools::receive::strip(frame);
    require(!copy || (is_inside(copy->original, frame) && copy->original.size() + 28 <= frame.size()),
            "the original is a part of the packet, behind IP and UDP");
}

}  // namespace
}  // namespace flowtap::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size != 0) {
        flowtap::test::check({data + 1, data + size},
                             flowtap::test::types[data[0] % flowtap::test::types.size()]);
    }
    return 0;
}
