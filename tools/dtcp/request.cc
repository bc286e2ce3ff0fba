#include "tools/dtcp/request.h"

#include "tools/dtcp/words.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <span>
#include <system_error>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Method;
using lib::dtcp::Name;

struct ParameterOption {
    const char* option;
    Name name;
    const char* help;
};

// In each table the order is that of the message.
constexpr std::array selectors{
    ParameterOption{"--criteria-id", Name::criteria_id, "N, N-M, N-*, *; comma list; ! negates"},
    ParameterOption{"--cdest", Name::cdest_id, "everything with this content destination"},
};

constexpr std::array filter{
    ParameterOption{"--cdest", Name::cdest_id, "content destination, or a comma list of up to 16"},
    ParameterOption{"--source-address", Name::source_address,
                    "A, A/len, A-B, A-*, *-B; comma list; ! negates"},
    ParameterOption{"--dest-address", Name::dest_address, "as --source-address"},
    ParameterOption{"--protocol", Name::protocol, "N, N-M, N-*, *-M; comma list; ! negates (6 TCP, 17 UDP)"},
    ParameterOption{"--source-port", Name::source_port, "as --protocol"},
    ParameterOption{"--dest-port", Name::dest_port, "as --protocol"},
    ParameterOption{"--icmp-type", Name::icmp_type, "as --protocol"},
    ParameterOption{"--icmp-code", Name::icmp_code, "as --protocol"},
};

constexpr std::array timeouts{
    ParameterOption{"--timeout-idle", Name::timeout_idle,
                    "seconds without a match until the tap ends, 0..86400"},
    ParameterOption{"--timeout-total", Name::timeout_total, "seconds until the tap ends, 0..86400"},
    ParameterOption{"--timeout-packets", Name::timeout_packets, "packets after which the tap ends"},
    ParameterOption{"--timeout-bytes", Name::timeout_bytes, "bytes after which the tap ends"},
};

constexpr std::array delivery{
    ParameterOption{"--priority", Name::priority, "1..255 (server's default 1)"},
    ParameterOption{"--action", Name::action, "Copy (default), Redirect or Block"},
    ParameterOption{"--cdest-address", Name::jtap_cdest_dest_address,
                    "where copies go; an entry for each --cdest"},
    ParameterOption{"--cdest-port", Name::jtap_cdest_dest_port, "UDP port there; an entry for each --cdest"},
    ParameterOption{"--cdest-source-address", Name::jtap_cdest_source_address,
                    "source of the copies' header"},
    ParameterOption{"--cdest-source-port", Name::jtap_cdest_source_port, "source port of the copies' header"},
    ParameterOption{"--cdest-ttl", Name::jtap_cdest_ttl, "TTL of the copies' header (server's default 255)"},
    ParameterOption{"--ip-version", Name::jtap_ip_version, "ipv6: the filter is IPv6"},
    ParameterOption{"--intercept-id", Name::md_intercept_id, "8 bytes in hexadecimal, for the mirror header"},
    ParameterOption{"--vrf", Name::jtap_vrf_name, "only traffic of this VRF"},
    ParameterOption{"--input-interface", Name::jtap_input_interface,
                    "only what comes in there; up to 8, comma list"},
    ParameterOption{"--output-interface", Name::jtap_output_interface, "only what leaves there; likewise"},
    ParameterOption{"--filter-family", Name::jtap_filter_family,
                    "ccc: whole frames of the interface (version 0.8)"},
    ParameterOption{"--interface-id", Name::interface_id, "subscriber trigger: an interface"},
    ParameterOption{"--user-name", Name::user_name, "subscriber trigger: a user name"},
    ParameterOption{"--session-id", Name::act_sess_id, "subscriber trigger: an accounting session"},
    ParameterOption{"--ip-addr", Name::ip_addr, "subscriber trigger: an address, both directions"},
};

constexpr std::array policy{
    ParameterOption{"--criteria-id", Name::criteria_id, "N, N-M, N-*, *; comma list; ! negates"},
    ParameterOption{"--drop-policy", Name::drop_policy, "the policy whose matches are not copied"},
};

using Table = std::span<const ParameterOption>;

struct CommandRow {
    Method method;
    const char* name;
    const char* help;
    std::array<Table, 3> options;
    const char* static_help;  ///< nullptr: no --static
    bool send_async = false;
};

const std::array commands_table{
    CommandRow{Method::add,
               "add",
               "install a tap (ADD)",
               {filter, timeouts, delivery},
               "the tap stays until it is deleted; timeouts are ignored",
               true},
    CommandRow{Method::delete_, "delete", "remove taps (DELETE)", {selectors}, "static taps as well"},
    CommandRow{Method::refresh, "refresh", "set new timeouts (REFRESH)", {selectors, timeouts}, nullptr},
    CommandRow{Method::list, "list", "show the control source's taps (LIST)", {selectors}, nullptr},
    CommandRow{Method::noop, "noop", "ask whether the service answers (NOOP)", {}, nullptr, true},
    CommandRow{Method::enable,
               "enable",
               "copy no more what a drop policy matches (ENABLE)",
               {policy},
               "static taps as well"},
    CommandRow{Method::disable, "disable", "copy it again (DISABLE)", {policy}, "static taps as well"},
};

/// "0.7"
std::string check_version(const std::string& text) {
    const auto dot = text.find('.');
    const auto digits = [](std::string_view part) {
        return !part.empty() && part.size() <= 3 &&
               part.find_first_not_of("0123456789") == std::string_view::npos;
    };
    const std::string_view view{text};
    return dot != std::string::npos && digits(view.substr(0, dot)) && digits(view.substr(dot + 1))
               ? std::string{}
               : "a version is written as 0.7";
}

