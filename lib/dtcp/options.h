// What several requests take: flags, timeouts, the choice of criteria. Internal to the codec.
#pragma once

#include "lib/dtcp/requests.h"

#include <cstdint>
#include <expected>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace flowtap::lib::dtcp {

enum class Flag : std::uint8_t { static_, send_async, criteria, stats, both };

class Flags {
  public:
    bool has(Flag flag) const { return (bits_ >> static_cast<unsigned>(flag) & 1U) != 0; }
    void set(Flag flag) { bits_ |= 1U << static_cast<unsigned>(flag); }
    bool empty() const { return bits_ == 0; }

  private:
    unsigned bits_ = 0;
};

/// The flags of a request that takes these; 501 for another word, 400 for none where the parameter is given.
std::expected<Flags, Failure> parse_flags(const Request& request, std::initializer_list<Flag> taken);

/// 433 with the line: unreadable or out of range.
std::expected<Timeouts, Failure> parse_timeouts(const Request& request);

/// The first timeout parameter that is given, or nullptr.
const Parameter* find_timeout(const Request& request);

/// Criteria-ID; 400 with the line.
std::expected<CriteriaIds, Failure> parse_criteria_ids(const Parameter& parameter);

/// Criteria-ID or Cdest-ID, nothing where neither is given; 400 with the line of the second where both are.
std::expected<std::optional<Selector>, Failure> parse_selector(const Request& request);

/// One identifier, not a list; 400 with the line.
std::expected<std::string, Failure> parse_name(const Parameter& parameter);

}  // namespace flowtap::lib::dtcp
