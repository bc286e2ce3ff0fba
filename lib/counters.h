// Every counter of the dataplane: one table that feeds the workers, the command line, the metrics and the
// documents. A counter's place in its enum is its index in shared memory; names never change once released.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace flowtap::lib {

enum class Severity : std::uint8_t { info, warning, error };

struct CounterInfo {
    std::string_view name;
    Severity severity;
    std::string_view description;
};

/// Per port, as this process counts them (not the driver). Received on one port of a wire = redirected +
/// blocked there + sent + dropped on the other.
enum class PortCounter : std::uint8_t {
    rx_packets,
    rx_bytes,
    tx_packets,
    tx_bytes,
    tx_dropped,
    redirected_frames,
    blocked_frames,
    count_,
};

inline constexpr std::array<CounterInfo, static_cast<std::size_t>(PortCounter::count_)> port_counters{{
    {"rx-packets", Severity::info, "frames received"},
    {"rx-bytes", Severity::info, "bytes received, without FCS"},
    {"tx-packets", Severity::info, "frames sent"},
    {"tx-bytes", Severity::info, "bytes sent, without FCS"},
    {"tx-dropped", Severity::error, "frames that the transmit queue refused"},
    {"redirected-frames", Severity::info,
     "frames received and not sent on, because a tap redirects them to its content destination"},
    {"blocked-frames", Severity::info, "frames received and not sent on, because a tap blocks them"},
}};

/// Per worker. The parse_* counters name why a frame was forwarded without a look at its taps; the copy_*
/// counters name why a matched copy did not leave the box; the inner_* counters say what became of the look
/// into tunnels. fragments-early = fragments-resolved + fragments-unresolved + fragments-held-full + those
/// that wait now.
enum class WorkerCounter : std::uint8_t {
    parse_truncated,
    parse_vlan_depth,
    parse_mpls_depth,
    parse_not_ip,
    parse_bad_pppoe,
    parse_bad_ipv4,
    parse_bad_ipv6,
    parse_extension_headers,
    parse_no_ports,
    own_output,
    suppressed,
    matched_packets,
    matched_bytes,
    matches,
    match_overflow,
    copies_sent,
    copy_no_buffer,
    copy_too_big,
    copy_no_route,
    copy_no_sa,
    copy_no_lease,
    copy_sequence_end,
    copy_seal_failed,
    copy_tx_full,
    copy_port_lost,
    copy_overload,
    copy_no_next_hop,
    fragments_completed,
    fragments_early,
    fragments_resolved,
    fragments_unresolved,
    fragments_held_full,
    fragments_table_full,
    fragments_conflict,
    inner_parsed,
    inner_no_ports,
    inner_later_fragments,
    inner_not_ip,
    inner_truncated,
    inner_malformed,
    inner_depth,
    copy_rate_limited,
    count_,
};

