#include "tools/dtcp/ssh_session.h"

#include "tools/dtcp/tcp.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
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

std::expected<SshSession, Problem> SshSession::open(const Endpoint& endpoint, const HostKeyPolicy& host_keys,
                                                    const Credentials& credentials) {
    auto socket = connect_tcp(endpoint.host, endpoint.port, endpoint.patience);
    if (!socket) {
        return std::unexpected(std::move(socket.error()));
    }
    SshSession session;
    session.socket_ = std::move(*socket);
    if (library_ready()) {
        session.session_.reset(libssh2_session_init());
    }
    if (!session.session_) {
        return std::unexpected(Problem{Outcome::local, "libssh2 does not start"});
    }
    auto* handle = session.session_.get();
    libssh2_session_set_timeout(handle, static_cast<long>(endpoint.patience.count()));
    if (auto done = session.shake_hands(endpoint); !done) {
        return std::unexpected(std::move(done.error()));
    }
    if (auto done = check_host_key(handle, endpoint.host, endpoint.port, host_keys); !done) {
        return std::unexpected(std::move(done.error()));
    }
    if (auto done = session.log_in(credentials); !done) {
        return std::unexpected(std::move(done.error()));
    }
    if (auto done = session.open_subsystem(); !done) {
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
    // From here on waiting is the caller's, with a deadline of its own.
    return {};
}

std::expected<void, Problem> SshSession::write(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto written = libssh2_channel_write(channel_.get(), bytes.data(), bytes.size());
        if (written < 0) {
            return std::unexpected(problem(Outcome::no_answer, "the request could not be sent whole"));
        }
        bytes.remove_prefix(static_cast<std::size_t>(written));
    }
    return {};
}

std::expected<std::string, Problem> SshSession::read(Deadline deadline) {
    using std::chrono::milliseconds;
    const auto left = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
    // Zero would mean for ever.
    libssh2_session_set_timeout(session_.get(), static_cast<long>(std::max(left, milliseconds{1}).count()));
    std::string bytes(65'536, '\0');
    const auto got = libssh2_channel_read(channel_.get(), bytes.data(), bytes.size());
    if (got < 0) {
        return std::unexpected(problem(Outcome::no_answer, "no answer came"));
    }
    bytes.resize(static_cast<std::size_t>(got));
    return bytes;
}

int SshSession::exit_status() {
    // It comes after the end of the data and before the channel's close.
    libssh2_channel_wait_closed(channel_.get());
    return libssh2_channel_get_exit_status(channel_.get());
}

}  // namespace flowtap::tools::dtcp
