#include "dataplane/drop_policies.h"

#include <algorithm>
#include <utility>

namespace flowtap::dataplane {

DropPolicies::DropPolicies(std::span<const lib::DropPolicyConfig> policies) {
    for (const lib::DropPolicyConfig& policy :
         policies.first(std::min(policies.size(), lib::max_drop_policies))) {
        std::vector<match::FrameFilter>& filters = filters_.emplace_back();
        lib::Criterion criterion = policy.criterion;
        const auto add = [&](lib::Family family) {
            criterion.family = family;
            if (auto filter = match::FrameFilter::compile(criterion)) {
                filters.push_back(std::move(*filter));
            }
        };
        if (policy.both_families) {
            add(lib::Family::ipv4);
            add(lib::Family::ipv6);
        } else {
            add(policy.criterion.family);
        }
        known_ |= std::uint64_t{1} << (filters_.size() - 1);
    }
}

}  // namespace flowtap::dataplane