inline constexpr std::array<CounterInfo, static_cast<std::size_t>(WorkerCounter::count_)> worker_counters{{
    {"parse-truncated", Severity::info, "frames that end inside a header; forwarded, not matched"},
    {"parse-vlan-depth", Severity::info, "frames with more than 4 VLAN tags; forwarded, not matched"},
    {"parse-mpls-depth", Severity::info, "frames with more than 16 MPLS labels; forwarded, not matched"},
    {"parse-not-ip", Severity::info, "frames that carry neither IPv4 nor IPv6; forwarded, not matched"},
    {"parse-bad-pppoe", Severity::info, "frames with an impossible PPPoE header; forwarded, not matched"},
    {"parse-bad-ipv4", Severity::info, "frames with an impossible IPv4 header; forwarded, not matched"},
    {"parse-bad-ipv6", Severity::info, "frames with an impossible IPv6 header; forwarded, not matched"},
    {"parse-extension-headers", Severity::warning,
     "IPv6 packets whose extension headers go beyond the caps or the packet; matched on addresses only"},
    {"parse-no-ports", Severity::info,
     "packets whose port or ICMP fields are not in the frame: short payloads, matched without; later "
     "fragments, matched with those of their first one where a tap asks for them"},
    {"own-output", Severity::info, "frames of this box's own tunnels and encapsulations; never matched"},
    {"suppressed", Severity::info, "matches that a drop policy leaves out; counted nowhere else"},
    {"matched-packets", Severity::info, "frames that matched at least one tap"},
    {"matched-bytes", Severity::info, "layer-3 bytes of the frames that matched at least one tap"},
    {"matches", Severity::info, "copies owed: one for each matching tap and content destination"},
    {"match-overflow", Severity::error, "copies owed to taps beyond the most that one frame can match"},
    {"copies-sent", Severity::info, "copies handed to the delivery port"},
    {"copy-no-buffer", Severity::error, "copies lost: the copy pool was empty"},
    {"copy-too-big", Severity::error, "copies lost: larger than the delivery port can send"},
    {"copy-no-route", Severity::error, "copies lost: no delivery route to the content destination"},
    {"copy-no-sa", Severity::error, "copies lost: the tunnel has no security association"},
    {"copy-no-lease", Severity::error, "copies lost: the security association's counter lease ran out"},
    {"copy-sequence-end", Severity::error,
     "copies lost: the security association's sequence numbers ran out"},
    {"copy-seal-failed", Severity::error, "copies lost: the cipher refused the packet"},
    {"copy-tx-full", Severity::error, "copies lost: the delivery port's transmit queue was full"},
    {"copy-port-lost", Severity::error, "copies lost: the delivery port's device has disappeared"},
    {"copy-overload", Severity::error,
     "copies given up: frames were waiting that would have been lost while copies are made"},
    {"copy-no-next-hop", Severity::error, "copies lost: no next hop of the delivery port answers"},
    {"fragments-completed", Severity::info,
     "later fragments that were matched with what their first one says"},
    {"fragments-early", Severity::info,
     "later fragments that came before their first one, which some tap needs to decide; forwarded, and kept"},
    {"fragments-resolved", Severity::info, "early fragments whose first one came in time; matched again"},
    {"fragments-unresolved", Severity::error,
     "early fragments whose first one did not come in time: not copied to taps that ask for ports, ICMP "
     "fields or an IPv6 protocol"},
    {"fragments-held-full", Severity::error, "early fragments given up because too many waited; likewise"},
    {"fragments-table-full", Severity::error,
     "fragmented datagrams forgotten before their time: their later fragments may count as early"},
    {"fragments-conflict", Severity::warning,
     "first fragments of a datagram that was known with other ports; its later ones go by the newest"},
    {"inner-parsed", Severity::info, "packets in tunnels that were matched by their inner headers too"},
    {"inner-no-ports", Severity::info,
     "of these, those without ports or ICMP fields: fragments, short or unknown payloads; matched without"},
    {"inner-later-fragments", Severity::warning,
     "later fragments of tunnel packets; what they carry is not known, matched by their outer headers only"},
    {"inner-not-ip", Severity::info, "tunnel packets that carry neither IPv4 nor IPv6, such as signalling"},
    {"inner-truncated", Severity::info,
     "tunnel packets that end inside of a header or before the inner packet does; not matched inside"},
    {"inner-malformed", Severity::info,
     "tunnel packets with an impossible header of the tunnel or inside; not matched inside"},
    {"inner-depth", Severity::warning,
     "tunnel packets with more headers than the caps allow; not matched inside"},
    {"copy-rate-limited", Severity::error, "copies lost: beyond the content destination's rate-limit"},
}};

/// Why a copy is lost: what the worker counts for all its copies, and CopyLosses for some.
inline constexpr std::array loss_causes{
    WorkerCounter::copy_no_buffer,   WorkerCounter::copy_too_big,      WorkerCounter::copy_no_route,
    WorkerCounter::copy_no_sa,       WorkerCounter::copy_no_lease,     WorkerCounter::copy_sequence_end,
    WorkerCounter::copy_seal_failed, WorkerCounter::copy_tx_full,      WorkerCounter::copy_port_lost,
    WorkerCounter::copy_overload,    WorkerCounter::copy_rate_limited, WorkerCounter::copy_no_next_hop};

/// The place of each cause in loss_causes, by its WorkerCounter; of any other counter, the size of the list.
inline constexpr auto loss_places = [] {
    std::array<std::uint8_t, static_cast<std::size_t>(WorkerCounter::count_)> places{};
    places.fill(static_cast<std::uint8_t>(loss_causes.size()));
    for (std::size_t i = 0; i < loss_causes.size(); ++i) {
        places[static_cast<std::size_t>(loss_causes[i])] = static_cast<std::uint8_t>(i);
    }
    return places;
}();

/// Per tap and worker: copies owed = copies-sent + copies-dropped, and copies-dropped = the sum of
/// CopyLosses.
enum class TapCounter : std::uint8_t {
    matched_packets,
    matched_bytes,
    copies_sent,
    copies_dropped,
    dropped_bytes,
    suppressed,
    stopped_packets,
    count_,
};

inline constexpr std::array<CounterInfo, static_cast<std::size_t>(TapCounter::count_)> tap_counters{{
    {"matched-packets", Severity::info, "frames that matched the tap"},
    {"matched-bytes", Severity::info, "their layer-3 bytes; whole frames where the tap copies these"},
    {"copies-sent", Severity::info, "copies handed to the delivery port, one for each content destination"},
    {"copies-dropped", Severity::error, "copies lost, by whatever cause"},
    {"dropped-bytes", Severity::error, "the lost copies' bytes, counted likewise"},
    {"suppressed", Severity::info, "matches that a drop policy leaves out; counted nowhere else"},
    {"stopped-packets", Severity::info,
     "matched frames that its action (Redirect, Block) kept from being sent on"},
}};

/// Per content destination and worker: copies owed = copies-sent + the sum of CopyLosses. Within a burst of
/// its worker the second may be ahead.
enum class DestinationCounter : std::uint8_t {
    copies_owed,
    copies_sent,
    count_,
};

