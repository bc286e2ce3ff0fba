// The taps of one port that no address narrows down, and that name interfaces: a list for each VLAN id, and
// one for those that want the port whatever the VLAN. So thousands of taps on interfaces cost a frame no more
// than those on its own.
//
// Thread safety: the writer links and unlinks (see TapTable), readers walk. Made with the first tap of its
// port, kept until the table goes.
#pragma once

#include "dataplane/match/compiled_criterion.h"
#include "dataplane/match/tap_cover.h"
#include "dataplane/match/tap_record.h"
#include "lib/criterion.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

namespace flowtap::dataplane::match {

struct InterfaceLists {
    static constexpr std::uint32_t any = 4096;  ///< behind the last VLAN id

    std::atomic<std::uint32_t> entries = 0;  ///< of all lists: readers go by while there is none
    std::array<std::atomic<Entry*>, any + 1> heads{};
};

/// Hash of an entry in an InterfaceLists: port << 16 | list.
constexpr std::size_t port_in(std::uint32_t hash) {
    return hash >> 16;
}
constexpr std::size_t list_in(std::uint32_t hash) {
    return hash & 0xffff;
}

/// One key for each list that the interfaces lead to, such that a frame meets the tap once: a port that is
/// named as a whole is not named by VLAN as well. Throws std::bad_alloc.
inline void interface_keys(const lib::InterfaceList& interfaces, std::vector<Key>& keys) {
    keys.clear();
    const auto is_whole = [&](std::uint16_t port) {
        return std::ranges::find(interfaces, lib::InterfaceTerm{port, lib::any_vlan}) != interfaces.end();
    };
    for (const lib::InterfaceTerm& term : interfaces) {
        const std::uint32_t list = is_whole(term.port) ? InterfaceLists::any : term.vlan;
        keys.push_back({std::uint32_t{term.port} << 16 | list, interface_place});
    }
    std::ranges::sort(keys);
    const auto repeated = std::ranges::unique(keys);
    keys.erase(repeated.begin(), repeated.end());
}

}  // namespace flowtap::dataplane::match
