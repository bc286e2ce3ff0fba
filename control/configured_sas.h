// The static security associations of the configuration: read from their files, and refused where they cannot
// work or would not be safe together. Each error names the tunnel or the file. Reads files; no state.
#pragma once

#include "control/lease_store.h"
#include "lib/config.h"
#include "lib/sa_file.h"

#include <cstdint>
#include <expected>
#include <filesystem>
#include <string>
#include <vector>

namespace flowtap::control {

struct ConfiguredSa {
    std::uint16_t tunnel = 0;  ///< index in the configuration
    std::filesystem::path file;
    lib::StaticSa sa;
    KeyDigest digest{};
    std::uint64_t id = 0;  ///< of this key and all that the dataplane is told with it; not 0

    /// Up to the hard lifetime in packets.
    SequenceSpace space() const;
};

/// Those of every tunnel, tunnel by tunnel.
struct ConfiguredSas {
    std::vector<ConfiguredSa> sealing;  ///< in the order of their use
    std::vector<ConfiguredSa> opening;  ///< all at a time; never more than lib::max_sas
};

/// Errors, all together: an unusable file; one key twice, whose IVs would meet; one SPI twice to one gateway,
/// or twice from anywhere; an mtu that leaves too little room.
std::expected<ConfiguredSas, std::vector<std::string>> load_sas(const lib::Config& config);

/// Sentences about SAs that work and should not be used any more.
std::vector<std::string> legacy_warnings(const ConfiguredSas& sas, const lib::Config& config);

}  // namespace flowtap::control
