#include "lib/dtcp/notification.h"

#include "lib/dtcp/response.h"
#include "lib/dtcp/write.h"

#include <optional>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

struct CodeOf {
    Code operator()(const RolloverNotification&) const { return Code::rollover; }
    Code operator()(const NoopNotification&) const { return Code::noop; }
    Code operator()(const TimeoutNotification&) const { return Code::criterion_timed_out; }
    Code operator()(const CongestionNotification&) const { return Code::congestion; }
    Code operator()(const DroppedNotification&) const { return Code::copies_dropped; }
    Code operator()(const RestartNotification&) const { return Code::restart; }
    Code operator()(const PurgedNotification&) const { return Code::purged; }
};

template <typename Number>
void number_if(MessageWriter& message, Name name, const std::optional<Number>& number) {
    if (number) {
        message.number(name, *number);
    }
}

/// Writes what is particular to each.
class Details {
  public:
    explicit Details(MessageWriter& message) : message_{message} {}

    void operator()(const RolloverNotification&) const {}
    void operator()(const NoopNotification&) const {}
    void operator()(const TimeoutNotification& timeout) const {
        message_.number(Name::criteria_id, timeout.criteria_id);
        number_if(message_, Name::timeout_idle, timeout.specified.idle);
        number_if(message_, Name::timeout_total, timeout.specified.total);
        number_if(message_, Name::timeout_packets, timeout.specified.packets);
        number_if(message_, Name::timeout_bytes, timeout.specified.bytes);
        number_if(message_, Name::remaining_idle, timeout.remaining.idle);
        number_if(message_, Name::remaining_total, timeout.remaining.total);
        number_if(message_, Name::remaining_packets, timeout.remaining.packets);
        number_if(message_, Name::remaining_bytes, timeout.remaining.bytes);
    }
    void operator()(const CongestionNotification& congestion) const {
        message_.text(Name::cdest_id, congestion.cdest_id)
            .number(Name::average_bandwidth, congestion.average)
            .number(Name::alert_bandwidth, congestion.alert)
            .number(Name::max_bandwidth, congestion.maximum);
    }
    void operator()(const DroppedNotification& dropped) const {
        message_.value(Name::cdest_id, dropped.cdest_id)
            .number(Name::criteria_id, dropped.criteria_id)
            .number(Name::dropped_packets, dropped.packets)
            .number(Name::dropped_bytes, dropped.bytes);
    }
    void operator()(const RestartNotification& restart) const {
        message_.text(Name::alert_info, restart.reason);
    }
    void operator()(const PurgedNotification& purged) const {
        std::string ids;
        for (const std::uint64_t id : purged.criteria_ids) {
            ids += ids.empty() ? "" : ",";
            append_number(ids, id);
        }
        message_.text(Name::cdest_id, purged.cdest_id).value(Name::criteria_id, ids);
    }

  private:
    MessageWriter& message_;
};

}  // namespace

Code code(const Notification& notification) {
    return std::visit(CodeOf{}, notification);
}

std::string write_notification(Version version, const Notification& notification, Timestamp now, Hmac& key) {
    MessageWriter message{version, code(notification)};
    std::visit(Details{message}, notification);
    message.time(Name::timestamp, now);
    return message.sign(key);
}

}  // namespace flowtap::lib::dtcp
