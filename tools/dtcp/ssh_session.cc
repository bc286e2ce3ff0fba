#include "tools/dtcp/ssh_session.h"

#include "tools/dtcp/tcp.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <poll.h>
#include <sysexits.h>
#include <utility>

namespace flowtap::tools::dtcp {
namespace {

constexpr const char* subsystem = "flow-tap-dtcp";

// The best host key first, and none signed with SHA-1.
constexpr const char* host_key_types =
    "ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,rsa-sha2-512,rsa-sha2-256";

const char* chars(const lib::SecretBytes& secret) {
    return reinterpret_cast<const char*>(secret.data());
}

/// libssh2 wants a passphrase that ends with a zero byte.
std::expected<lib::SecretBytes, Problem> c_string(const lib::SecretBytes& secret) {
    auto copy = lib::SecretBytes::allocate(secret.size() + 1);
    if (!copy) {
        return std::unexpected(Problem{Outcome::local, copy.error()});
    }
    std::ranges::copy(secret.bytes(), copy->data());
    return std::move(*copy);
}

/// The password for every question of keyboard-interactive (RFC 4256), as PAM asks it.
LIBSSH2_USERAUTH_KBDINT_RESPONSE_FUNC(answer_questions) {
    static_cast<void>(name);
    static_cast<void>(name_len);
    static_cast<void>(instruction);
    static_cast<void>(instruction_len);
    static_cast<void>(prompts);
    const auto& password = **static_cast<const lib::SecretBytes* const*>(*abstract);
    for (int i = 0; i < num_prompts; ++i) {
        // libssh2 frees it.
        auto* text = static_cast<char*>(std::malloc(password.size() + 1));
        if (text == nullptr) {
            return;
        }
        std::copy_n(chars(password), password.size(), text);
        responses[i].text = text;
        responses[i].length = static_cast<unsigned>(password.size());
    }
}

/// libssh2's global state, once a process.
bool library_ready() {
    static const bool ready = libssh2_init(0) == 0;
    return ready;
}

}  // namespace

void FreeSession::operator()(LIBSSH2_SESSION* session) const {
    libssh2_session_disconnect(session, "done");
    libssh2_session_free(session);
}

void FreeChannel::operator()(LIBSSH2_CHANNEL* channel) const {
    libssh2_session_set_blocking(session, 1);
    // The answer is here: the server's own good-bye is worth a second.
    libssh2_session_set_timeout(session, 1000);
    libssh2_channel_free(channel);
}

Problem SshSession::problem(Outcome outcome, std::string_view what) const {
    char* text = nullptr;
    libssh2_session_last_error(session_.get(), &text, nullptr, 0);
    return {outcome,
            fmt::format("{}: {}", what, text == nullptr || *text == '\0' ? "no reason given" : text)};
}

std::expected<std::unique_ptr<SshSession>, Problem> SshSession::open(const Endpoint& endpoint,
                                                                     const HostKeyPolicy& host_keys,
                                                                     const Credentials& credentials) {
    auto socket = connect_tcp(endpoint.host, endpoint.port, endpoint.patience);
    if (!socket) {
        return std::unexpected(std::move(socket.error()));
    }
    std::unique_ptr<SshSession> session{new SshSession};
    session->socket_ = std::move(*socket);
    if (library_ready()) {
        session->session_.reset(libssh2_session_init());
    }
    if (!session->session_) {
        return std::unexpected(Problem{Outcome::local, "libssh2 does not start"});
    }
    auto* handle = session->session_.get();
    libssh2_session_set_timeout(handle, static_cast<long>(endpoint.patience.count()));
    if (auto done = session->shake_hands(endpoint); !done) {
        return std::unexpected(std::move(done.error()));
    }
    if (auto done = check_host_key(handle, endpoint.host, endpoint.port, host_keys); !done) {
        return std::unexpected(std::move(done.error()));
    }
    if (auto done = session->log_in(credentials); !done) {
        return std::unexpected(std::move(done.error()));
    }
    if (auto done = session->open_subsystem(); !done) {
        return std::unexpected(std::move(done.error()));
    }
    return session;
}

std::expected<void, Problem> SshSession::shake_hands(const Endpoint& endpoint) {
    libssh2_session_method_pref(session_.get(), LIBSSH2_METHOD_HOSTKEY, host_key_types);
    const int error = libssh2_session_handshake(session_.get(), socket_.get());
    if (error == 0) {
        return {};
    }
    // The server's greeting is the first thing that comes.
    if (libssh2_session_banner_get(session_.get()) == nullptr) {
        return std::unexpected(Problem{
            Outcome::no_connection,
            fmt::format(
                "{} port {} took the connection but sent no SSH greeting: its access list, connection-limit "
                "or rate-limit refuses this client, or no SSH server is there",
                endpoint.host, endpoint.port)});
    }
    return std::unexpected(problem(Outcome::no_connection, "the SSH handshake failed"));
}

int SshSession::log_in_by_password(const Credentials& credentials, std::string_view methods) {
    const auto& user = credentials.user;
    const auto& password = *credentials.password;
    const auto user_size = static_cast<unsigned>(user.size());
    int error = LIBSSH2_ERROR_AUTHENTICATION_FAILED;
    if (methods.find("password") != std::string_view::npos) {
        error = libssh2_userauth_password_ex(session_.get(), user.data(), user_size, chars(password),
                                             static_cast<unsigned>(password.size()), nullptr);
    } else if (methods.find("keyboard-interactive") != std::string_view::npos) {
        const auto* secret = &password;
        *libssh2_session_abstract(session_.get()) = &secret;
        error = libssh2_userauth_keyboard_interactive_ex(session_.get(), user.data(), user_size,
                                                         answer_questions);
        *libssh2_session_abstract(session_.get()) = nullptr;
    }
    return error;
}

std::expected<void, Problem> SshSession::log_in(const Credentials& credentials) {
    const auto& user = credentials.user;
    const auto user_size = static_cast<unsigned>(user.size());
    const char* methods = libssh2_userauth_list(session_.get(), user.data(), user_size);
    if (methods == nullptr) {
        return std::unexpected(problem(Outcome::login_refused, fmt::format("user {} may not log in", user)));
    }
    int error = 0;
    if (credentials.identity.empty()) {
        error = log_in_by_password(credentials, methods);
    } else {
        std::optional<lib::SecretBytes> passphrase;
        if (credentials.passphrase) {
            auto copy = c_string(*credentials.passphrase);
            if (!copy) {
                return std::unexpected(std::move(copy.error()));
            }
            passphrase = std::move(*copy);
        }
        error = libssh2_userauth_publickey_fromfile_ex(session_.get(), user.data(), user_size, nullptr,
                                                       credentials.identity.c_str(),
                                                       passphrase ? chars(*passphrase) : nullptr);
        if (error == LIBSSH2_ERROR_FILE || error == LIBSSH2_ERROR_METHOD_NONE) {
            return std::unexpected(Problem{
                Outcome::local, fmt::format("identity {} cannot be read as a private key (is its passphrase "
                                            "needed?)",
                                            credentials.identity.string())});
        }
    }
    if (error == 0) {
        return {};
    }
    return std::unexpected(
        problem(Outcome::login_refused,
                fmt::format("the server refuses the login of user {} (it offers {})", user, methods)));
}

std::expected<void, Problem> SshSession::open_subsystem() {
    channel_ = {libssh2_channel_open_session(session_.get()), FreeChannel{session_.get()}};
    if (!channel_) {
        return std::unexpected(problem(Outcome::no_connection, "the server opens no channel"));
    }
    if (libssh2_channel_subsystem(channel_.get(), subsystem) != 0) {
        return std::unexpected(
            problem(Outcome::no_connection, fmt::format("the server has no subsystem {}", subsystem)));
    }
    // From here on waiting is the caller's.
    libssh2_session_set_blocking(session_.get(), 0);
    buffer_.resize(65'536);
    return {};
}

bool SshSession::sending() const {
    return (libssh2_session_block_directions(session_.get()) & LIBSSH2_SESSION_BLOCK_OUTBOUND) != 0;
}

std::expected<std::size_t, Problem> SshSession::write(std::string_view bytes) {
    // Nothing else may be sent while libssh2 has part of a packet of its own to send, which reading goes on
    // with. And without room in the channel's window a write would wait for the server; with room it waits
    // for TCP alone, which sshd always reads.
    if (sending() || libssh2_channel_window_write(channel_.get()) == 0) {
        return 0;
    }
    libssh2_session_set_blocking(session_.get(), 1);
    const auto written = libssh2_channel_write(channel_.get(), bytes.data(), bytes.size());
    libssh2_session_set_blocking(session_.get(), 0);
    if (written == LIBSSH2_ERROR_EAGAIN) {
        return 0;
    }
    if (written < 0) {
        return std::unexpected(problem(Outcome::no_answer, "the connection was lost"));
    }
    return static_cast<std::size_t>(written);
}

std::expected<Received, Problem> SshSession::read() {
    const auto got = libssh2_channel_read(channel_.get(), buffer_.data(), buffer_.size());
    if (got == LIBSSH2_ERROR_EAGAIN) {
        return Received{};
    }
    if (got < 0) {
        return std::unexpected(problem(Outcome::no_answer, "the connection was lost"));
    }
    return Received{.bytes = buffer_.substr(0, static_cast<std::size_t>(got)), .ended = got == 0};
}

short SshSession::events(bool more_to_write) const {
    const bool room = more_to_write && libssh2_channel_window_write(channel_.get()) != 0;
    return static_cast<short>(sending() || room ? POLLIN | POLLOUT : POLLIN);
}

Problem SshSession::end_reason() {
    // The status comes after the end of the data and before the channel's close.
    libssh2_session_set_blocking(session_.get(), 1);
    libssh2_session_set_timeout(session_.get(), 1000);
    libssh2_channel_wait_closed(channel_.get());
    // The bridge's word for it (sysexits.h); nothing of the requests was passed on then.
    if (libssh2_channel_get_exit_status(channel_.get()) == EX_UNAVAILABLE) {
        return {Outcome::no_connection, "the server's DTCP service is not running"};
    }
    return {Outcome::no_answer, "the server ended the session without an answer"};
}

}  // namespace flowtap::tools::dtcp
