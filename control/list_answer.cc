#include "control/list_answer.h"

#include "control/terms.h"
#include "lib/address.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

namespace flowtap::control {

namespace {

std::vector<const Tap*> select(const TapTable& taps, SourceIndex source,
                               const lib::dtcp::ListRequest& request) {
    std::vector<const Tap*> selected;
    const auto take = [&](const Tap* tap) {
        if (tap->exists()) {
            selected.push_back(tap);
        }
    };
    if (const auto* const cdest = std::get_if<lib::dtcp::CdestId>(&request.selector)) {
        std::ranges::for_each(taps.with_cdest(source, cdest->id), take);
        return selected;
    }
    const auto* const ids = std::get_if<lib::dtcp::CriteriaIds>(&request.selector);
    for (const auto& [id, tap] : taps.of(source)) {
        if (ids == nullptr || ids->selects(id)) {
            take(tap);
        }
    }
    return selected;
}

lib::dtcp::ListStatistics statistics_of(const Tasking& tasking, const Tap& tap, Now now) {
    const auto totals = tasking.totals(tap);
    lib::dtcp::ListStatistics statistics;
    statistics.matching_packets = totals.matched_packets;
    statistics.matching_bytes = totals.matched_bytes;
    statistics.average_bandwidth = tasking.bandwidth(tap, totals, now);
    const bool active_since =
        totals.matched_packets != tap.statistics.before.matched_packets + tap.statistics.seen.matched_packets;
    const auto left = remaining(tap.terms, active_since ? now.boot : tap.statistics.active, totals, now.boot);
    statistics.remaining_idle = left.idle;
    statistics.remaining_total = left.total;
    statistics.remaining_packets = left.packets;
    statistics.remaining_bytes = left.bytes;
    statistics.num_refresh = tap.terms.refreshes;
    statistics.last_refresh =
        Now::timestamp_of(tap.terms.refreshes == 0 ? tap.added_utc : tap.terms.refreshed_utc);
    return statistics;
}

}  // namespace

ListAnswer::ListAnswer(const Tasking& tasking, Source& source, const lib::dtcp::ListRequest& request,
                       lib::dtcp::Version version, std::uint64_t seq, Now now, std::size_t limit)
    : source_{&source},
      criteria_{request.criteria},
      items_{[&] {
          std::vector<Item> items;
          for (const Tap* const tap : select(tasking.taps(), source.index, request)) {
              Item item{tap->plan.text,        static_cast<std::uint64_t>(tap->id),
                        tap->added_utc,        tap->csource_address,
                        specified(tap->terms), {}};
              if (request.statistics) {
                  item.statistics = statistics_of(tasking, *tap, now);
              }
              items.push_back(std::move(item));
          }
          return items;
      }()},
      writer_{version, seq, now.timestamp(), items_.size(), limit, source.key} {}

bool ListAnswer::advance() {
    const std::size_t end = std::min(items_.size(), next_ + slice);
    for (; next_ < end; ++next_) {
        const auto& item = items_[next_];
        const auto address = lib::to_string(item.csource_address);
        lib::dtcp::ListEntry entry{
            item.id, source_->config->name, address, item.text->cdest_ids, Now::timestamp_of(item.added_utc),
            {},      item.statistics};
        if (criteria_) {
            entry.given_filter = item.text->given_filter;
            entry.specified = item.specified;
            entry.given = item.text->given;
        }
        writer_.add(entry);
    }
    return next_ == items_.size();
}

std::string ListAnswer::take() {
    std::string answer;
    for (auto& message : std::move(writer_).finish()) {
        answer += message;
    }
    return answer;
}

}  // namespace flowtap::control
