#include "control/shims.h"

#include "lib/shims.h"

#include <cstring>

namespace flowtap::control {

namespace {

using lib::NokiaShim;
using lib::Shim;

template <typename ShimType>
void put(lib::TapDestination& destination, const ShimType& shim) {
    static_assert(sizeof shim <= sizeof destination.shim_bytes);
    destination.shim_bytes = {};
    lib::write_shim(destination.shim_bytes.data(), shim);
}

}  // namespace

std::optional<InterceptIds> intercept_ids(const lib::dtcp::InterceptId& given) {
    const unsigned form = static_cast<unsigned>(given.value >> (given.short_form ? 30U : 62U));
    if (form > (given.short_form ? 1U : 0U)) {
        return std::nullopt;
    }
    const std::uint64_t ids = given.short_form ? (given.value & 0x3fff'ffffU) << 32U : given.value;
    return InterceptIds{static_cast<std::uint32_t>(ids >> 32U), static_cast<std::uint32_t>(ids)};
}

bool give_intercept_ids(lib::TapDestination& destination, const InterceptIds& ids) {
    switch (destination.shim) {
        case Shim::raw:
        case Shim::jmirror:
            destination.shim = Shim::jmirror;
            put(destination, NokiaShim{ids.intercept, ids.session});
            return true;
        case Shim::cisco:
            put(destination, lib::CiscoShim{ids.intercept});
            return true;
        case Shim::nokia_l3:
            put(destination, NokiaShim{NokiaShim::form | ids.intercept, ids.session});
            return ids.intercept <= NokiaShim::largest_id;
        case Shim::flowtap:
            return true;
    }
    return false;
}

void give_criteria_id(std::span<lib::TapDestination> destinations, lib::TapId id, bool has_intercept_id) {
    const auto number = static_cast<std::uint32_t>(id);  // 31 bits (criteria_ids.h)
    for (auto& destination : destinations) {
        switch (destination.shim) {
            case Shim::flowtap:
                put(destination, lib::CiscoShim{number});
                break;
            case Shim::cisco:
                if (!has_intercept_id) {
                    put(destination, lib::CiscoShim{number});
                }
                break;
            case Shim::nokia_l3:
                // Two bits too long for the intercept id: the session id has all of it.
                if (!has_intercept_id) {
                    put(destination, NokiaShim{NokiaShim::form | (number & NokiaShim::largest_id), number});
                }
                break;
            case Shim::raw:
            case Shim::jmirror:
                break;
        }
    }
}

}  // namespace flowtap::control
