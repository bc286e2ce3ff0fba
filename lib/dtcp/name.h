// The parameters of DTCP by name: one enumerator a parameter, matched regardless of case.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace flowtap::lib::dtcp {

enum class Name : std::uint8_t {
    // Every message
    csource_id,
    seq,
    authentication_info,
    timestamp,
    // Requests
    cdest_id,
    criteria_id,
    flags,
    priority,
    action,
    source_address,
    dest_address,
    protocol,
    source_port,
    dest_port,
    icmp_type,
    icmp_code,
    timeout_idle,
    timeout_total,
    timeout_packets,
    timeout_bytes,
    jtap_cdest_dest_address,
    jtap_cdest_dest_port,
    jtap_cdest_source_address,
    jtap_cdest_source_port,
    jtap_cdest_ttl,
    jtap_vrf_name,
    jtap_input_interface,
    jtap_output_interface,
    jtap_ip_version,
    jtap_filter_family,
    md_intercept_id,
    interface_id,
    user_name,
    act_sess_id,
    ip_addr,
    drop_policy,
    // Responses and notifications
    csource_address,
    remaining_idle,
    remaining_total,
    remaining_packets,
    remaining_bytes,
    average_bandwidth,
    alert_bandwidth,
    max_bandwidth,
    matching_packets,
    matching_bytes,
    dropped_packets,
    dropped_bytes,
    num_refresh,
    last_refresh,
    criteria_num,
    criteria_count,
    num_criteria,  ///< the count in a LIST response of version 0.5
    alert_info,
    unknown,  ///< none of these
};

inline constexpr std::size_t name_count = static_cast<std::size_t>(Name::unknown);

/// The spelling that we write, upper case as Junos does; "" for unknown.
std::string_view to_string(Name name);

/// Regardless of case; unknown where it is none of ours.
Name find_name(std::string_view text);

/// ASCII only: names and keywords of DTCP have no other letters.
bool equal_ignoring_case(std::string_view left, std::string_view right);

}  // namespace flowtap::lib::dtcp
