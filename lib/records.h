// The records that cross between control and dataplane, and nothing else: fixed size, trivially copyable,
// versioned.
//
// Commands are staged in order and take effect together at `commit`: every worker sees all of a change or
// none of it, and the completion with the commit's token says which. A reader copies a record out of shared
// memory before it looks at it, and believes no count, index or length in it.
//
// Numbers are in host byte order (both ends run on one machine), addresses in network byte order.
// Any change of layout raises layout_version: a unit test holds the layout's digest against it.
#pragma once

#include "lib/criterion.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace flowtap::lib {

inline constexpr std::uint32_t layout_version = 6;

inline constexpr std::size_t max_ports = 32;
inline constexpr std::size_t max_workers = 64;
inline constexpr std::size_t max_sas = 64;
inline constexpr std::size_t max_next_hops = 72;     ///< neighbours that the delivery port may send to
inline constexpr std::size_t max_destinations = 16;  ///< content destinations of one tap

/// A tap's place in the dataplane and in the status region, chosen by control, < max-taps. It is used again
/// only after the completion of its removal.
enum class TapSlot : std::uint32_t {};
/// A security association's place, chosen by control, < max_sas; the same rule of reuse.
enum class SaSlot : std::uint32_t {};
/// Names a tap for ever (the DTCP Criteria-ID): never used again for another tap.
enum class TapId : std::uint64_t {};
/// Pairs a commit with its completion.
enum class Token : std::uint64_t {};

enum class CommandKind : std::uint16_t {
    none,
    resync_begin,  ///< what follows, up to the commit, is the whole state: taps and SAs not named in it go
    tap_begin,     ///< opens a tap; its term and destination records follow at once, in any order
    tap_addresses,
    tap_numbers,
    tap_destination,
    tap_interfaces,
    tap_update,  ///< new terms of service for a tap that is there, with the commit
    tap_remove,
    sa_install,  ///< an SA that is there already with the same id keeps its counter, or its replay window
    sa_lease,
    sa_remove,
    commit,
};

struct CommandHeader {
    CommandKind kind = CommandKind::none;
    std::uint16_t reserved = 0;
    std::uint32_t slot = 0;  ///< TapSlot or SaSlot of the object that the record speaks of
    std::uint64_t id = 0;    ///< TapId, or the SA's identity (never 0), or the commit's Token
};

inline constexpr std::uint64_t no_limit = UINT64_MAX;
inline constexpr std::size_t max_drop_policies = 64;

/// How long a tap copies, and what it leaves out. The limits count from the tap's installation in its slot,
/// as its matched-packets and matched-bytes do: a packet that would go beyond one is not matched any more,
/// nor is any later one, until an update raises the limit.
struct TapService {
    std::uint64_t packet_limit = no_limit;
    std::uint64_t byte_limit = no_limit;  ///< layer-3 bytes; of a layer2 tap, whole frames
    std::uint64_t suppressed = 0;  ///< bit i: what the configuration's drop policy i matches is not copied

    bool operator==(const TapService&) const = default;
};

/// What becomes of a packet that a tap matches.
enum class TapAction : std::uint8_t {
    copy,      ///< copied to the destinations, and sent on as if there were no tap
    redirect,  ///< copied to the destinations and not sent on, whether its copies get there or not
    block,     ///< neither copied nor sent on
};

struct TapBegin {
    CommandHeader header;
    Family family = Family::ipv4;
    std::uint8_t destination_count = 0;  ///< 1..max_destinations
    std::uint16_t term_count = 0;        ///< 0..max_terms, in all lists
    std::uint16_t interface_count = 0;   ///< 0..max_interface_terms
    std::uint8_t layer2 = 0;             ///< 1: Criterion::layer2; its action is copy
    TapAction action = TapAction::copy;
    TapService service;
};

struct TapUpdate {
    CommandHeader header;
    TapService service;
};

/// Which list of the criterion the terms belong to.
enum class Field : std::uint8_t {
    source_address,
    dest_address,
    protocol,
    source_port,
    dest_port,
    icmp_type,
    icmp_code,
    either_address,  ///< one host, not negated: Criterion::either_address
};

struct AddressRange {
    std::array<std::uint8_t, 16> first{};
    std::array<std::uint8_t, 16> last{};
};

struct TapAddresses {
    static constexpr std::size_t capacity = 5;
    CommandHeader header;
    Field field = Field::source_address;
    std::uint8_t count = 0;    ///< 1..capacity
    std::uint8_t negated = 0;  ///< bit i: term i is negated
    std::array<std::uint8_t, 5> reserved{};
    std::array<AddressRange, capacity> terms{};
};

struct NumberRange {
    std::uint16_t first = 0;
    std::uint16_t last = 0;
};

struct InterfaceRecord {
    std::uint16_t port = 0;
    std::uint16_t vlan = 0;
};

struct TapInterfaces {
    static constexpr std::size_t capacity = 40;
    CommandHeader header;
    std::uint8_t count = 0;  ///< 1..capacity
    std::array<std::uint8_t, 7> reserved{};
    std::array<InterfaceRecord, capacity> terms{};
};

struct TapNumbers {
    static constexpr std::size_t capacity = 40;
    CommandHeader header;
    std::uint64_t negated = 0;  ///< bit i: term i is negated
    Field field = Field::protocol;
    std::uint8_t count = 0;  ///< 1..capacity
    std::array<std::uint8_t, 6> reserved{};
    std::array<NumberRange, capacity> terms{};
};

