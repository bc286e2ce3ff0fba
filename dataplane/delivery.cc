#include "dataplane/delivery.h"

#include "crypto/esp.h"
#include "dataplane/short_copy.h"

#include <rte_cycles.h>
#include <rte_ip.h>
#include <rte_prefetch.h>

#include <array>
#include <cassert>
#include <utility>

namespace flowtap::dataplane {
namespace {

constexpr std::uint32_t largest_packet = 65'535;  // the length fields of IP
/// Copies between two looks at the backlog: about what a half full queue can take in meanwhile, of the slower
/// suites too; and as few looks as cost nothing.
constexpr std::uint32_t look_interval = 64;

std::uint8_t* packet_start(const rte_mbuf& buffer) {
    return static_cast<std::uint8_t*>(buffer.buf_addr) + RTE_PKTMBUF_HEADROOM;
}

}  // namespace

std::uint32_t copy_data_room(std::uint32_t mtu) {
    return mtu + static_cast<std::uint32_t>(crypto::largest_tailroom);
}

Delivery::Delivery(const Parts& parts, crypto::Sealer sealer)
    : parts_(parts),
      allowances_(parts.rates),
      buffers_(parts.pool),
      outbox_({.port = parts.port,
               .queue = parts.queue,
               .next_hops = parts.next_hops,
               .status = parts.status,
               .taps = parts.taps,
               .losses = parts.losses},
              std::move(sealer)),
      view_(&parts.sas.view()),
      identification_(parts.worker) {
    assert(parts.mtu <= largest_packet && parts.mtu >= header_room);
}

std::uint32_t Delivery::copy(const HeldFrame& frame, const match::LazyHeaders& headers,
                             const match::FrameMatches& matches) {
    const match::PacketPlace packet = headers.packet(frame.place);
    assert(packet.offset + packet.length <= frame.length);
    bool any = false;
    overflow_ += matches.overflow;
    for (const match::Match& match : matches) {
        const TapCopies& copies = copies_of(match.payload);
        const Original original =
            copies.layer2 ? Original{frame, 0, frame.length} : Original{frame, packet.offset, packet.length};
        if (!is_decided(match.payload) && !takes(match, copies, headers, frame.place, original.length)) {
            continue;
        }
        any = true;
        if (copies.direction) [[unlikely]] {
            shim_flags_ = shim_flags(copies, headers[frame.place]);
        }
        for (const CopyTarget& target : copies.targets) {
            if (target.account != account_) [[unlikely]] {
                count_owed();
                account_ = target.account;
            }
            ++matches_;
            const Outcome outcome = owe(original, target, match.slot);
            if (outcome != Outcome::copies_sent) [[unlikely]] {
                outbox_.lose(match.slot, target.account, original.length, outcome);
                if (target.numbers != nullptr) {
                    outbox_.lose_number(*target.numbers);
                }
            }
        }
    }
    if (!any) {
        return 0;
    }
    return packet.length != 0 ? packet.length : frame.length;
}

bool Delivery::holds_back(const match::Match& match, const match::LazyHeaders& headers, std::size_t place) {
    const bool takes_it =
        takes(match, copies_of(match.payload), headers, place, headers.packet(place).length);
    lib::add(parts_.taps[static_cast<std::size_t>(match.slot)][lib::TapCounter::stopped_packets],
             takes_it ? 1 : 0);
    return takes_it;
}

/// Whether the tap's terms let it take the frame; if so, it is counted.
bool Delivery::takes(const match::Match& match, const TapCopies& copies, const match::LazyHeaders& headers,
                     std::size_t place, std::uint32_t bytes) {
    bool last = false;
    if (const TapTerms* terms = copies.terms.load(std::memory_order_acquire); terms != nullptr) [[unlikely]] {
        terms = terms_of(terms, generation_);
        const Decision decision =
            terms == nullptr ? Decision::copy : decide(*terms, match.slot, headers[place], bytes);
        if (decision == Decision::leave) {
            return false;
        }
        last = decision == Decision::copy_last;
    }
    lib::TapCounters& tap = parts_.taps[static_cast<std::size_t>(match.slot)];
    lib::add(tap[lib::TapCounter::matched_packets], 1);
    lib::add(tap[lib::TapCounter::matched_bytes], bytes);
    if (last) {
        parts_.over.post(static_cast<std::size_t>(match.slot));  // its counters say so by now
    }
    return true;
}

void Delivery::flush() {
    outbox_.flush();
    // Last: who sees all copies owed sees what became of them.
    count_owed();
    counted_ = 0;
    lib::add(parts_.status.counters[lib::WorkerCounter::matches], std::exchange(matches_, 0));
    lib::add(parts_.status.counters[lib::WorkerCounter::match_overflow], std::exchange(overflow_, 0));
}

/// In the account of the destination that the last copies go to: nearly always all of a burst.
[[gnu::noinline]] void Delivery::count_owed() {
    lib::add(parts_.status.destinations[account_].counters[lib::DestinationCounter::copies_owed],
             matches_ - std::exchange(counted_, matches_));
}

/// What a tap with limits or drop policies does with a frame that it matches.
Delivery::Decision Delivery::decide(const TapTerms& terms, lib::TapSlot slot, const match::Headers& headers,
                                    std::uint32_t bytes) {
    lib::TapCounters& tap = parts_.taps[static_cast<std::size_t>(slot)];
    if (parts_.policies.any_matches(terms.service.suppressed, headers, port_)) {
        const std::uint64_t one = terms.over() ? 0 : 1;  // of a tap that is over nothing is counted
        lib::add(tap[lib::TapCounter::suppressed], one);
        lib::add(parts_.status.counters[lib::WorkerCounter::suppressed], one);
        return Decision::leave;
    }
    switch (admit(terms, parts_.worker, tap, bytes)) {
        case Admission::admitted:
            return Decision::copy;
        case Admission::last:
            return Decision::copy_last;
        case Admission::ended:
            parts_.over.post(static_cast<std::size_t>(slot));
            break;
        case Admission::refused:
            break;
    }
    return Decision::leave;
}

std::uint8_t Delivery::shim_flags(const TapCopies& copies, const match::Headers& headers) const {
    constexpr std::uint8_t fragment = match::flag::first_fragment | match::flag::later_fragment;
    const bool far = (parts_.far_ports >> port_ & 1) != 0;
    std::uint8_t flags = 0;
    if ((*copies.direction)(headers, far) == Direction::to_target) {
        flags |= lib::shim_flag::to_target;
    }
    if (match::matchable(headers.verdict) && (headers.flags & fragment) != 0) {
        flags |= lib::shim_flag::fragment;
    }
    if (copies.layer2) {
        flags |= lib::shim_flag::whole_frame;
    }
    return flags;
}

/// Of the copy that was opened last, whose UDP header is at `udp`.
[[gnu::noinline]] void Delivery::complete_shim(const CopyTarget& target, std::uint8_t* udp) {
    const Encapsulation& encapsulation = target.encapsulation;
    if (target.numbers != nullptr) {
        outbox_.number(*target.numbers, {.shim = udp + udp_header,
                                         .checksum = checksum_place(encapsulation, udp),
                                         .arrival = parts_.clock.at(arrival_),
                                         .flags = shim_flags_});
    } else if ((shim_flags_ & lib::shim_flag::to_target) != 0) {
        set_to_target(encapsulation, udp);
    }
}

/// Whether its destination's rate, if that is limited, has room for IP packets of so many bytes.
[[gnu::always_inline]] inline bool Delivery::may_pass(const CopyTarget& target, std::uint32_t bytes) {
    return !target.limited || allowances_.spend(target.account, bytes, rte_rdtsc);
}

/// In line: handed over in memory, its narrow fields would be read back as one word, which stalls.
[[gnu::always_inline]] inline Datagram Delivery::next_datagram(const Original& original,
                                                               const Encapsulation& encapsulation) {
    Datagram datagram{.body_length = original.length, .identification = identification_};
    identification_ += parts_.workers;
    if (encapsulation.family == lib::Family::ipv6) {
        const HeldFrame& frame = original.frame;
        if (original.offset + original.length <= frame.readable) [[likely]] {
            datagram.body_sum = rte_raw_cksum(frame.data + original.offset, original.length);
        } else {
            rte_raw_cksum_mbuf(frame.buffers, original.offset, original.length, &datagram.body_sum);
        }
    }
    return datagram;
}

/// The packet whose `header` bytes are in the buffer, and `length` bytes of the original packet.
[[gnu::always_inline]] inline void Delivery::add_packet(const Original& original, std::uint32_t from,
                                                        std::uint32_t length,
                                                        const Encapsulation& encapsulation,
                                                        std::uint32_t header, const ActiveSa* sa,
                                                        rte_mbuf& buffer) {
    const HeldFrame& frame = original.frame;
    from += original.offset;
    std::uint8_t* const start = packet_start(buffer);
    const bool readable = from + length <= frame.readable;
    if (!readable) [[unlikely]] {
        const void* const body = rte_pktmbuf_read(frame.buffers, from, length, start + header);
        if (body != start + header) {
            std::memcpy(start + header, body, length);
        }
    }
    if (sa == nullptr) {
        if (readable) [[likely]] {
            copy_bytes(start + header, frame.data + from, length);
        }
        outbox_.add_clear(buffer, start, header + length, encapsulation.family);
        return;
    }
    // Filled in where it stays: a copy of it would read in wide words what was written in narrow ones, and
    // wait.
    crypto::SealJob& job = outbox_.add_to_seal(buffer, *sa);
    job.inner = start;
    job.length = header + length;
    job.room = static_cast<std::uint32_t>(buffer.buf_len - RTE_PKTMBUF_HEADROOM);
    job.body = readable ? frame.data + from : nullptr;
    job.body_length = readable ? length : 0;
    assert(job.length <= job.room);
}

/// Puts the copy's packets into the outbox, or says why it is lost.
[[gnu::always_inline]] inline Delivery::Outcome Delivery::owe(const Original& original,
                                                              const CopyTarget& target, lib::TapSlot slot) {
    if (port_lost_) [[unlikely]] {
        return Outcome::copy_port_lost;
    }
    if (++unlooked_ == look_interval) [[unlikely]] {
        unlooked_ = 0;
        overloaded_ = backlog_->behind();
    }
    if (overloaded_) [[unlikely]] {
        return Outcome::copy_overload;
    }
    if (target.route == RouteKind::none) [[unlikely]] {
        return Outcome::copy_no_route;
    }
    const ActiveSa* sa = nullptr;
    std::uint32_t largest = parts_.mtu;
    if (target.route == RouteKind::tunnel) {
        sa = &(*view_)[target.tunnel];
        if (sa->sa == nullptr) [[unlikely]] {
            return Outcome::copy_no_sa;
        }
        largest = sa->largest_inner;
    }
    const Encapsulation& encapsulation = target.encapsulation;
    const auto header = static_cast<std::uint32_t>(encapsulation.size());
    if (original.length + header > largest) [[unlikely]] {
        return owe_pieces(original, target, sa, largest, slot);
    }
    if (!may_pass(target, original.length + header)) [[unlikely]] {
        return Outcome::copy_rate_limited;
    }
    const Datagram datagram = next_datagram(original, encapsulation);
    outbox_.make_room(1);
    rte_mbuf* const buffer = buffers_.take();
    if (buffer == nullptr) [[unlikely]] {
        return Outcome::copy_no_buffer;
    }
    outbox_.open(slot, target.account, original.length);
    write_whole(encapsulation, datagram, packet_start(*buffer));
    if (target.variable_shim) [[unlikely]] {
        complete_shim(target, packet_start(*buffer) + encapsulation.ip_size());
    }
    add_packet(original, 0, original.length, encapsulation, header, sa, *buffer);
    return Outcome::copies_sent;
}

/// A copy that is longer than one packet may be. Out of the way of all others.
[[gnu::noinline]] Delivery::Outcome Delivery::owe_pieces(const Original& original, const CopyTarget& target,
                                                         const ActiveSa* sa, std::uint32_t largest,
                                                         lib::TapSlot slot) {
    const Encapsulation& encapsulation = target.encapsulation;
    if (original.length + encapsulation.size() > largest_packet) {
        return Outcome::copy_too_big;
    }
    const Datagram datagram = next_datagram(original, encapsulation);
    const std::uint32_t count = count_pieces(encapsulation, datagram, largest);
    if (count > Outbox::capacity) {
        return Outcome::copy_too_big;
    }
    if (!may_pass(target,
                  original.length + encapsulation.front_size() + count * piece_header(encapsulation))) {
        return Outcome::copy_rate_limited;
    }
    outbox_.make_room(count);
    std::array<rte_mbuf*, Outbox::capacity> buffers;
    if (!buffers_.take(std::span(buffers).first(count))) {
        return Outcome::copy_no_buffer;
    }
    outbox_.open(slot, target.account, original.length);
    std::uint32_t offset = 0;
    for (rte_mbuf* const buffer : std::span(buffers).first(count)) {
        const Piece piece = next_piece(encapsulation, datagram, offset, largest);
        const auto header = static_cast<std::uint32_t>(header_size(encapsulation, piece));
        write_piece(encapsulation, datagram, piece, packet_start(*buffer));
        if (target.variable_shim && offset == 0) {
            complete_shim(target, packet_start(*buffer) + header - encapsulation.front_size());
        }
        add_packet(original, piece.body_offset(), piece.body_length(), encapsulation, header, sa, *buffer);
        offset += piece.length;
    }
    return Outcome::copies_sent;
}

}  // namespace flowtap::dataplane