// CLI11 reads "-1" as an unsigned number, and one that is too large as the largest.
std::string check_number(const std::string& text) {
    std::uint64_t value = 0;
    const auto [rest, wrong] = std::from_chars(text.data(), text.data() + text.size(), value);
    const bool number = wrong == std::errc{} && rest == text.data() + text.size();
    return number ? std::string{} : "a number of decimal digits below 2^64 is needed";
}

std::string check_parameter(const std::string& text) {
    const auto colon = text.find(':');
    return colon != std::string::npos && colon > 0 ? std::string{}
                                                   : "a parameter is written as 'Name: value'";
}

}  // namespace

/// What CLI11 fills, before it becomes a RequestSpec.
struct RequestCommands::Raw {
    std::map<Name, std::string> values;
    std::vector<std::string> extra;
    std::vector<std::string> flags;
    std::string version = "0.7";
    std::optional<std::uint64_t> seq;
    bool is_static = false;
    bool send_async = false;
};

std::string command_name(Method method) {
    const auto row = std::ranges::find(commands_table, method, &CommandRow::method);
    return row == commands_table.end() ? "" : row->name;
}

bool is_safe(Method method) {
    return method == Method::noop || method == Method::list;
}

RequestCommands::RequestCommands(CLI::App& app) : raw_{std::make_unique<Raw>()} {
    auto& raw = *raw_;
    for (const auto& row : commands_table) {
        auto* command = app.add_subcommand(row.name, row.help);
        commands_.push_back({row.method, command});
        for (const auto& table : row.options) {
            for (const auto& option : table) {
                command->add_option(option.option, raw.values[option.name], option.help)->group("Request");
            }
        }
        if (row.method == Method::list) {
            command->add_option("--flags", raw.flags, "Criteria, Stats or Both (the server's default)")
                ->check(CLI::IsMember({"Criteria", "Stats", "Both"}, CLI::ignore_case))
                ->group("Request");
        }
        if (row.static_help != nullptr) {
            command->add_flag("--static", raw.is_static, row.static_help)->group("Request");
        }
        if (row.send_async) {
            command->add_flag("--send-async", raw.send_async, "ask for a notification")->group("Request");
        }
        command->add_option("--parameter", raw.extra, "'Name: value', any other parameter; may be repeated")
            ->check(check_parameter)
            ->group("Request");
        command->add_option("--dtcp-version", raw.version, "version of the request")
            ->check(check_version)
            ->capture_default_str()
            ->group("Request");
        command->add_option("--seq", raw.seq, "sequence number (default: the next of the state directory)")
            ->check(check_number)
            ->group("Request");
    }
}

RequestCommands::~RequestCommands() = default;

std::vector<CLI::App*> RequestCommands::commands() const {
    std::vector<CLI::App*> apps;
    for (const auto& command : commands_) {
        apps.push_back(command.app);
    }
    return apps;
}

void RequestCommands::reset() {
    // CLI11 has the addresses: the fields stay where they are.
    for (auto& [name, value] : raw_->values) {
        value.clear();
    }
    raw_->extra.clear();
    raw_->flags.clear();
    raw_->version = "0.7";
    raw_->seq.reset();
    raw_->is_static = false;
    raw_->send_async = false;
}

std::optional<RequestSpec> RequestCommands::take() const {
    const auto given =
        std::ranges::find_if(commands_, [](const Command& command) { return command.app->parsed(); });
    if (given == commands_.end()) {
        return std::nullopt;
    }
    RequestSpec request{.method = given->method, .version = {}, .parameters = {}, .seq = raw_->seq};
    const auto row = std::ranges::find(commands_table, given->method, &CommandRow::method);
    for (const auto& table : row->options) {
        for (const auto& option : table) {
            if (const auto& value = raw_->values.at(option.name); !value.empty()) {
                request.parameters.push_back({std::string{to_string(option.name)}, value});
            }
        }
    }
    auto flags = raw_->flags;
    if (raw_->is_static) {
        flags.emplace_back("Static");
    }
    if (raw_->send_async) {
        flags.emplace_back("SendAsync");
    }
    if (!flags.empty()) {
        std::string value;
        for (const auto& flag : flags) {
            value += (value.empty() ? "" : ",") + flag;
        }
        request.parameters.push_back({"Flags", value});
    }
    for (const auto& parameter : raw_->extra) {
        const auto colon = parameter.find(':');
        const auto value = std::min(parameter.find_first_not_of(" \t", colon + 1), parameter.size());
        request.parameters.push_back({parameter.substr(0, colon), parameter.substr(value)});
    }
    const auto dot = raw_->version.find('.');
    request.version = {static_cast<std::uint16_t>(std::stoul(raw_->version.substr(0, dot))),
                       static_cast<std::uint16_t>(std::stoul(raw_->version.substr(dot + 1)))};
    return request;
}

LineParser::LineParser() : app_{std::make_unique<CLI::App>("", "")} {
    app_->set_help_flag("");
    app_->require_subcommand(1);
    commands_ = std::make_unique<RequestCommands>(*app_);
}

LineParser::~LineParser() = default;

std::expected<std::optional<RequestSpec>, std::string> LineParser::parse(std::string_view line) {
    auto words = split_words(line);
    if (!words) {
        return std::unexpected(words.error());
    }
    if (words->empty()) {
        return std::nullopt;
    }
    commands_->reset();
    std::ranges::reverse(*words);  // as CLI11 wants them
    try {
        app_->parse(*words);
    } catch (const CLI::ParseError& error) {
        return std::unexpected(std::string{error.what()});
    }
    return commands_->take();
}

}  // namespace flowtap::tools::dtcp