/// What stands between the UDP header and the original packet; lib/shims.h has the bytes.
enum class Shim : std::uint8_t {
    raw,       ///< nothing
    jmirror,   ///< Juniper's mirror header: 2 bits 0, 30 bits intercept id, 32 bits session id
    cisco,     ///< 32 bits of content connection id
    nokia_l3,  ///< 2 bits 01, direction, 29 bits intercept id, 32 bits session id
    flowtap,   ///< sequence number, arrival time, losses
};

/// Content destinations of the configuration, each of which has an account of its copies; one more is for all
/// that the configuration does not name.
inline constexpr std::size_t max_accounts = 256;
inline constexpr std::uint16_t other_account = max_accounts - 1;

struct TapDestination {
    CommandHeader header;
    Family family = Family::ipv4;  ///< of both addresses
    Shim shim = Shim::raw;
    std::uint8_t ttl = 255;
    std::uint8_t dscp = 0;  ///< 0..63
    std::uint16_t dest_port = 0;
    std::uint16_t source_port = 0;
    std::array<std::uint8_t, 16> dest_address{};
    std::array<std::uint8_t, 16> source_address{};
    /// What of the shim is the same in every copy, as it leaves; what is not used is zero. Of nokia_l3 with
    /// the direction 0; of flowtap the criteria id.
    std::array<std::uint8_t, 8> shim_bytes{};
    std::uint16_t account = other_account;  ///< else the index in the configuration's [[destination]] list
    std::array<std::uint8_t, 6> reserved{};
};

/// ESP suites; lib/suite.h has their names and sizes, in this order.
enum class Suite : std::uint8_t {
    aes_256_gcm_16,
    aes_128_gcm_16,
    chacha20_poly1305,
    aes_128_cbc_hmac_sha1_96,
    aes_256_cbc_hmac_sha1_96,
    aes_128_cbc_hmac_sha_256_128,
    aes_256_cbc_hmac_sha_256_128,
    aes_128_cbc_hmac_sha_384_192,
    aes_256_cbc_hmac_sha_384_192,
    aes_128_cbc_hmac_sha_512_256,
    aes_256_cbc_hmac_sha_512_256,
    triple_des_cbc_hmac_sha1_96,
};

/// What an SA does. Each direction has slots of its own (a refusal of what opens says its slot + max_sas),
/// and what opens uses no counter: its lease is empty.
enum class SaDirection : std::uint8_t { seals, opens };

/// A block of an SA's 64-bit counter, recorded durably by control before it is granted: [first, first +
/// count).
struct Lease {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
};

struct SaInstall {
    static constexpr std::size_t key_capacity = 96;
    CommandHeader header;  ///< id: control's identity of this key
    Lease lease;
    std::uint32_t spi = 0;
    std::uint16_t tunnel = 0;  ///< index in the configuration's [[tunnel]] list
    Suite suite = Suite::aes_256_gcm_16;
    std::uint8_t key_size = 0;           ///< bytes of `key` in use: SuiteInfo::key_material_size()
    std::uint8_t extended_sequence = 0;  ///< 1: 64-bit sequence numbers (RFC 4303 section 2.2.1)
    std::uint8_t udp_encapsulation = 0;  ///< 1: in UDP on port 4500 (RFC 3948)
    std::uint16_t padded_length = 0;  ///< TFC: shorter inner packets are filled to it (RFC 4303 section 2.7)
    SaDirection direction = SaDirection::seals;
    std::array<std::uint8_t, 3> reserved{};
    std::array<std::uint8_t, key_capacity> key{};  ///< cipher key, then salt or authentication key
};

/// Extends the lease; first must be where the SA's lease ends.
struct SaLease {
    CommandHeader header;
    Lease lease;
};

/// One slot of the command ring.
struct CommandRecord {
    alignas(8) std::array<std::byte, 192> bytes{};
};

enum class CompletionKind : std::uint16_t {
    none,
    committed,  ///< every worker has the whole change
    refused,    ///< nothing of the change was applied
    port_lost,  ///< slot: index of the port whose device disappeared
    lease_low,  ///< slot: SaSlot; less than half of a block is left
    tap_over,   ///< slot, id: TapSlot and TapId; a limit stopped it. Told again after a resync, and
                ///< after a batch that names the tap, if it is so still
};

/// Why a commit was refused.
enum class Refusal : std::uint16_t {
    none,
    malformed_record,
    unknown_slot,
    slot_in_use,
    table_full,
    bad_key,
    bad_lease,
    no_memory,
};

/// One slot of the completion ring.
struct CompletionRecord {
    CompletionKind kind = CompletionKind::none;
    Refusal refusal = Refusal::none;
    std::uint32_t slot = 0;  ///< of the object that was refused, or that the event speaks of
    std::uint64_t id = 0;    ///< the commit's Token
    std::array<std::uint64_t, 6> reserved{};
};

/// Without padding: nothing of the writer's memory leaks into the ring.
template <typename Record>
concept CommandBody = std::is_trivially_copyable_v<Record> && std::is_standard_layout_v<Record> &&
                      std::has_unique_object_representations_v<Record> &&
                      sizeof(Record) <= sizeof(CommandRecord) && alignof(Record) <= alignof(CommandRecord);

static_assert(CommandBody<CommandHeader> && CommandBody<TapBegin> && CommandBody<TapAddresses> &&
              CommandBody<TapNumbers> && CommandBody<TapInterfaces> && CommandBody<TapUpdate> &&
              CommandBody<TapDestination> && CommandBody<SaInstall> && CommandBody<SaLease>);
static_assert(sizeof(CompletionRecord) == 64 && std::is_trivially_copyable_v<CompletionRecord>);

}  // namespace flowtap::lib
