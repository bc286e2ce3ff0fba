#include "lib/link.h"
#include "lib/link_message.h"

#include <fmt/format.h>

#include <cerrno>
#include <filesystem>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace flowtap::lib {
namespace {

constexpr std::string_view us = "the dataplane";
constexpr std::string_view peer_name = "control";

/// A connection that has not said hello is kept this long: until as many newer ones wait.
constexpr std::size_t max_waiting = 4;

struct Connection {
    FileDescriptor socket;
    PeerCredentials credentials;
};

struct FileIdentity {
    dev_t device = 0;
    ino_t inode = 0;

    bool operator==(const FileIdentity&) const = default;
};

std::optional<FileIdentity> identity_of(const std::filesystem::path& path) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return {};
    }
    return FileIdentity{status.st_dev, status.st_ino};
}

/// Removes a socket file on which nobody listens; an error if somebody does, or if it is no socket.
std::expected<void, LinkError> remove_stale_socket(const std::filesystem::path& path,
                                                   const sockaddr_un& address) {
    struct stat status{};
    if (::lstat(path.c_str(), &status) != 0) {
        return {};
    }
    if (!S_ISSOCK(status.st_mode)) {
        return std::unexpected(LinkError{
            LinkFailure::system, fmt::format("{}: there is a file that is not a socket: remove it, or choose "
                                             "another run-dir",
                                             path.native())});
    }
    const FileDescriptor probe(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!probe) {
        return std::unexpected(system_error("socket"));
    }
    if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
        errno != ECONNREFUSED) {
        return std::unexpected(LinkError{
            LinkFailure::busy, fmt::format("{}: another process listens there already", path.native())});
    }
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
        return std::unexpected(system_error("removing " + path.native()));
    }
    return {};
}

}  // namespace

struct LinkServer::State {
    std::filesystem::path path;
    std::optional<FileIdentity> file;
    StatusRegion* status = nullptr;
    LinkHello hello;
    std::optional<uid_t> control_user;
    FileDescriptor epoll;
    FileDescriptor listener;
    std::vector<Connection> waiting;  ///< oldest first
    std::optional<Connection> control;
    FileDescriptor kept;
    std::optional<ServerEvent> outcome;  ///< what the poll() under way will return

    ~State() {
        if (file && identity_of(path) == file) {
            ::unlink(path.c_str());
        }
    }

    bool watch(int descriptor) const {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = descriptor;
        return ::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, descriptor, &event) == 0;
    }

    void refuse(const Connection& connection, LinkError error) {
        send_refusal(connection.socket.get(), error);
        error.message = fmt::format("process {} of user {} was refused: {}", connection.credentials.pid,
                                    connection.credentials.user, error.message);
        outcome = ControlRefused{std::move(error)};
    }

    void lose_control(LinkError error) {
        control.reset();
        outcome = ControlLost{std::move(error)};
    }

    std::expected<CommandView, LinkError> check_hello(LinkMessage& message) const {
        if (auto error = compare_versions(message.prefix, us, peer_name)) {
            return std::unexpected(*std::move(error));
        }
        if (message.prefix.kind != LinkMessageKind::hello) {
            return std::unexpected(LinkError{LinkFailure::malformed, "the first message is not a hello"});
        }
        const auto theirs = read_hello(message, 1, 1);
        if (!theirs) {
            return std::unexpected(theirs.error());
        }
        if (auto error = compare_hellos(hello, *theirs, us, peer_name)) {
            return std::unexpected(*std::move(error));
        }
        auto view = CommandView::receive(std::move(message.descriptors[0]));
        if (!view) {
            return std::unexpected(LinkError{LinkFailure::region, view.error()});
        }
        if (view->epoch() != theirs->epoch) {
            return std::unexpected(
                LinkError{LinkFailure::region, "the command region and the hello are of two epochs"});
        }
        return std::move(*view);
    }

    /// The first message of a connection: it becomes the control, or is refused.
    void welcome(Connection connection, LinkMessage& message) {
        auto view = check_hello(message);
        if (!view) {
            refuse(connection, std::move(view.error()));
            return;
        }
        status->restart_rings();
        const std::array descriptors{status->descriptor(), kept.get()};
        const auto sent =
            send_message(connection.socket.get(), hello, std::span(descriptors).first(kept ? 2 : 1));
        if (!sent) {
            refuse(connection, sent.error());
            return;
        }
        outcome = ControlUp{std::move(*view), connection.credentials.pid};
        control = std::move(connection);
    }

    void accept_connection() {
        Connection connection{
            FileDescriptor(::accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)), {}};
        if (!connection.socket) {
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED) {
                outcome = ControlRefused{system_error("accept")};
            }
            return;
        }
        const auto credentials = check_peer(connection.socket.get(), control_user);
        if (!credentials) {
            refuse(connection, credentials.error());
            return;
        }
        connection.credentials = *credentials;
        if (control) {
            refuse(connection, {LinkFailure::busy,
                                fmt::format("process {} is connected already", control->credentials.pid)});
            return;
        }
        if (!watch(connection.socket.get())) {
            refuse(connection, system_error("epoll_ctl"));
            return;
        }
        if (waiting.size() == max_waiting) {
            refuse(waiting.front(), {LinkFailure::silent, "it has not said hello"});
            waiting.erase(waiting.begin());
        }
        waiting.push_back(std::move(connection));
    }

    /// One message of each waiting connection, up to the first that makes an event.
    void read_waiting() {
        for (std::size_t i = 0; i < waiting.size() && !outcome;) {
            auto message = receive_message(waiting[i].socket.get());
            if (message && !message->has_value()) {
                ++i;
                continue;
            }
            Connection connection = std::move(waiting[i]);
            waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
            if (!message) {
                if (message.error().failure != LinkFailure::closed) {
                    refuse(connection, std::move(message.error()));
                }
            } else if (control) {
                refuse(connection, {LinkFailure::busy, fmt::format("process {} is connected already",
                                                                   control->credentials.pid)});
            } else {
                welcome(std::move(connection), **message);
            }
        }
    }

    /// What the control has sent, up to the first message that is not a wake.
    void read_control() {
        bool woken = false;
        for (int budget = 64; budget > 0 && control && !outcome; --budget) {
            auto message = receive_message(control->socket.get());
            if (!message) {
                // A control that woke us and died: the wake first, its end can be read again.
                if (!woken) {
                    lose_control(std::move(message.error()));
                }
                break;
            }
            if (!message->has_value()) {
                break;
            }
            woken |= read_message(**message);
        }
        if (woken && !outcome) {
            outcome = LinkWoken{};
        }
    }

    /// True for a wake.
    bool read_message(LinkMessage& message) {
        if (message.prefix.kind == LinkMessageKind::wake) {
            return true;
        }
        if (message.prefix.kind == LinkMessageKind::keep && message.descriptor_count == 1) {
            kept = std::move(message.descriptors[0]);
            return false;
        }
        if (message.prefix.kind == LinkMessageKind::refusal) {
            lose_control(read_refusal(message, peer_name));
            return false;
        }
        const LinkError error{LinkFailure::malformed, "control sent what is neither a wake nor a keep"};
        send_refusal(control->socket.get(), error);
        lose_control(error);
        return false;
    }
};

