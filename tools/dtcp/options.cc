#include "tools/dtcp/options.h"

#include "tools/dtcp/sequence.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string_view>

namespace flowtap::tools::dtcp {
namespace {

using lib::dtcp::Method;
using lib::dtcp::Name;

struct ParameterOption {
    const char* option;
    Name name;
    const char* help;
};

// The order is that of the message.
constexpr std::array add_options{
    ParameterOption{"--cdest", Name::cdest_id, "content destination, or a comma list of up to 16"},
    ParameterOption{"--source-address", Name::source_address,
                    "A, A/len, A-B, A-*, *-B; comma list; ! negates"},
    ParameterOption{"--dest-address", Name::dest_address, "as --source-address"},
    ParameterOption{"--protocol", Name::protocol, "N, N-M, N-*, *-M; comma list; ! negates (6 TCP, 17 UDP)"},
    ParameterOption{"--source-port", Name::source_port, "as --protocol"},
    ParameterOption{"--dest-port", Name::dest_port, "as --protocol"},
    ParameterOption{"--icmp-type", Name::icmp_type, "as --protocol"},
    ParameterOption{"--icmp-code", Name::icmp_code, "as --protocol"},
    ParameterOption{"--timeout-idle", Name::timeout_idle,
                    "seconds without a match until the tap ends, 0..86400"},
    ParameterOption{"--timeout-total", Name::timeout_total, "seconds until the tap ends, 0..86400"},
    ParameterOption{"--timeout-packets", Name::timeout_packets, "packets after which the tap ends"},
    ParameterOption{"--timeout-bytes", Name::timeout_bytes, "bytes after which the tap ends"},
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
};

constexpr std::array selector_options{
    ParameterOption{"--criteria-id", Name::criteria_id, "N, N-M, N-*, *; comma list; ! negates"},
    ParameterOption{"--cdest", Name::cdest_id, "everything with this content destination"},
};

/// What CLI11 fills for one subcommand, before it becomes Options.
struct Raw {
    std::map<Name, std::string> values;
    std::vector<std::string> extra;
    std::vector<std::string> flags;
    std::string version = "0.7";
    bool is_static = false;
    bool send_async = false;
    double connect_seconds = 10;
    double answer_seconds = 30;
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

// CLI11 reads "-1" as an unsigned number.
std::string check_number(const std::string& text) {
    const bool digits = text.find_first_not_of("0123456789") == std::string::npos;
    return digits ? std::string{} : "a number of decimal digits is needed";
}

std::string check_parameter(const std::string& text) {
    const auto colon = text.find(':');
    return colon != std::string::npos && colon > 0 ? std::string{}
                                                   : "a parameter is written as 'Name: value'";
}

void add_parameters(CLI::App& command, std::span<const ParameterOption> options, Raw& raw) {
    for (const auto& option : options) {
        command.add_option(option.option, raw.values[option.name], option.help)->group("Request");
    }
}

void add_common(CLI::App& command, Raw& raw, Options& options) {
    command.add_option("--csource", options.csource, "control source that the request is of")
        ->required()
        ->group("Request");
    command
        .add_option("--key-file", options.key_file,
                    "file with the control source's HMAC key (a final line end is not part of it); mode 0600")
        ->required()
        ->group("Request");
    command.add_option("--parameter", raw.extra, "'Name: value', any other parameter; may be repeated")
        ->check(check_parameter)
        ->group("Request");
    command.add_option("--dtcp-version", raw.version, "version of the request")
        ->check(check_version)
        ->capture_default_str()
        ->group("Request");
    command.add_option("--seq", options.seq, "sequence number (default: the next of the state directory)")
        ->check(check_number)
        ->group("Request");
    command.add_option("--state-dir", options.state_directory, "keeps each control source's sequence number")
        ->default_val(default_state_directory().string())
        ->group("Request");

    command.add_option("--host", options.host, "the router: a name or an address")->group("Connection");
    command.add_option("--port", options.port, "TCP port")
        ->check(CLI::Range(1, 65535))
        ->capture_default_str()
        ->group("Connection");
    command.add_option("--user", options.user, "account (default: the name of the control source)")
        ->group("Connection");
    command.add_option("--identity", options.identity, "private key that logs the account in")
        ->group("Connection");
    command
        .add_option("--passphrase-file", options.passphrase_file,
                    "file with the private key's passphrase; mode 0600")
        ->group("Connection");
    command
        .add_option("--password-file", options.password_file, "file with the account's password; mode 0600")
        ->group("Connection");
    command
        .add_option("--known-hosts", options.known_hosts, "the known host keys (default: ~/.ssh/known_hosts)")
        ->group("Connection");
    command.add_flag("--accept-new", options.accept_new, "trust and note the first key of an unknown host")
        ->group("Connection");
    command
        .add_option("--connect-timeout", raw.connect_seconds,
                    "seconds for each step until the request is sent")
        ->check(CLI::Range(0.1, 3600.0))
        ->capture_default_str()
        ->group("Connection");
    command.add_option("--answer-timeout", raw.answer_seconds, "seconds for the answer")
        ->check(CLI::Range(0.1, 86400.0))
        ->capture_default_str()
        ->group("Connection");

    command.add_flag("--json", options.json, "one JSON object on standard output, errors too")
        ->group("Output");
    command
        .add_flag("--print", options.print, "write the signed request to standard output and send nothing")
        ->group("Output");
}

/// What CLI11 cannot check; a sentence, or empty.
std::string finish(Raw& raw, Options& options) {
    for (const auto& order : {std::span<const ParameterOption>{selector_options}.subspan(0, 1),
                              std::span<const ParameterOption>{add_options}}) {
        for (const auto& option : order) {
            if (const auto& value = raw.values[option.name]; !value.empty()) {
                options.parameters.push_back({std::string{to_string(option.name)}, value});
            }
        }
    }
    auto flags = raw.flags;
    if (raw.is_static) {
        flags.emplace_back("Static");
    }
    if (raw.send_async) {
        flags.emplace_back("SendAsync");
    }
    if (!flags.empty()) {
        std::string value;
        for (const auto& flag : flags) {
            value += (value.empty() ? "" : ",") + flag;
        }
        options.parameters.push_back({"Flags", value});
    }
    for (const auto& parameter : raw.extra) {
        const auto colon = parameter.find(':');
        const auto value = std::min(parameter.find_first_not_of(" \t", colon + 1), parameter.size());
        options.parameters.push_back({parameter.substr(0, colon), parameter.substr(value)});
    }
    const auto dot = raw.version.find('.');
    options.version = {static_cast<std::uint16_t>(std::stoul(raw.version.substr(0, dot))),
                       static_cast<std::uint16_t>(std::stoul(raw.version.substr(dot + 1)))};
    const auto milliseconds = [](double seconds) {
        return std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)};
    };
    options.connect_patience = milliseconds(raw.connect_seconds);
    options.answer_patience = milliseconds(raw.answer_seconds);
    if (options.user.empty()) {
        options.user = options.csource;
    }
    if (options.known_hosts.empty()) {
        const char* home = std::getenv("HOME");
        options.known_hosts = std::filesystem::path(home != nullptr ? home : "/") / ".ssh" / "known_hosts";
    }
    if (options.print) {
        return {};
    }
    if (options.host.empty()) {
        return "--host is required";
    }
    if (options.identity.empty() == options.password_file.empty()) {
        return "one of --identity and --password-file is required";
    }
    return {};
}

}  // namespace

