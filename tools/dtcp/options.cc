#include "tools/dtcp/options.h"

#include "lib/usage_message.h"
#include "tools/dtcp/sequence.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <cstdlib>

namespace flowtap::tools::dtcp {
namespace {

constexpr std::uint16_t ssh_port = 32001;
constexpr std::uint16_t udp_port = 1814;
constexpr std::size_t default_pipeline = 32;
// A server's window takes a step of 256 (dtcp.md section 3): numbers must not run ahead of lost datagrams by
// more.
constexpr std::size_t most_in_udp = 64;

/// What CLI11 fills, before it becomes Options.
struct Raw {
    double connect_seconds = 10;
    double answer_seconds = 30;
    double retry_seconds = 1;
    std::optional<double> watch_seconds;
    std::optional<std::size_t> pipeline;
};

void add_source(CLI::App& command, Options& options) {
    command.add_option("--csource", options.csource, "control source that the request is of")
        ->required()
        ->group("Request");
    command
        .add_option("--key-file", options.key_file,
                    "file with the control source's HMAC key (a final line end is not part of it); mode 0600")
        ->required()
        ->group("Request");
    command.add_option("--state-dir", options.state_directory, "keeps each control source's sequence number")
        ->default_val(default_state_directory().string())
        ->group("Request");
}

void add_connection(CLI::App& command, Raw& raw, Options& options) {
    const std::string group = "Connection";
    command.add_option("--host", options.host, "the router: a name or an address")->group(group);
    command.add_option("--port", options.port, "TCP port (default 32001), or UDP port (default 1814)")
        ->check(CLI::Range(1, 65535))
        ->group(group);
    command.add_flag("--udp", options.udp, "DTCP over UDP instead of SSH: no login, only signatures")
        ->group(group);
    command
        .add_option("--local-port", options.local_port,
                    "UDP port to send from, where notifications come to (default: any)")
        ->check(CLI::Range(1, 65535))
        ->group(group);
    command.add_option("--user", options.user, "account (default: the name of the control source)")
        ->group(group);
    command.add_option("--identity", options.identity, "private key that logs the account in")->group(group);
    command
        .add_option("--passphrase-file", options.passphrase_file,
                    "file with the private key's passphrase; mode 0600")
        ->group(group);
    command
        .add_option("--password-file", options.password_file, "file with the account's password; mode 0600")
        ->group(group);
    command
        .add_option("--known-hosts", options.known_hosts, "the known host keys (default: ~/.ssh/known_hosts)")
        ->group(group);
    command.add_flag("--accept-new", options.accept_new, "trust and note the first key of an unknown host")
        ->group(group);
    command
        .add_option("--connect-timeout", raw.connect_seconds,
                    "seconds for each step until the request is sent")
        ->check(CLI::Range(0.1, 3600.0))
        ->capture_default_str()
        ->group(group);
    command.add_option("--answer-timeout", raw.answer_seconds, "seconds for the answer")
        ->check(CLI::Range(0.1, 86400.0))
        ->capture_default_str()
        ->group(group);
    command
        .add_option("--retries", options.retries,
                    "connect again so often in a row; a request that may have been carried out is sent again "
                    "only if that changes nothing (list, noop)")
        ->check(CLI::Range(0, 1'000'000))
        ->capture_default_str()
        ->group(group);
    command
        .add_option("--retry-delay", raw.retry_seconds,
                    "seconds before the first retry; doubled each time, up to 60")
        ->check(CLI::Range(0.0, 60.0))
        ->capture_default_str()
        ->group(group);
    command
        .add_option("--pipeline", raw.pipeline,
                    "requests under way at most (default 32 in batch and session)")
        ->check(CLI::Range(1, 1024))
        ->group(group);
}

void add_output(CLI::App& command, Raw& raw, Options& options) {
    const std::string group = "Output";
    command.add_flag("--json", options.json, "JSON objects on standard output, one a line, errors too")
        ->group(group);
    auto* watch = command.add_flag("--watch", options.watch, "stay after the answer and print notifications")
                      ->group(group);
    command.add_option("--watch-time", raw.watch_seconds, "seconds of --watch (default: until a signal)")
        ->check(CLI::Range(0.0, 1e9))
        ->needs(watch)
        ->group(group);
}

void add_print(CLI::App& command, Options& options) {
    command
        .add_flag("--print", options.print, "write the signed request to standard output and send nothing")
        ->group("Output");
}

std::chrono::milliseconds milliseconds(double seconds) {
    return std::chrono::milliseconds{static_cast<std::int64_t>(seconds * 1000)};
}

/// What CLI11 cannot check; a sentence, or empty.
std::string finish(const Raw& raw, Options& options) {
    options.connect_patience = milliseconds(raw.connect_seconds);
    options.answer_patience = milliseconds(raw.answer_seconds);
    options.retry_delay = milliseconds(raw.retry_seconds);
    if (raw.watch_seconds) {
        options.watch_time = milliseconds(*raw.watch_seconds);
    }
    options.pipeline = raw.pipeline.value_or(options.mode == Mode::request ? 1 : default_pipeline);
    if (options.user.empty()) {
        options.user = options.csource;
    }
    if (options.port == 0) {
        options.port = options.udp ? udp_port : ssh_port;
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
    const bool login = !options.identity.empty() || !options.password_file.empty();
    if (options.udp && (login || options.accept_new)) {
        return "--udp has no login and no host key: --identity, --password-file and --accept-new are for SSH";
    }
    if (options.udp && options.pipeline > most_in_udp) {
        return fmt::format(
            "--pipeline with --udp is at most {}: lost datagrams must not leave the server's window "
            "of sequence numbers",
            most_in_udp);
    }
    if (!options.udp && options.local_port != 0) {
        return "--local-port is for --udp";
    }
    if (!options.udp && options.identity.empty() == options.password_file.empty()) {
        return "one of --identity and --password-file is required";
    }
    return {};
}

}  // namespace

std::expected<Options, int> parse_options(int argc, const char* const* argv) {
    Options options;
    Raw raw;
    CLI::App app{
        "The mediation device's side of DTCP over SSH or UDP: adds, changes, deletes and lists taps.",
        "dtcp"};
    app.set_help_all_flag("--help-all", "help of all commands");
    app.require_subcommand(1);
    app.footer(std::string{exit_code_help()});
    RequestCommands requests{app};
    auto* batch = app.add_subcommand("batch", "send a file of requests, each a line as on this command line");
    batch->add_option("file", options.file, "the file; - is standard input")->required();
    batch->add_flag("--keep-going", options.keep_going, "go on after a request that failed")
        ->group("Request");
    auto* session =
        app.add_subcommand("session", "send requests from standard input as they come, a line each");
    auto commands = requests.commands();
    for (auto* command : commands) {
        add_print(*command, options);
    }
    add_print(*batch, options);
    commands.insert(commands.end(), {batch, session});
    for (auto* command : commands) {
        add_source(*command, options);
        add_connection(*command, raw, options);
        add_output(*command, raw, options);
        command->footer(std::string{exit_code_help()});
    }
    app.failure_message(lib::usage_message);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return std::unexpected(app.exit(error) == 0 ? 0 : static_cast<int>(Outcome::arguments));
    }
    if (auto request = requests.take()) {
        options.request = std::move(*request);
    } else {
        options.mode = batch->parsed() ? Mode::batch : Mode::session;
    }
    if (const auto wrong = finish(raw, options); !wrong.empty()) {
        fmt::print(stderr, "dtcp: {}\n", wrong);
        return std::unexpected(static_cast<int>(Outcome::arguments));
    }
    return options;
}

}  // namespace flowtap::tools::dtcp