LinkServer::LinkServer(std::unique_ptr<State> state) : state_(std::move(state)) {}
LinkServer::LinkServer(LinkServer&&) noexcept = default;
LinkServer& LinkServer::operator=(LinkServer&&) noexcept = default;
LinkServer::~LinkServer() = default;

std::expected<LinkServer, LinkError> LinkServer::listen(const std::filesystem::path& path,
                                                        StatusRegion& status, const ConfigDigest& digest,
                                                        std::optional<uid_t> control_user) {
    const auto address = socket_address(path);
    if (!address) {
        return std::unexpected(address.error());
    }
    if (const auto removed = remove_stale_socket(path, *address); !removed) {
        return std::unexpected(removed.error());
    }
    auto state = std::make_unique<State>();
    state->path = path;
    state->status = &status;
    state->hello = make_hello(status.shape(), digest, status.epoch());
    state->control_user = control_user;
    state->epoll = FileDescriptor(::epoll_create1(EPOLL_CLOEXEC));
    state->listener = FileDescriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!state->epoll || !state->listener) {
        return std::unexpected(system_error("socket"));
    }
    if (::bind(state->listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
        return std::unexpected(system_error("bind to " + path.native()));
    }
    state->file = identity_of(path);
    // Nobody can connect before listen(), so there is no moment in which wider rights would count.
    if (::chmod(path.c_str(), 0600) != 0) {
        return std::unexpected(system_error("chmod of " + path.native()));
    }
    if (control_user && *control_user != ::geteuid() &&
        ::chown(path.c_str(), *control_user, static_cast<gid_t>(-1)) != 0) {
        return std::unexpected(
            system_error(fmt::format("giving {} to user {}", path.native(), *control_user)));
    }
    if (::listen(state->listener.get(), 16) != 0 || !state->watch(state->listener.get())) {
        return std::unexpected(system_error("listening on " + path.native()));
    }
    return LinkServer(std::move(state));
}

int LinkServer::fd() const {
    return state_->epoll.get();
}

bool LinkServer::connected() const {
    return state_->control.has_value();
}

std::optional<ServerEvent> LinkServer::poll() {
    State& state = *state_;
    epoll_event ready{};
    if (::epoll_wait(state.epoll.get(), &ready, 1, 0) <= 0) {
        return {};
    }
    // The control first: when it has died and the next one has come, the next one must not be turned away.
    if (state.control) {
        state.read_control();
    }
    state.read_waiting();
    if (!state.outcome) {
        state.accept_connection();
        state.read_waiting();
    }
    return std::exchange(state.outcome, std::nullopt);
}

void LinkServer::wake() {
    if (state_->control) {
        static_cast<void>(send_signal(state_->control->socket.get(), LinkMessageKind::wake));
    }
}

void LinkServer::drop(std::string_view reason) {
    if (state_->control) {
        send_refusal(state_->control->socket.get(), {LinkFailure::closed, std::string(reason)});
        state_->control.reset();
    }
}

}  // namespace flowtap::lib
