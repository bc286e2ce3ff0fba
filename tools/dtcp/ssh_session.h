// One SSH connection with one channel to the server's DTCP subsystem, over libssh2. Not thread-safe.
#pragma once

#include "lib/file_descriptor.h"
#include "lib/secret.h"
#include "tools/dtcp/known_hosts.h"
#include "tools/dtcp/problem.h"

#include <libssh2.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace flowtap::tools::dtcp {

struct Endpoint {
    std::string host;  ///< a name or an address
    std::uint16_t port = 32001;
    std::chrono::milliseconds patience{
        10'000};  ///< for each step until the subsystem is open; not for answers
};

/// A private key or a password.
struct Credentials {
    std::string user;
    std::filesystem::path identity;              ///< private key file; empty: password
    std::optional<lib::SecretBytes> passphrase;  ///< of the identity
    std::optional<lib::SecretBytes> password;
};

struct FreeSession {
    void operator()(LIBSSH2_SESSION* session) const;
};

struct FreeChannel {
    LIBSSH2_SESSION* session = nullptr;
    void operator()(LIBSSH2_CHANNEL* channel) const;
};

class SshSession {
  public:
    using Deadline = std::chrono::steady_clock::time_point;

    /// Connects, checks the host key, logs in and opens the subsystem flow-tap-dtcp.
    static std::expected<SshSession, Problem> open(const Endpoint& endpoint, const HostKeyPolicy& host_keys,
                                                   const Credentials& credentials);

    std::expected<void, Problem> write(std::string_view bytes);

    /// Some bytes, at least one; empty: the server ended the channel. Nothing by the deadline is no_answer.
    std::expected<std::string, Problem> read(Deadline deadline);

    /// The exit status of the server's side, once it has ended the channel.
    int exit_status();

  private:
    SshSession() = default;
    Problem problem(Outcome outcome, std::string_view what) const;
    std::expected<void, Problem> shake_hands(const Endpoint& endpoint);
    std::expected<void, Problem> log_in(const Credentials& credentials);
    int log_in_by_password(const Credentials& credentials, std::string_view methods);
    std::expected<void, Problem> open_subsystem();

    // In the order of their destruction, last first.
    lib::FileDescriptor socket_;
    std::unique_ptr<LIBSSH2_SESSION, FreeSession> session_;
    std::unique_ptr<LIBSSH2_CHANNEL, FreeChannel> channel_;
};

}  // namespace flowtap::tools::dtcp
