#include "test/unit/lib/layout.h"

#include "lib/link_message.h"
#include "lib/region.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cstddef>
#include <cstdint>

// offsetof and names of fields have no other form in C++23 than a macro.
#define TYPE(type) text += fmt::format("{} size {} align {}\n", #type, sizeof(type), alignof(type))
#define FIELD(type, field) \
    text += fmt::format("  {}.{} at {} size {}\n", #type, #field, offsetof(type, field), sizeof(type::field))
#define VALUE(value) text += fmt::format("  {} = {}\n", #value, static_cast<std::uint64_t>(value))

namespace flowtap::lib {
namespace {

void add_records(std::string& text) {
    TYPE(CommandHeader);
    FIELD(CommandHeader, kind);
    FIELD(CommandHeader, reserved);
    FIELD(CommandHeader, slot);
    FIELD(CommandHeader, id);
    TYPE(TapBegin);
    FIELD(TapBegin, header);
    FIELD(TapBegin, family);
    FIELD(TapBegin, destination_count);
    FIELD(TapBegin, term_count);
    FIELD(TapBegin, interface_count);
    FIELD(TapBegin, layer2);
    FIELD(TapBegin, action);
    FIELD(TapBegin, service);
    TYPE(TapService);
    FIELD(TapService, packet_limit);
    FIELD(TapService, byte_limit);
    FIELD(TapService, suppressed);
    TYPE(TapUpdate);
    FIELD(TapUpdate, header);
    FIELD(TapUpdate, service);
    TYPE(InterfaceRecord);
    FIELD(InterfaceRecord, port);
    FIELD(InterfaceRecord, vlan);
    TYPE(TapInterfaces);
    FIELD(TapInterfaces, header);
    FIELD(TapInterfaces, count);
    FIELD(TapInterfaces, reserved);
    FIELD(TapInterfaces, terms);
    TYPE(AddressRange);
    FIELD(AddressRange, first);
    FIELD(AddressRange, last);
    TYPE(TapAddresses);
    FIELD(TapAddresses, header);
    FIELD(TapAddresses, field);
    FIELD(TapAddresses, count);
    FIELD(TapAddresses, negated);
    FIELD(TapAddresses, reserved);
    FIELD(TapAddresses, terms);
    TYPE(NumberRange);
    FIELD(NumberRange, first);
    FIELD(NumberRange, last);
    TYPE(TapNumbers);
    FIELD(TapNumbers, header);
    FIELD(TapNumbers, negated);
    FIELD(TapNumbers, field);
    FIELD(TapNumbers, count);
    FIELD(TapNumbers, reserved);
    FIELD(TapNumbers, terms);
    TYPE(TapDestination);
    FIELD(TapDestination, header);
    FIELD(TapDestination, family);
    FIELD(TapDestination, shim);
    FIELD(TapDestination, ttl);
    FIELD(TapDestination, dscp);
    FIELD(TapDestination, dest_port);
    FIELD(TapDestination, source_port);
    FIELD(TapDestination, dest_address);
    FIELD(TapDestination, source_address);
    FIELD(TapDestination, shim_bytes);
    FIELD(TapDestination, account);
    FIELD(TapDestination, reserved);
    TYPE(Lease);
    FIELD(Lease, first);
    FIELD(Lease, count);
    TYPE(SaInstall);
    FIELD(SaInstall, header);
    FIELD(SaInstall, lease);
    FIELD(SaInstall, spi);
    FIELD(SaInstall, tunnel);
    FIELD(SaInstall, suite);
    FIELD(SaInstall, key_size);
    FIELD(SaInstall, extended_sequence);
    FIELD(SaInstall, udp_encapsulation);
    FIELD(SaInstall, padded_length);
    FIELD(SaInstall, direction);
    FIELD(SaInstall, reserved);
    FIELD(SaInstall, key);
    TYPE(SaLease);
    FIELD(SaLease, header);
    FIELD(SaLease, lease);
    TYPE(CommandRecord);
    TYPE(CompletionRecord);
    FIELD(CompletionRecord, kind);
    FIELD(CompletionRecord, refusal);
    FIELD(CompletionRecord, slot);
    FIELD(CompletionRecord, id);
    FIELD(CompletionRecord, reserved);
}

void add_enums(std::string& text) {
    VALUE(CommandKind::none);
    VALUE(CommandKind::resync_begin);
    VALUE(CommandKind::tap_begin);
    VALUE(CommandKind::tap_addresses);
    VALUE(CommandKind::tap_numbers);
    VALUE(CommandKind::tap_destination);
    VALUE(CommandKind::tap_interfaces);
    VALUE(CommandKind::tap_update);
    VALUE(CommandKind::tap_remove);
    VALUE(CommandKind::sa_install);
    VALUE(CommandKind::sa_lease);
    VALUE(CommandKind::sa_remove);
    VALUE(CommandKind::commit);
    VALUE(Field::source_address);
    VALUE(Field::dest_address);
    VALUE(Field::protocol);
    VALUE(Field::source_port);
    VALUE(Field::dest_port);
    VALUE(Field::icmp_type);
    VALUE(Field::icmp_code);
    VALUE(Field::either_address);
    VALUE(TapAction::copy);
    VALUE(TapAction::redirect);
    VALUE(TapAction::block);
    VALUE(Shim::raw);
    VALUE(Shim::jmirror);
    VALUE(Shim::cisco);
    VALUE(Shim::nokia_l3);
    VALUE(Shim::flowtap);
    VALUE(Suite::aes_256_gcm_16);
    VALUE(Suite::aes_128_gcm_16);
    VALUE(Suite::chacha20_poly1305);
    VALUE(Suite::aes_128_cbc_hmac_sha1_96);
    VALUE(Suite::aes_256_cbc_hmac_sha1_96);
    VALUE(Suite::aes_128_cbc_hmac_sha_256_128);
    VALUE(Suite::aes_256_cbc_hmac_sha_256_128);
    VALUE(Suite::aes_128_cbc_hmac_sha_384_192);
    VALUE(Suite::aes_256_cbc_hmac_sha_384_192);
    VALUE(Suite::aes_128_cbc_hmac_sha_512_256);
    VALUE(Suite::aes_256_cbc_hmac_sha_512_256);
    VALUE(Suite::triple_des_cbc_hmac_sha1_96);
    VALUE(SaDirection::seals);
    VALUE(SaDirection::opens);
    VALUE(CompletionKind::committed);
    VALUE(CompletionKind::refused);
    VALUE(CompletionKind::port_lost);
    VALUE(CompletionKind::lease_low);
    VALUE(CompletionKind::tap_over);
    VALUE(Refusal::malformed_record);
    VALUE(Refusal::unknown_slot);
    VALUE(Refusal::slot_in_use);
    VALUE(Refusal::table_full);
    VALUE(Refusal::bad_key);
    VALUE(Refusal::bad_lease);
    VALUE(Refusal::no_memory);
    VALUE(DataplaneState::starting);
    VALUE(DataplaneState::waiting_for_taps);
    VALUE(DataplaneState::forwarding);
    VALUE(DataplaneState::stopping);
}

void add_regions(std::string& text) {
    TYPE(RegionHeader);
    FIELD(RegionHeader, magic);
    FIELD(RegionHeader, layout_version);
    FIELD(RegionHeader, worker_count);
    FIELD(RegionHeader, max_taps);
    FIELD(RegionHeader, reserved);
    FIELD(RegionHeader, size);
    FIELD(RegionHeader, epoch);
    TYPE(RingIndex);
    TYPE(CommandRing);
    FIELD(CommandRing, produced);
    FIELD(CommandRing, slots);
    TYPE(CompletionRing);
    FIELD(CompletionRing, produced);
    FIELD(CompletionRing, slots);
    TYPE(CommandBlock);
    FIELD(CommandBlock, header);
    FIELD(CommandBlock, heartbeat);
    FIELD(CommandBlock, completions_consumed);
    FIELD(CommandBlock, commands);
    TYPE(StatusBlock);
    FIELD(StatusBlock, header);
    FIELD(StatusBlock, commands_consumed);
    FIELD(StatusBlock, completions);
    FIELD(StatusBlock, status);
    VALUE(command_magic);
    VALUE(status_magic);
    VALUE(command_region_size);
    VALUE(tap_counters_offset);
    VALUE(status_region_size({.max_taps = 1000, .worker_count = 3}));
}

void add_status(std::string& text) {
    TYPE(Status);
    FIELD(Status, manager);
    FIELD(Status, workers);
    FIELD(Status, slow_path);
    TYPE(ManagerStatus);
    FIELD(ManagerStatus, state);
    FIELD(ManagerStatus, heartbeat);
    FIELD(ManagerStatus, taps);
    FIELD(ManagerStatus, sas);
    FIELD(ManagerStatus, commits);
    FIELD(ManagerStatus, refusals);
    FIELD(ManagerStatus, link_up);
    FIELD(ManagerStatus, link_mbps);
    FIELD(ManagerStatus, driver_missed);
    FIELD(ManagerStatus, driver_no_mbuf);
    FIELD(ManagerStatus, driver_failed);
    FIELD(ManagerStatus, sa_next);
    FIELD(ManagerStatus, sa_lease_end);
    TYPE(WorkerStatus);
    FIELD(WorkerStatus, counters);
    FIELD(WorkerStatus, ports);
    FIELD(WorkerStatus, sas);
    FIELD(WorkerStatus, destinations);
    FIELD(WorkerStatus, busy_cycles);
    FIELD(WorkerStatus, idle_cycles);
    FIELD(WorkerStatus, heartbeat);
    FIELD(WorkerStatus, lcore);
    FIELD(WorkerStatus, sampled_frames);
    FIELD(WorkerStatus, sampled_cycles);
    TYPE(TapCounters);
    TYPE(CopyLosses);
    TYPE(DestinationStatus);
    FIELD(DestinationStatus, counters);
    FIELD(DestinationStatus, losses);
    TYPE(SlowPathStatus);
    FIELD(SlowPathStatus, counters);
    FIELD(SlowPathStatus, port);
    FIELD(SlowPathStatus, sas);
    FIELD(SlowPathStatus, next_hops);
    FIELD(SlowPathStatus, heartbeat);
}

/// A counter's place is its index in shared memory: so the names, in order, are layout.
template <std::size_t Count>
void add_counters(std::string& text, const std::array<CounterInfo, Count>& counters) {
    for (std::size_t i = 0; i < Count; ++i) {
        text += fmt::format("  counter {} {}\n", i, counters[i].name);
    }
}

void add_link(std::string& text) {
    TYPE(LinkPrefix);
    FIELD(LinkPrefix, magic);
    FIELD(LinkPrefix, kind);
    FIELD(LinkPrefix, reserved);
    FIELD(LinkPrefix, layout_version);
    FIELD(LinkPrefix, size);
    TYPE(LinkHello);
    FIELD(LinkHello, command_size);
    FIELD(LinkHello, status_size);
    FIELD(LinkHello, max_taps);
    FIELD(LinkHello, worker_count);
    FIELD(LinkHello, epoch);
    FIELD(LinkHello, config_digest);
    TYPE(LinkRefusal);
    FIELD(LinkRefusal, failure);
    FIELD(LinkRefusal, text);
    VALUE(link_magic);
    VALUE(LinkMessageKind::hello);
    VALUE(LinkMessageKind::refusal);
    VALUE(LinkMessageKind::wake);
    VALUE(LinkMessageKind::keep);
}

}  // namespace
}  // namespace flowtap::lib

namespace flowtap::test {

std::string layout_text() {
    std::string text;
    lib::add_records(text);
    lib::add_enums(text);
    lib::add_regions(text);
    lib::add_status(text);
    lib::add_counters(text, lib::port_counters);
    lib::add_counters(text, lib::worker_counters);
    lib::add_counters(text, lib::tap_counters);
    lib::add_counters(text, lib::sa_counters);
    lib::add_counters(text, lib::slow_path_counters);
    lib::add_link(text);
    return text;
}

std::string layout_digest() {
    const std::string text = layout_text();
    std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
    EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
    std::string hex;
    for (std::size_t i = 0; i < 8; ++i) {
        hex += fmt::format("{:02x}", digest[i]);
    }
    return hex;
}

}  // namespace flowtap::test