std::expected<Options, int> parse_options(int argc, const char* const* argv) {
    Options options;
    Raw raw;
    CLI::App app{"The mediation device's side of DTCP over SSH: adds, deletes and lists taps.", "dtcp"};
    app.require_subcommand(1);
    app.footer(std::string{exit_code_help()});

    auto* add = app.add_subcommand("add", "install a tap (ADD)");
    add_parameters(*add, add_options, raw);
    auto* remove = app.add_subcommand("delete", "remove taps (DELETE)");
    add_parameters(*remove, selector_options, raw);
    auto* list = app.add_subcommand("list", "show the control source's taps (LIST)");
    add_parameters(*list, selector_options, raw);
    list->add_option("--flags", raw.flags, "Criteria, Stats or Both (the server's default)")
        ->check(CLI::IsMember({"Criteria", "Stats", "Both"}, CLI::ignore_case))
        ->group("Request");
    auto* noop = app.add_subcommand("noop", "ask whether the service answers (NOOP)");
    add->add_flag("--static", raw.is_static, "the tap stays until it is deleted; timeouts are ignored")
        ->group("Request");
    for (auto* command : {add, noop}) {
        command->add_flag("--send-async", raw.send_async, "ask for a notification")->group("Request");
    }
    remove->add_flag("--static", raw.is_static, "static taps as well")->group("Request");
    for (auto* command : {add, remove, list, noop}) {
        add_common(*command, raw, options);
        command->footer(std::string{exit_code_help()});
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return std::unexpected(app.exit(error) == 0 ? 0 : static_cast<int>(Outcome::arguments));
    }
    const std::array methods{std::pair{add, Method::add}, std::pair{remove, Method::delete_},
                             std::pair{list, Method::list}, std::pair{noop, Method::noop}};
    for (const auto& [command, method] : methods) {
        if (command->parsed()) {
            options.method = method;
        }
    }
    if (const auto wrong = finish(raw, options); !wrong.empty()) {
        fmt::print(stderr, "dtcp: {}\n", wrong);
        return std::unexpected(static_cast<int>(Outcome::arguments));
    }
    return options;
}

}  // namespace flowtap::tools::dtcp
