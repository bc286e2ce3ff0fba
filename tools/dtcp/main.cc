// dtcp: the mediation device's command-line client.
#include "lib/dtcp/auth.h"
#include "lib/file_descriptor.h"
#include "lib/secret.h"
#include "tools/dtcp/conversation.h"
#include "tools/dtcp/options.h"
#include "tools/dtcp/report.h"
#include "tools/dtcp/sequence.h"
#include "tools/dtcp/ssh_session.h"
#include "tools/dtcp/udp_channel.h"
#include "tools/dtcp/work.h"

#include <fmt/format.h>

#include <cstdio>
#include <deque>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <utility>

namespace flowtap::tools::dtcp {
namespace {

/// The file's bytes without a final line end.
std::expected<lib::SecretBytes, Problem> read_secret(const std::filesystem::path& file) {
    auto secret = lib::read_secret_file(file);
    if (!secret) {
        return std::unexpected(Problem{Outcome::local, fmt::format("{}: {}", file.string(), secret.error())});
    }
    const auto bytes = std::as_const(*secret).bytes();
    std::size_t size = bytes.size();
    if (size > 0 && bytes[size - 1] == '\n') {
        --size;
        if (size > 0 && bytes[size - 1] == '\r') {
            --size;
        }
    }
    secret->truncate(size);
    return std::move(*secret);
}

std::expected<lib::dtcp::Hmac, Problem> read_key(const std::filesystem::path& file) {
    const auto key = read_secret(file);
    if (!key) {
        return std::unexpected(key.error());
    }
    auto hmac = lib::dtcp::Hmac::create(key->bytes());
    if (!hmac) {
        return std::unexpected(Problem{Outcome::local, fmt::format("{}: {}", file.string(), hmac.error())});
    }
    return std::move(*hmac);
}

std::expected<Credentials, Problem> read_credentials(const Options& options) {
    Credentials credentials{options.user, options.identity, std::nullopt, std::nullopt};
    for (const auto& [file, place] : {std::pair{&options.passphrase_file, &credentials.passphrase},
                                      std::pair{&options.password_file, &credentials.password}}) {
        if (!file->empty()) {
            auto secret = read_secret(*file);
            if (!secret) {
                return std::unexpected(std::move(secret.error()));
            }
            *place = std::move(*secret);
        }
    }
    return credentials;
}

std::expected<void, Problem> print_requests(const Options& options, Work& work, lib::dtcp::Hmac& key) {
    while (const auto job = work.next()) {
        auto seq = job->request.seq;
        if (!seq) {
            const auto taken = take_sequence_numbers(options.state_directory, options.csource);
            if (!taken) {
                return std::unexpected(taken.error());
            }
            seq = *taken;
        }
        fmt::print("{}", build_request(job->request, options.csource, *seq, key));
    }
    return {};
}

/// Readable once SIGINT or SIGTERM has come, which end the process no more.
lib::FileDescriptor take_signals() {
    sigset_t taken{};
    ::sigemptyset(&taken);
    ::sigaddset(&taken, SIGINT);
    ::sigaddset(&taken, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &taken, nullptr);
    return lib::FileDescriptor{::signalfd(-1, &taken, SFD_CLOEXEC | SFD_NONBLOCK)};
}

/// Nothing: a file of which a line is wrong, which has been reported.
std::expected<std::unique_ptr<Work>, Problem> find_work(const Options& options, Report& report) {
    if (options.mode == Mode::session) {
        return std::make_unique<TypedWork>(STDIN_FILENO);
    }
    std::deque<Job> jobs;
    if (options.mode == Mode::request) {
        jobs.push_back({.line = 0, .request = options.request});
        return std::make_unique<KnownWork>(std::move(jobs));
    }
    auto batch = read_batch(options.file);
    if (!batch) {
        return std::unexpected(std::move(batch.error()));
    }
    for (const auto& error : batch->errors) {
        report.line_error(error);
    }
    return batch->errors.empty() ? std::make_unique<KnownWork>(std::move(batch->jobs)) : nullptr;
}

std::expected<void, Problem> carry_out(const Options& options, Report& report) {
    auto work = find_work(options, report);
    if (!work) {
        return std::unexpected(std::move(work.error()));
    }
    if (!*work) {
        return {};
    }
    auto key = read_key(options.key_file);
    if (!key) {
        return std::unexpected(std::move(key.error()));
    }
    if (options.print) {
        return print_requests(options, **work, *key);
    }
    const auto credentials = read_credentials(options);
    if (!credentials) {
        return std::unexpected(credentials.error());
    }
    const auto connect = [&]() -> std::expected<std::unique_ptr<Channel>, Problem> {
        if (options.udp) {
            return UdpChannel::open(options.host, options.port, options.local_port);
        }
        return SshSession::open({options.host, options.port, options.connect_patience},
                                {options.known_hosts, options.accept_new}, *credentials);
    };
    const auto stop = options.watch ? take_signals() : lib::FileDescriptor{};
    Conversation(options, *key, connect, **work, report).run(stop.get());
    if (options.mode == Mode::batch) {
        report.summary();
    }
    return {};
}

int run(int argc, const char* const* argv) {
    const auto options = parse_options(argc, argv);
    if (!options) {
        return options.error();
    }
    ::signal(SIGPIPE, SIG_IGN);
    Report report{*options};
    if (const auto done = carry_out(*options, report); !done) {
        report.fail(done.error());
    }
    return report.exit_code();
}

}  // namespace
}  // namespace flowtap::tools::dtcp

int main(int argc, char* argv[]) {
    return flowtap::tools::dtcp::run(argc, argv);
}
