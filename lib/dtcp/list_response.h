// The answer to LIST (dtcp.md section 8): entries in one consistent snapshot, none split over two messages.
#pragma once

#include "lib/dtcp/add.h"
#include "lib/dtcp/auth.h"
#include "lib/dtcp/message.h"
#include "lib/dtcp/timestamp.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flowtap::lib::dtcp {

/// Unset timeouts are those that the criterion does not have.
struct ListStatistics {
    std::optional<std::uint32_t> remaining_idle = std::nullopt;   ///< seconds
    std::optional<std::uint32_t> remaining_total = std::nullopt;  ///< seconds
    std::optional<std::uint64_t> remaining_packets = std::nullopt;
    std::optional<std::uint64_t> remaining_bytes = std::nullopt;
    std::uint64_t average_bandwidth = 0;  ///< bit/s over 10 s
    std::uint64_t matching_packets = 0;
    std::uint64_t matching_bytes = 0;
    std::uint64_t num_refresh = 0;
    std::optional<Timestamp> last_refresh = std::nullopt;  ///< or when it was added; unset: not written
};

/// Views: read while the entry is written.
struct ListEntry {
    std::uint64_t criteria_id = 0;
    std::string_view csource_id{};
    std::string_view csource_address{};  ///< empty: not written
    std::string_view cdest_ids{};        ///< in DTCP's syntax, as given: a list
    Timestamp added{};
    /// AddRequest::given, where criteria were asked for
    std::optional<std::string_view> given = std::nullopt;
    std::optional<ListStatistics> statistics = std::nullopt;
    /// Written with `given` only, before it: AddRequest::given_filter, and the timeouts as ADD or REFRESH
    /// said last.
    std::string_view given_filter{};
    Timeouts specified{};
};

class ListWriter {
  public:
    /// `total`: entries of the whole answer: add() is called that many times before finish(). `limit`: bytes
    /// of a message (1,400 on UDP; SIZE_MAX: all in one, on SSH); an entry that is larger by itself still
    /// goes out, alone in its message.
    ListWriter(Version version, std::uint64_t seq, Timestamp now, std::uint64_t total, std::size_t limit,
               Hmac& key);

    void add(const ListEntry& entry);

    /// The whole messages, each signed, in order; without an entry one message that has none.
    std::vector<std::string> finish() &&;

  private:
    void close();

    bool numbered_;  ///< CRITERIA-NUM and -COUNT in each entry; 0.5 has NUM-CRITERIA in the last message
                     ///< instead
    std::uint64_t total_;
    std::size_t limit_;
    Hmac& key_;
    std::uint64_t written_ = 0;
    std::string head_;     ///< what every message starts with
    std::string message_;  ///< the one being written
    std::string entry_;    ///< kept for its memory
    std::vector<std::string> messages_;
};

}  // namespace flowtap::lib::dtcp
