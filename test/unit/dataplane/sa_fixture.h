// SA records as control sends them, for the tests of this folder.
#pragma once

#include "lib/config.h"
#include "lib/records.h"

#include <cstdint>
#include <vector>

namespace flowtap::test {

inline lib::SaInstall install(std::uint32_t slot, std::uint64_t id, lib::Lease lease,
                              std::uint16_t tunnel = 0) {
    lib::SaInstall record;
    record.header = {.kind = lib::CommandKind::sa_install, .slot = slot, .id = id};
    record.lease = lease;
    record.spi = 0x1000 + static_cast<std::uint32_t>(id);
    record.tunnel = tunnel;
    record.key_size = 36;
    record.key.fill(static_cast<std::uint8_t>(id));
    return record;
}

inline lib::SaLease extend(std::uint32_t slot, std::uint64_t id, lib::Lease lease) {
    return {.header = {.kind = lib::CommandKind::sa_lease, .slot = slot, .id = id}, .lease = lease};
}

inline std::vector<lib::TunnelConfig> tunnels(std::size_t count) {
    return {count, lib::TunnelConfig{.name = "t",
                                     .local = *lib::parse_address("100.100.100.100"),
                                     .remote = *lib::parse_address("123.123.123.123"),
                                     .sas = {}}};
}

}  // namespace flowtap::test
