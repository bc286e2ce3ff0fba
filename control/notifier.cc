#include "control/notifier.h"

namespace flowtap::control {

bool knows(lib::dtcp::Version version, lib::dtcp::Code notification) {
    // DROPPED-PACKETS and DROPPED-BYTES are in no message of the earlier versions.
    return version >= lib::dtcp::version_0_7 || notification != lib::dtcp::Code::copies_dropped;
}

void Notifier::notify(SourceIndex index, const lib::dtcp::Notification& notification, Now now) {
    Source& source = sources_.at(index);
    const auto& config = *source.config;
    if (config.notify.empty() && !config.notify_sessions) {
        return;
    }
    const lib::dtcp::Version version{0, config.notify_version};
    if (!knows(version, code(notification))) {
        counters_.add(ServiceCounter::notifications_unknown);
        return;
    }
    const auto text = write_notification(version, notification, now.timestamp(), source.key);
    auto& queue = to_peers_[static_cast<std::size_t>(index)];
    for (const auto& peer : config.notify) {
        if (queue.size() >= most_waiting) {
            counters_.add(ServiceCounter::notifications_dropped);
            continue;
        }
        queue.push_back({peer, text});
    }
    if (config.notify_sessions) {
        if (to_sessions_.size() >= most_waiting) {
            counters_.add(ServiceCounter::notifications_dropped);
            return;
        }
        to_sessions_.push_back({index, text});
    }
}

void Notifier::notify_all(const lib::dtcp::Notification& notification, Now now) {
    for (std::size_t i = 0; i < sources_.size(); ++i) {
        notify(SourceIndex{static_cast<std::uint32_t>(i)}, notification, now);
    }
}

bool Notifier::take(ToPeer& next) {
    for (std::size_t looked = 0; looked < to_peers_.size(); ++looked) {
        auto& queue = to_peers_[turn_];
        turn_ = (turn_ + 1) % to_peers_.size();
        if (!queue.empty()) {
            next = std::move(queue.front());
            queue.pop_front();
            return true;
        }
    }
    return false;
}

}  // namespace flowtap::control
