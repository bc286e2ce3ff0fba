#include "control/terms.h"

#include <algorithm>
#include <limits>

namespace flowtap::control {

namespace {

constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

std::uint64_t add(std::uint64_t left, std::uint64_t right) {
    return right > never - left ? never : left + right;
}

std::uint64_t subtract(std::uint64_t left, std::uint64_t right) {
    return left - std::min(left, right);
}

std::uint64_t end_of(std::uint64_t from, std::uint32_t seconds) {
    return add(from, seconds * nanoseconds_per_second);
}

std::uint32_t seconds_until(std::uint64_t end, std::uint64_t boot) {
    return static_cast<std::uint32_t>((subtract(end, boot) + nanoseconds_per_second - 1) /
                                      nanoseconds_per_second);
}

template <typename Number>
std::optional<Number> unless_zero(Number number) {
    return number == 0 ? std::nullopt : std::optional{number};
}

}  // namespace

TapTerms terms_of(const lib::dtcp::Timeouts& timeouts, Now now) {
    TapTerms terms;
    terms.idle = timeouts.idle.value_or(0);
    terms.total = timeouts.total.value_or(0);
    terms.idle_from = now.boot;
    terms.total_from = now.boot;
    terms.packets = terms.packets_end = timeouts.packets.value_or(0);
    terms.bytes = terms.bytes_end = timeouts.bytes.value_or(0);
    return terms;
}

std::optional<TapTerms> refreshed(const TapTerms& terms, const lib::dtcp::Timeouts& given,
                                  const TapTotals& totals, Now now) {
    TapTerms fresh = terms;
    if (given.idle) {
        fresh.idle = *given.idle;
        fresh.idle_from = now.boot;
    }
    if (given.total) {
        fresh.total = *given.total;
        fresh.total_from = now.boot;
    }
    if (given.packets) {
        fresh.packets = *given.packets;
        fresh.packets_end = *given.packets == 0 ? 0 : add(totals.matched_packets, *given.packets);
    }
    if (given.bytes) {
        fresh.bytes = *given.bytes;
        fresh.bytes_end = *given.bytes == 0 ? 0 : add(totals.matched_bytes, *given.bytes);
    }
    if (fresh.idle == 0 && fresh.total == 0 && fresh.packets == 0 && fresh.bytes == 0) {
        return std::nullopt;
    }
    ++fresh.refreshes;
    fresh.refreshed_utc = now.utc;
    return fresh;
}

lib::dtcp::Timeouts specified(const TapTerms& terms) {
    return {unless_zero(terms.idle), unless_zero(terms.total), unless_zero(terms.packets),
            unless_zero(terms.bytes)};
}

lib::dtcp::Timeouts remaining(const TapTerms& terms, std::uint64_t active, const TapTotals& totals,
                              std::uint64_t boot) {
    lib::dtcp::Timeouts left;
    if (terms.idle != 0) {
        left.idle = seconds_until(end_of(std::max(active, terms.idle_from), terms.idle), boot);
    }
    if (terms.total != 0) {
        left.total = seconds_until(end_of(terms.total_from, terms.total), boot);
    }
    if (terms.packets != 0) {
        left.packets = subtract(terms.packets_end, totals.matched_packets);
    }
    if (terms.bytes != 0) {
        left.bytes = subtract(terms.bytes_end, totals.matched_bytes);
    }
    return left;
}

std::uint64_t deadline(const TapTerms& terms, std::uint64_t active) {
    std::uint64_t end = total_end(terms);
    if (terms.idle != 0) {
        end = std::min(end, end_of(std::max(active, terms.idle_from), terms.idle));
    }
    return end;
}

std::uint64_t total_end(const TapTerms& terms) {
    return terms.total != 0 ? end_of(terms.total_from, terms.total) : never;
}

lib::TapService service_of(const TapTerms& terms, const TapTotals& before) {
    lib::TapService service;
    if (terms.packets != 0 && terms.packets_end != never) {
        service.packet_limit = subtract(terms.packets_end, before.matched_packets);
    }
    if (terms.bytes != 0 && terms.bytes_end != never) {
        service.byte_limit = subtract(terms.bytes_end, before.matched_bytes);
    }
    service.suppressed = terms.suppressed;
    return service;
}

}  // namespace flowtap::control