inline constexpr std::array<CounterInfo, static_cast<std::size_t>(DestinationCounter::count_)>
    destination_counters{{
        {"copies-owed", Severity::info, "frames that matched taps, one for each tap"},
        {"copies-sent", Severity::info, "copies handed to the delivery port"},
    }};

/// Per security association and worker.
enum class SaCounter : std::uint8_t {
    sealed_packets,
    sealed_bytes,
    encrypted_bytes,
    count_,
};

inline constexpr std::array<CounterInfo, static_cast<std::size_t>(SaCounter::count_)> sa_counters{{
    {"sealed-packets", Severity::info, "ESP packets sealed"},
    {"sealed-bytes", Severity::info, "inner bytes sealed, before padding"},
    {"encrypted-bytes", Severity::info, "bytes that went through the cipher, padding included"},
}};

/// Of the slow path. Two ledgers close: frames received by it on the delivery port = to-kernel + esp-opened +
/// esp-dummy + the sum of the esp-refused-... and rx-... counters; from-kernel = sent-clear + sent-sealed +
/// the sum of the tx-... counters.
enum class SlowPathCounter : std::uint8_t {
    to_kernel,
    esp_opened,
    esp_dummy,
    esp_refused_unknown_spi,
    esp_refused_malformed,
    esp_refused_replayed,
    esp_refused_bad_icv,
    esp_refused_policy,
    rx_other_host,
    rx_other_protocol,
    rx_malformed,
    rx_not_ours,
    rx_unprotected,
    rx_over_rate,
    rx_kernel_refused,
    from_kernel,
    sent_clear,
    sent_sealed,
    tx_other_protocol,
    tx_malformed,
    tx_not_ours,
    tx_no_route,
    tx_no_sa,
    tx_no_lease,
    tx_sequence_end,
    tx_too_big,
    tx_seal_failed,
    tx_no_next_hop,
    tx_full,
    count_,
};

inline constexpr std::array<CounterInfo, static_cast<std::size_t>(SlowPathCounter::count_)>
    slow_path_counters{{
        {"to-kernel", Severity::info, "frames handed to the kernel as they came"},
        {"esp-opened", Severity::info, "ESP packets opened, and what was in them handed to the kernel"},
        {"esp-dummy", Severity::info, "ESP packets that are traffic-flow filler, dropped"},
        {"esp-refused-unknown-spi", Severity::warning, "ESP packets dropped: no inbound SA has their SPI"},
        {"esp-refused-malformed", Severity::warning,
         "ESP packets dropped: fragments, too short, misaligned, bad padding or no IP packet inside"},
        {"esp-refused-replayed", Severity::warning,
         "ESP packets dropped: sequence number seen before, or left of the replay window"},
        {"esp-refused-bad-icv", Severity::error, "ESP packets dropped: the integrity check failed"},
        {"esp-refused-policy", Severity::error,
         "ESP packets dropped: what is inside does not come from behind that tunnel, or is not for a "
         "delivery "
         "address"},
        {"rx-other-host", Severity::info, "frames dropped: for another station"},
        {"rx-other-protocol", Severity::info, "frames dropped: neither ARP nor IP, or with a VLAN tag"},
        {"rx-malformed", Severity::warning, "frames dropped: an impossible IP header"},
        {"rx-not-ours", Severity::info, "packets dropped: not for a delivery address, nor for the link"},
        {"rx-unprotected", Severity::warning, "packets dropped: from behind a tunnel, and came in clear"},
        {"rx-over-rate", Severity::warning,
         "frames dropped: more than the slow path takes in a second, as in a storm"},
        {"rx-kernel-refused", Severity::error, "frames dropped: the kernel did not take them"},
        {"from-kernel", Severity::info, "frames that the kernel sent"},
        {"sent-clear", Severity::info, "frames of the kernel sent as they are"},
        {"sent-sealed", Severity::info, "packets of the kernel sent through a tunnel"},
        {"tx-other-protocol", Severity::info, "frames of the kernel dropped: neither ARP nor IP"},
        {"tx-malformed", Severity::error, "frames of the kernel dropped: an impossible IP header"},
        {"tx-not-ours", Severity::warning,
         "packets of the kernel dropped: not from an address of the delivery port, as when it routes"},
        {"tx-no-route", Severity::warning,
         "packets of the kernel dropped: no delivery route, and not for the link itself"},
        {"tx-no-sa", Severity::error,
         "packets of the kernel dropped: the tunnel has no security association"},
        {"tx-no-lease", Severity::error,
         "packets of the kernel dropped: the security association's counter lease ran out"},
        {"tx-sequence-end", Severity::error,
         "packets of the kernel dropped: the security association's sequence numbers ran out"},
        {"tx-too-big", Severity::error,
         "packets of the kernel dropped: sealed, they are longer than the MTU"},
        {"tx-seal-failed", Severity::error, "packets of the kernel dropped: the cipher refused them"},
        {"tx-no-next-hop", Severity::error,
         "packets of the kernel dropped: no next hop of the delivery port answers"},
        {"tx-full", Severity::error,
         "packets of the kernel dropped: the delivery port's transmit queue was full, or its device is lost"},
    }};

}  // namespace flowtap::lib
