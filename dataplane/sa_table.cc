#include "dataplane/sa_table.h"

#include <algorithm>
#include <utility>

namespace flowtap::dataplane {
namespace {

lib::Refusal refusal_of(crypto::SaError::Cause cause) {
    using Cause = crypto::SaError::Cause;
    switch (cause) {
        case Cause::lease:
            return lib::Refusal::bad_lease;
        case Cause::memory:
            return lib::Refusal::no_memory;
        case Cause::spi:
        case Cause::suite:
        case Cause::key:
        case Cause::addresses:
        case Cause::dscp:
        case Cause::window:
            break;
    }
    return lib::Refusal::bad_key;
}

}  // namespace

SaTable::SaTable(match::Quiescence& quiescence, crypto::Engine engine,
                 std::span<const lib::TunnelConfig> tunnels, std::uint32_t mtu)
    : quiescence_(quiescence),
      engine_(std::move(engine)),
      tunnels_(tunnels),
      mtu_(mtu),
      owner_(std::make_shared<SaView>(tunnels.size())),
      view_(owner_.get()) {}

lib::Refusal SaTable::create(const lib::SaInstall& record, Entry& entry) const {
    const lib::TunnelConfig& tunnel = tunnels_[record.tunnel];
    auto sa = crypto::OutboundSa::create(engine_, {.spi = lib::Spi{record.spi},
                                                   .suite = record.suite,
                                                   .key = std::span(record.key).first(record.key_size),
                                                   .local = tunnel.local,
                                                   .remote = tunnel.remote,
                                                   .lease = record.lease,
                                                   .dscp = {},
                                                   .extended_sequence = record.extended_sequence != 0,
                                                   .udp_encapsulation = record.udp_encapsulation != 0,
                                                   .padded_length = record.padded_length});
    if (!sa) {
        return refusal_of(sa.error().cause);
    }
    if ((*sa)->largest_inner(mtu_) == 0) {
        return lib::Refusal::bad_key;  // padded beyond what the port can send
    }
    entry = {.sa = std::move(*sa),
             .id = record.header.id,
             .tunnel = record.tunnel,
             .last_block = record.lease.count};
    return lib::Refusal::none;
}

std::uint64_t SaTable::staged_end(std::size_t slot) const {
    const Staged& staged = staged_[slot];
    if (!staged.extensions.empty()) {
        return staged.extensions.back().first + staged.extensions.back().count;
    }
    return entries_[slot].sa->lease_end();
}

lib::Refusal SaTable::stage_extension(std::size_t slot, const lib::Lease& lease) {
    if (!crypto::SequenceCounter::valid(lease) || lease.first != staged_end(slot)) {
        return lib::Refusal::bad_lease;
    }
    staged_[slot].extensions.push_back(lease);
    return lib::Refusal::none;
}

lib::Refusal SaTable::stage_install(const lib::SaInstall& record) {
    const std::size_t slot = record.header.slot;
    if (slot >= lib::max_sas || record.tunnel >= tunnels_.size() || record.key_size > record.key.size()) {
        return lib::Refusal::malformed_record;
    }
    if (!crypto::SequenceCounter::valid(record.lease)) {
        return lib::Refusal::bad_lease;
    }
    const Entry& present = entries_[slot];
    Staged& staged = staged_[slot];
    if (staged.install) {
        return lib::Refusal::slot_in_use;
    }
    const bool same = present.sa && present.id == record.header.id && !staged.remove;
    if (present.sa && !same && !staged.remove && !resync_) {
        return lib::Refusal::slot_in_use;
    }
    const std::uint64_t end = record.lease.first + record.lease.count;
    if (same && record.lease.first <= staged_end(slot)) {
        staged.named = true;
        const std::uint64_t granted = staged_end(slot);
        return end > granted ? stage_extension(slot, {granted, end - granted}) : lib::Refusal::none;
    }
    // A new SA, or the same key in a later block: control recorded a block that never reached us, and skips
    // it.
    Entry entry;
    if (const lib::Refusal refusal = create(record, entry); refusal != lib::Refusal::none) {
        return refusal;
    }
    staged.install = std::move(entry);
    staged.named = true;
    return lib::Refusal::none;
}

lib::Refusal SaTable::stage_lease(const lib::SaLease& record) {
    const std::size_t slot = record.header.slot;
    if (slot >= lib::max_sas || !entries_[slot].sa || entries_[slot].id != record.header.id ||
        staged_[slot].install || staged_[slot].remove) {
        return lib::Refusal::unknown_slot;
    }
    staged_[slot].named = true;
    return stage_extension(slot, record.lease);
}

lib::Refusal SaTable::stage_remove(lib::SaSlot slot, std::uint64_t id) {
    const auto index = static_cast<std::size_t>(slot);
    if (index >= lib::max_sas || !entries_[index].sa || entries_[index].id != id || staged_[index].remove) {
        return lib::Refusal::unknown_slot;
    }
    staged_[index].remove = true;
    return lib::Refusal::none;
}

void SaTable::remove_unnamed() {
    for (std::size_t slot = 0; slot < lib::max_sas; ++slot) {
        staged_[slot].remove = staged_[slot].remove || (entries_[slot].sa && !staged_[slot].named);
    }
}

void SaTable::rollback() {
    staged_.fill({});
    resync_ = false;
}

bool SaTable::publish_additions() {
    if (resync_) {
        remove_unnamed();
    }
    bool removals = false;
    for (std::size_t slot = 0; slot < lib::max_sas; ++slot) {
        Staged& staged = staged_[slot];
        Entry& entry = entries_[slot];
        if (staged.named) {
            entry.low_said = false;  // a new control has not heard it
        }
        for (const lib::Lease& lease : staged.extensions) {
            entry.sa->extend_lease(lease);
            entry.last_block = lease.count;
        }
        if ((staged.install && entry.sa) || staged.remove) {
            leaving_[slot] = std::exchange(entry, {});
            removals = true;
        }
        if (staged.install) {
            entry = std::move(*staged.install);
            entry.order = ++order_;
        }
    }
    rollback();
    show();
    return removals;
}

void SaTable::publish_removals() {
    std::vector<std::shared_ptr<const void>> gone;
    for (Entry& entry : leaving_) {
        if (entry.sa) {
            gone.emplace_back(std::exchange(entry, {}).sa);
        }
    }
    show();
    const match::Period period = quiescence_.next_period();
    for (auto& object : gone) {
        retired_.push_back({std::move(object), period});
    }
}

void SaTable::show() {
    auto view = std::make_shared<SaView>(tunnels_.size());
    std::vector<std::uint64_t> orders(tunnels_.size());
    // What is leaving seals only where nothing else is there.
    for (const auto* entries : {&leaving_, &entries_}) {
        for (std::size_t slot = 0; slot < lib::max_sas; ++slot) {
            const Entry& entry = (*entries)[slot];
            if (!entry.sa) {
                continue;
            }
            ActiveSa& active = (*view)[entry.tunnel];
            const std::uint64_t order = entries == &entries_ ? entry.order : 0;
            if (active.sa == nullptr || order >= orders[entry.tunnel]) {
                active = {.sa = entry.sa.get(),
                          .slot = lib::SaSlot{static_cast<std::uint32_t>(slot)},
                          .tunnel = entry.tunnel,
                          .largest_inner = static_cast<std::uint32_t>(entry.sa->largest_inner(mtu_))};
                orders[entry.tunnel] = order;
            }
        }
    }
    view_.store(view.get(), std::memory_order_release);
    retired_.push_back({std::exchange(owner_, std::move(view)), quiescence_.next_period()});
}

void SaTable::reclaim() {
    std::erase_if(retired_, [&](const Retired& retired) { return quiescence_.passed(retired.period); });
}

std::optional<SaTable::Report> SaTable::report(lib::SaSlot slot) {
    Entry& entry = entries_[static_cast<std::size_t>(slot)];
    if (!entry.sa) {
        return std::nullopt;
    }
    Report report{.next = entry.sa->next_counter(), .lease_end = entry.sa->lease_end()};
    const std::uint64_t left = report.lease_end > report.next ? report.lease_end - report.next : 0;
    report.low = left < entry.last_block / 2 && !std::exchange(entry.low_said, left < entry.last_block / 2);
    return report;
}

std::uint32_t SaTable::count() const {
    return static_cast<std::uint32_t>(
        std::ranges::count_if(entries_, [](const Entry& entry) { return entry.sa != nullptr; }));
}

}  // namespace flowtap::dataplane
