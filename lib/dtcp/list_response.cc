#include "lib/dtcp/list_response.h"

#include "lib/dtcp/code.h"
#include "lib/dtcp/escape.h"
#include "lib/dtcp/write.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace flowtap::lib::dtcp {
namespace {

/// "AUTHENTICATION-INFO: ", 40 digits, CRLF and the empty line.
constexpr std::size_t signature_size = 21 + 40 + 2 + 2;
/// "NUM-CRITERIA: ", up to 20 digits, CRLF.
constexpr std::size_t count_size = 14 + 20 + 2;

template <typename Number>
void append_if(std::string& text, Name name, const std::optional<Number>& number) {
    if (number) {
        append_number_line(text, name, *number);
    }
}

void append_statistics(std::string& text, const ListStatistics& statistics) {
    append_if(text, Name::remaining_idle, statistics.remaining_idle);
    append_if(text, Name::remaining_total, statistics.remaining_total);
    append_if(text, Name::remaining_packets, statistics.remaining_packets);
    append_if(text, Name::remaining_bytes, statistics.remaining_bytes);
    append_number_line(text, Name::average_bandwidth, statistics.average_bandwidth);
    append_number_line(text, Name::matching_packets, statistics.matching_packets);
    append_number_line(text, Name::matching_bytes, statistics.matching_bytes);
    append_number_line(text, Name::num_refresh, statistics.num_refresh);
    if (statistics.last_refresh) {
        append_line(text, Name::last_refresh, to_string(*statistics.last_refresh));
    }
}

}  // namespace

ListWriter::ListWriter(Version version, std::uint64_t seq, Timestamp now, std::uint64_t total,
                       std::size_t limit, Hmac& key)
    : numbered_{version > version_0_5}, total_{total}, limit_{limit}, key_{key} {
    head_ = to_string(version) + " 200 OK\r\n";
    append_number_line(head_, Name::seq, seq);
    append_line(head_, Name::timestamp, to_string(now));
    message_ = head_;
}

void ListWriter::add(const ListEntry& entry) {
    assert(written_ < total_);
    ++written_;
    entry_.clear();
    append_number_line(entry_, Name::criteria_id, entry.criteria_id);
    append_line(entry_, Name::csource_id, escape(entry.csource_id));
    append_line(entry_, Name::cdest_id, escape_line(entry.cdest_ids));
    if (!entry.csource_address.empty()) {
        append_line(entry_, Name::csource_address, escape(entry.csource_address));
    }
    append_line(entry_, Name::timestamp, to_string(entry.added));
    if (entry.given) {
        entry_ += entry.given_filter;
        append_if(entry_, Name::timeout_idle, entry.specified.idle);
        append_if(entry_, Name::timeout_total, entry.specified.total);
        append_if(entry_, Name::timeout_packets, entry.specified.packets);
        append_if(entry_, Name::timeout_bytes, entry.specified.bytes);
        entry_ += *entry.given;
    }
    if (entry.statistics) {
        append_statistics(entry_, *entry.statistics);
    }
    if (numbered_) {
        append_number_line(entry_, Name::criteria_num, written_);
        append_number_line(entry_, Name::criteria_count, total_);
    }
    const std::size_t tail = signature_size + (numbered_ ? 0 : count_size);
    const bool has_entries = message_.size() > head_.size();
    const bool fits = message_.size() + entry_.size() <= limit_ - std::min(limit_, tail);
    if (has_entries && !fits) {
        close();
    }
    message_ += entry_;
}

void ListWriter::close() {
    key_.sign(message_);
    messages_.push_back(std::exchange(message_, head_));
}

std::vector<std::string> ListWriter::finish() && {
    assert(written_ == total_);
    if (!numbered_) {
        append_number_line(message_, Name::num_criteria, total_);
    }
    close();
    return std::move(messages_);
}

}  // namespace flowtap::lib::dtcp
