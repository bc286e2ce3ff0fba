// One SSH connection with one channel to the server's DTCP subsystem, over libssh2. open() waits, within the
// endpoint's patience; after it nothing does. Not thread-safe.
#pragma once

#include "lib/file_descriptor.h"
#include "lib/secret.h"
#include "tools/dtcp/channel.h"
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

class SshSession final : public Channel {
  public:
    /// Connects, checks the host key, logs in and opens the subsystem flow-tap-dtcp.
    static std::expected<std::unique_ptr<SshSession>, Problem> open(const Endpoint& endpoint,
                                                                    const HostKeyPolicy& host_keys,
                                                                    const Credentials& credentials);

    std::expected<std::size_t, Problem> write(std::string_view bytes) override;
    std::expected<Received, Problem> read() override;
    int descriptor() const override { return socket_.get(); }
    short events(bool more_to_write) const override;
    bool is_stream() const override { return true; }
    /// By the exit status of the server's side.
    Problem end_reason() override;

  private:
    SshSession() = default;
    Problem problem(Outcome outcome, std::string_view what) const;
    std::expected<void, Problem> shake_hands(const Endpoint& endpoint);
    std::expected<void, Problem> log_in(const Credentials& credentials);
    int log_in_by_password(const Credentials& credentials, std::string_view methods);
    std::expected<void, Problem> open_subsystem();
    bool sending() const;

    std::string buffer_;  ///< that libssh2 reads into

    // In the order of their destruction, last first.
    lib::FileDescriptor socket_;
    std::unique_ptr<LIBSSH2_SESSION, FreeSession> session_;
    std::unique_ptr<LIBSSH2_CHANNEL, FreeChannel> channel_;
};

}  // namespace flowtap::tools::dtcp
