#include "control/restore.h"

#include "control/admission.h"
#include "lib/dtcp/message.h"

#include <optional>
#include <set>
#include <utility>

namespace flowtap::control {

namespace {

/// What some ADD, REFRESH, ENABLE or DISABLE could have made of it.
bool plausible(const TapTerms& terms, const TapPlan& plan, const lib::Config& config) {
    const bool ends = terms.idle != 0 || terms.total != 0 || terms.packets != 0 || terms.bytes != 0;
    const auto policies = config.drop_policies.size();
    const bool known = policies >= lib::max_drop_policies || terms.suppressed >> policies == 0;
    return known && ends != plan.is_static && terms.idle <= lib::dtcp::max_timeout_seconds &&
           terms.total <= lib::dtcp::max_timeout_seconds;
}

std::optional<RestoredTap> restore_one(RegistryEntry entry, Sources& sources, const lib::Config& config) {
    const auto request = lib::dtcp::parse_request(entry.message);
    const auto envelope = lib::dtcp::parse_envelope(request);
    auto* const source = envelope ? sources.find(envelope->csource_id) : nullptr;
    if (source == nullptr || !source->key.verify(request) || request.method() != lib::dtcp::Method::add) {
        return std::nullopt;
    }
    auto add = lib::dtcp::parse_add(request);
    if (!add) {
        return std::nullopt;
    }
    auto plan = admit(request, std::move(*add), config, *source->config);
    if (!plan) {
        return std::nullopt;
    }
    if (!plausible(entry.terms, *plan, config)) {
        return std::nullopt;
    }
    // The message is in the registry; a second copy of it is not needed.
    entry.message.clear();
    entry.message.shrink_to_fit();
    return RestoredTap{std::move(entry), source->index, std::move(*plan)};
}

}  // namespace

Restored restore(Registry& registry, Sources& sources, const lib::Config& config) {
    Restored restored;
    restored.rejected = registry.damaged();
    std::set<lib::TapId> ids;
    std::vector<lib::TapSlot> rejected;
    for (const auto slot : registry.slots()) {
        auto tap = restore_one(*registry.read(slot), sources, config);
        if (tap && tap->entry.id != lib::TapId{} && ids.insert(tap->entry.id).second) {
            restored.taps.push_back(std::move(*tap));
        } else {
            rejected.push_back(slot);
        }
    }
    registry.remove(rejected);
    restored.rejected += rejected.size();
    return restored;
}

}  // namespace flowtap::control
