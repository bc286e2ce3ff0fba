#include "tools/receive/receiver.h"

#include "lib/shims.h"

#include <algorithm>
#include <numeric>

namespace flowtap::tools::receive {

std::uint64_t Statistics::refused() const {
    const auto esp = std::accumulate(refused_by_esp.begin(), refused_by_esp.end(), std::uint64_t{0});
    return std::accumulate(refused_otherwise.begin(), refused_otherwise.end(), esp);
}

bool Statistics::clean() const {
    const auto is_complete = [](const auto& tap) { return tap.second.ledger.totals().complete(); };
    return refused() == 0 && sequence.missing() == 0 && sequence.duplicates() == 0 &&
           std::ranges::all_of(taps, is_complete);
}

void Receiver::count(const Copy& copy) {
    const auto tell = [&](Tally& tally) {
        ++tally.packets;
        tally.bytes += copy.original.size();
    };
    const Destination destination{copy.destination, copy.destination_port};
    tell(statistics_.copies);
    tell(statistics_.destinations[destination]);
    const ShimFields& shim = copy.shim;
    if (shim.shim == lib::Shim::raw) {
        return;
    }
    TapTally& tap = statistics_.taps[{destination, shim.shim, shim.id, shim.session}];
    tell(tap.copies);
    if (shim.to_target) {
        ++(*shim.to_target ? tap.to_target : tap.from_target);
    }
    if (shim.shim == lib::Shim::flowtap) {
        tap.truncated += (shim.flags & lib::shim_flag::truncated) != 0 ? 1U : 0U;
        tap.fragments += (shim.flags & lib::shim_flag::fragment) != 0 ? 1U : 0U;
        tap.ledger.add(shim.sequence, shim.dropped);
    }
}

std::optional<std::span<const std::uint8_t>> Receiver::receive(std::span<std::uint8_t> frame, LinkType type) {
    const auto found = find_esp(frame, type);
    if (!found) {
        ++statistics_.esp_packets;
        refuse(found.error());
        return std::nullopt;
    }
    if (!*found) {
        ++statistics_.other_frames;
        return std::nullopt;
    }
    ++statistics_.esp_packets;

    using enum crypto::OpenVerdict;
    const crypto::Opened packet = opener_.open(*sa_, **found);
    const bool authentic = packet.verdict == opened || packet.verdict == bad_padding ||
                           packet.verdict == dummy || packet.verdict == bad_next_header ||
                           packet.verdict == bad_inner;
    if (authentic) {
        statistics_.sequence.add(counter_of(packet.sequence, packet.iv));
    }
    if (packet.verdict == dummy) {
        ++statistics_.dummies;
        return std::nullopt;
    }
    if (packet.verdict != opened) {
        ++statistics_.refused_by_esp[static_cast<std::size_t>(packet.verdict)];
        return std::nullopt;
    }

    const auto copy = strip(packet.inner, shims_);
    if (!copy) {
        refuse(copy.error());
        return std::nullopt;
    }
    count(*copy);
    if (copy->whole_frame) {
        ++statistics_.whole_frames;
        return std::nullopt;
    }
    return copy->original;
}

}  // namespace flowtap::tools::receive
