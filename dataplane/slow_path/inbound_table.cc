#include "dataplane/slow_path/inbound_table.h"

#include <algorithm>
#include <span>
#include <utility>

namespace flowtap::dataplane::slow_path {
namespace {

/// Sequence numbers: what one burst of a 10 Gbit/s gateway may get out of order by.
constexpr std::size_t replay_window = 1024;

}  // namespace

InboundTable::InboundTable(match::Quiescence& quiescence, crypto::Engine engine)
    : quiescence_(quiescence), engine_(std::move(engine)) {}

lib::Refusal InboundTable::stage_install(const lib::SaInstall& record) {
    const std::size_t slot = record.header.slot;
    if (slot >= lib::max_sas || record.key_size > record.key.size()) {
        return lib::Refusal::malformed_record;
    }
    const Entry& present = entries_[slot];
    Staged& staged = staged_[slot];
    if (staged.install) {
        return lib::Refusal::slot_in_use;
    }
    if (present.sa && !staged.remove) {
        if (present.id == record.header.id) {
            staged.named = true;
            return lib::Refusal::none;
        }
        if (!resync_) {
            return lib::Refusal::slot_in_use;
        }
    }
    auto sa = crypto::InboundSa::create(engine_, {.spi = lib::Spi{record.spi},
                                                  .suite = record.suite,
                                                  .key = std::span(record.key).first(record.key_size),
                                                  .window = replay_window,
                                                  .extended_sequence = record.extended_sequence != 0});
    if (!sa) {
        return sa.error().cause == crypto::SaError::Cause::memory ? lib::Refusal::no_memory
                                                                  : lib::Refusal::bad_key;
    }
    staged.install = Entry{.sa = std::move(*sa),
                           .id = record.header.id,
                           .tunnel = record.tunnel,
                           .in_udp = record.udp_encapsulation != 0};
    staged.named = true;
    return lib::Refusal::none;
}

lib::Refusal InboundTable::stage_remove(lib::SaSlot slot, std::uint64_t id) {
    const auto index = static_cast<std::size_t>(slot);
    if (index >= lib::max_sas || !entries_[index].sa || entries_[index].id != id || staged_[index].remove) {
        return lib::Refusal::unknown_slot;
    }
    staged_[index].remove = true;
    return lib::Refusal::none;
}

void InboundTable::rollback() {
    staged_.fill({});
    resync_ = false;
}

void InboundTable::publish() {
    const auto changes = [](const Staged& staged) { return staged.install || staged.remove; };
    if (!resync_ && std::ranges::none_of(staged_, changes)) {
        rollback();
        return;
    }
    auto view = std::make_shared<InboundView>();
    std::vector<std::shared_ptr<const void>> gone;
    for (std::size_t slot = 0; slot < lib::max_sas; ++slot) {
        Staged& staged = staged_[slot];
        Entry& entry = entries_[slot];
        if (staged.remove || staged.install || (resync_ && !staged.named)) {
            gone.emplace_back(std::exchange(entry, {}).sa);
        }
        if (staged.install) {
            entry = std::move(*staged.install);
        }
        if (entry.sa) {
            view->push_back({entry.sa.get(), entry.tunnel, entry.in_udp});
        }
    }
    rollback();
    view_.store(view.get(), std::memory_order_release);
    gone.emplace_back(std::exchange(owner_, std::move(view)));
    const match::Period period = quiescence_.next_period();
    for (auto& object : gone) {
        retired_.push_back({std::move(object), period});
    }
}

void InboundTable::reclaim() {
    std::erase_if(retired_, [&](const Retired& retired) { return quiescence_.passed(retired.period); });
}

}  // namespace flowtap::dataplane::slow_path
