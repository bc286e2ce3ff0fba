// dtcp: the mediation device's command-line client.
#include "lib/dtcp/auth.h"
#include "lib/secret.h"
#include "tools/dtcp/exchange.h"
#include "tools/dtcp/options.h"
#include "tools/dtcp/output.h"
#include "tools/dtcp/sequence.h"
#include "tools/dtcp/ssh_session.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <expected>
#include <filesystem>
#include <optional>
#include <signal.h>
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

std::expected<std::uint64_t, Problem> sequence_number(const Options& options) {
    return options.seq ? *options.seq : take_sequence_number(options.state_directory, options.csource);
}

/// Nothing where the request was only printed.
std::expected<std::optional<Answer>, Problem> carry_out(const Options& options) {
    auto key = read_key(options.key_file);
    if (!key) {
        return std::unexpected(std::move(key.error()));
    }
    if (options.print) {
        const auto seq = sequence_number(options);
        if (!seq) {
            return std::unexpected(seq.error());
        }
        fmt::print("{}", build_request(options, *seq, *key));
        return std::nullopt;
    }
    const auto credentials = read_credentials(options);
    if (!credentials) {
        return std::unexpected(credentials.error());
    }
    auto session = SshSession::open({options.host, options.port, options.connect_patience},
                                    {options.known_hosts, options.accept_new}, *credentials);
    if (!session) {
        return std::unexpected(std::move(session.error()));
    }
    // Taken last: a number is used up only by a request that is sent.
    const auto seq = sequence_number(options);
    if (!seq) {
        return std::unexpected(seq.error());
    }
    auto answer = exchange(*session, build_request(options, *seq, *key), *seq,
                           std::chrono::steady_clock::now() + options.answer_patience, *key);
    if (!answer) {
        return std::unexpected(std::move(answer.error()));
    }
    return std::move(*answer);
}

int run(int argc, const char* const* argv) {
    const auto options = parse_options(argc, argv);
    if (!options) {
        return options.error();
    }
    ::signal(SIGPIPE, SIG_IGN);
    const auto done = carry_out(*options);
    if (!done) {
        const auto& problem = done.error();
        if (options->json) {
            fmt::print("{}", to_json(problem));
        } else {
            fmt::print(stderr, "dtcp: {}\n", problem.message);
        }
        return static_cast<int>(problem.outcome);
    }
    if (!*done) {
        return static_cast<int>(Outcome::done);
    }
    const auto& answer = **done;
    if (options->json) {
        fmt::print("{}", to_json(answer, options->method));
    } else if (outcome(answer) == Outcome::done) {
        for (const auto& notification : answer.notifications) {
            fmt::print(stderr, "dtcp: notification {} {}\n", notification.code, notification.text);
        }
        fmt::print("{}", to_text(answer, options->method));
    } else {
        fmt::print(stderr, "dtcp: {}\n", refusal(answer));
    }
    return static_cast<int>(outcome(answer));
}

}  // namespace
}  // namespace flowtap::tools::dtcp

int main(int argc, char* argv[]) {
    return flowtap::tools::dtcp::run(argc, argv);
}
