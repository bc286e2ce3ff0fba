#include "lib/link.h"
#include "lib/link_message.h"

#include <fmt/format.h>

#include <cerrno>
#include <poll.h>
#include <sys/socket.h>
#include <utility>

namespace flowtap::lib {
namespace {

constexpr std::string_view us = "control";
constexpr std::string_view peer_name = "the dataplane";

}  // namespace

struct LinkClient::State {
    FileDescriptor socket;
    PeerCredentials credentials;
    LinkHello hello;
    bool up = false;

    /// Ends the link.
    ClientEvent lose(LinkError error) {
        up = false;
        socket.reset();
        return DataplaneLost{std::move(error)};
    }

    /// The same for a peer that misbehaved: it is told why.
    ClientEvent leave(LinkError error) {
        send_refusal(socket.get(), error);
        return lose(std::move(error));
    }

    std::expected<DataplaneUp, LinkError> check_hello(LinkMessage& message) const {
        if (message.prefix.kind != LinkMessageKind::hello) {
            return std::unexpected(LinkError{
                LinkFailure::malformed, "the dataplane's first message is neither a hello nor a refusal"});
        }
        const auto theirs = read_hello(message, 1, 2);
        if (!theirs) {
            return std::unexpected(theirs.error());
        }
        if (auto error = compare_hellos(hello, *theirs, us, peer_name)) {
            return std::unexpected(*std::move(error));
        }
        auto view = StatusView::receive(std::move(message.descriptors[0]),
                                        {.max_taps = hello.max_taps, .worker_count = hello.worker_count});
        if (!view) {
            return std::unexpected(LinkError{LinkFailure::region, view.error()});
        }
        if (view->epoch() != theirs->epoch) {
            return std::unexpected(
                LinkError{LinkFailure::region, "the status region and the hello are of two epochs"});
        }
        return DataplaneUp{std::move(*view), credentials.pid, std::move(message.descriptors[1])};
    }

    ClientEvent come_up(LinkMessage& message) {
        auto dataplane = check_hello(message);
        if (!dataplane) {
            return leave(std::move(dataplane.error()));
        }
        up = true;
        return std::move(*dataplane);
    }
};

LinkClient::LinkClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
LinkClient::LinkClient(LinkClient&&) noexcept = default;
LinkClient& LinkClient::operator=(LinkClient&&) noexcept = default;
LinkClient::~LinkClient() = default;

std::expected<LinkClient, LinkError> LinkClient::connect(const std::filesystem::path& path,
                                                         CommandRegion& command, const RegionShape& shape,
                                                         const ConfigDigest& digest,
                                                         std::optional<uid_t> dataplane_user) {
    const auto address = socket_address(path);
    if (!address) {
        return std::unexpected(address.error());
    }
    auto state = std::make_unique<State>();
    state->socket = FileDescriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (!state->socket) {
        return std::unexpected(system_error("socket"));
    }
    if (::connect(state->socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
        return std::unexpected(system_error("connecting to the dataplane on " + path.native()));
    }
    const auto credentials = check_peer(state->socket.get(), dataplane_user);
    if (!credentials) {
        return std::unexpected(credentials.error());
    }
    state->credentials = *credentials;
    state->hello = make_hello(shape, digest, command.epoch());
    command.restart_rings();
    const std::array descriptors{command.descriptor()};
    const auto sent = send_message(state->socket.get(), state->hello, descriptors);
    // A server that has closed already has said why: poll() will read it.
    if (!sent && sent.error().failure != LinkFailure::closed) {
        return std::unexpected(sent.error());
    }
    return LinkClient(std::move(state));
}

int LinkClient::fd() const {
    return state_->socket.get();
}

bool LinkClient::connected() const {
    return state_->up;
}

std::optional<ClientEvent> LinkClient::poll() {
    State& state = *state_;
    bool woken = false;
    for (int budget = 64; budget > 0 && state.socket; --budget) {
        auto message = receive_message(state.socket.get());
        if (!message && !woken) {
            return state.lose(std::move(message.error()));
        }
        // A dataplane that woke us and died: the wake first, its end can be read again.
        if (!message || !message->has_value()) {
            break;
        }
        LinkMessage& received = **message;
        if (received.prefix.kind == LinkMessageKind::refusal) {
            return state.lose(read_refusal(received, peer_name));
        }
        if (auto error = compare_versions(received.prefix, us, peer_name)) {
            return state.leave(*std::move(error));
        }
        if (!state.up) {
            return state.come_up(received);
        }
        if (received.prefix.kind != LinkMessageKind::wake) {
            return state.leave({LinkFailure::malformed, "the dataplane sent what is not a wake"});
        }
        woken = true;
    }
    return woken ? std::optional<ClientEvent>(LinkWoken{}) : std::nullopt;
}

std::expected<DataplaneUp, LinkError> LinkClient::wait_up(std::chrono::milliseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (true) {
        if (auto event = poll()) {
            if (auto* dataplane = std::get_if<DataplaneUp>(&*event)) {
                return std::move(*dataplane);
            }
            if (auto* lost = std::get_if<DataplaneLost>(&*event)) {
                return std::unexpected(std::move(lost->reason));
            }
            continue;
        }
        const auto left =
            std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
        if (left.count() <= 0 || !state_->socket) {
            return std::unexpected(
                LinkError{LinkFailure::silent,
                          fmt::format("the dataplane did not answer within {} ms", patience.count())});
        }
        pollfd waited{.fd = fd(), .events = POLLIN, .revents = 0};
        if (::poll(&waited, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) {
            return std::unexpected(system_error("poll"));
        }
    }
}

void LinkClient::wake() {
    if (state_->up) {
        static_cast<void>(send_signal(state_->socket.get(), LinkMessageKind::wake));
    }
}

std::expected<void, LinkError> LinkClient::keep(int memfd) {
    if (!state_->up) {
        return std::unexpected(LinkError{LinkFailure::closed, "the dataplane is not connected"});
    }
    const std::array descriptors{memfd};
    return send_signal(state_->socket.get(), LinkMessageKind::keep, descriptors);
}

}  // namespace flowtap::lib
