#include "lib/link_message.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace flowtap::lib {
namespace {

static_assert(sizeof(LinkPrefix) == 16 && sizeof(LinkHello) <= LinkMessage::max_size &&
              sizeof(LinkRefusal) <= LinkMessage::max_size && sizeof(LinkSignal) == sizeof(LinkPrefix));

LinkError malformed(std::string message) {
    return {LinkFailure::malformed, std::move(message)};
}

/// The first 8 bytes: enough for a person to tell two digests apart.
std::string short_digest(const ConfigDigest& digest) {
    std::string text;
    for (const std::uint8_t byte : std::span(digest).first(8)) {
        text += fmt::format("{:02x}", byte);
    }
    return text;
}

/// Takes ownership of every descriptor that came, also of those that nobody asked for: none may leak.
bool collect_descriptors(msghdr& header, LinkMessage& message) {
    bool fits = true;
    for (cmsghdr* part = CMSG_FIRSTHDR(&header); part != nullptr; part = CMSG_NXTHDR(&header, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        const std::size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (std::size_t i = 0; i < count; ++i) {
            int descriptor = -1;
            std::memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
            FileDescriptor owned(descriptor);
            if (message.descriptor_count < LinkMessage::max_descriptors) {
                message.descriptors[message.descriptor_count++] = std::move(owned);
            } else {
                fits = false;
            }
        }
    }
    return fits;
}

}  // namespace

LinkError system_error(std::string_view what) {
    return {LinkFailure::system, fmt::format("{}: {}", what, std::strerror(errno))};
}

LinkHello make_hello(const RegionShape& shape, const ConfigDigest& digest, Epoch epoch) {
    return {.prefix = {.kind = LinkMessageKind::hello},
            .command_size = command_region_size,
            .status_size = status_region_size(shape),
            .max_taps = shape.max_taps,
            .worker_count = shape.worker_count,
            .epoch = epoch,
            .config_digest = digest};
}

std::optional<LinkError> compare_versions(const LinkPrefix& theirs, std::string_view us,
                                          std::string_view peer) {
    if (theirs.layout_version == layout_version) {
        return {};
    }
    return LinkError{LinkFailure::version,
                     fmt::format("{} speaks layout version {}, {} speaks {}: both must be of one release", us,
                                 layout_version, peer, theirs.layout_version)};
}

std::optional<LinkError> compare_hellos(const LinkHello& ours, const LinkHello& theirs, std::string_view us,
                                        std::string_view peer) {
    if (auto error = compare_versions(theirs.prefix, us, peer)) {
        return error;
    }
    if (ours.max_taps != theirs.max_taps || ours.worker_count != theirs.worker_count ||
        ours.command_size != theirs.command_size || ours.status_size != theirs.status_size) {
        return LinkError{
            LinkFailure::shape,
            fmt::format("{} has regions for {} taps and {} workers ({} and {} bytes), {} for {} and {} "
                        "({} and {}): both must read one configuration",
                        us, ours.max_taps, ours.worker_count, ours.command_size, ours.status_size, peer,
                        theirs.max_taps, theirs.worker_count, theirs.command_size, theirs.status_size)};
    }
    if (ours.config_digest != theirs.config_digest) {
        return LinkError{
            LinkFailure::configuration,
            fmt::format("{} has read the configuration {}..., {} has read {}...: restart the one that has "
                        "the old file",
                        us, short_digest(ours.config_digest), peer, short_digest(theirs.config_digest))};
    }
    return {};
}

std::expected<LinkHello, LinkError> read_hello(const LinkMessage& message, std::size_t fewest_descriptors,
                                               std::size_t most_descriptors) {
    if (message.prefix.size != sizeof(LinkHello)) {
        return std::unexpected(malformed(fmt::format("the peer's hello has {} bytes: {} are needed",
                                                     message.prefix.size, sizeof(LinkHello))));
    }
    if (message.descriptor_count < fewest_descriptors || message.descriptor_count > most_descriptors) {
        return std::unexpected(
            malformed(fmt::format("the peer's hello came with {} descriptors: {} to {} are needed",
                                  message.descriptor_count, fewest_descriptors, most_descriptors)));
    }
    LinkHello hello;
    std::memcpy(static_cast<void*>(&hello), message.bytes.data(), sizeof(hello));
    return hello;
}

LinkError read_refusal(const LinkMessage& message, std::string_view peer) {
    LinkRefusal refusal;
    if (message.prefix.layout_version == layout_version && message.prefix.size != sizeof(refusal)) {
        return malformed(fmt::format("{} refused without a reason", peer));
    }
    // Of a peer with another version the size is not known to be ours: what there is of the text is enough.
    std::memcpy(static_cast<void*>(&refusal), message.bytes.data(), sizeof(refusal));
    const auto end = std::ranges::find(refusal.text, '\0');
    std::string text(refusal.text.begin(), end);
    for (char& character : text) {
        if (character < ' ' || character > '~') {
            character = '?';
        }
    }
    const auto known =
        static_cast<std::uint16_t>(refusal.failure) <= static_cast<std::uint16_t>(LinkFailure::silent);
    return {known ? refusal.failure : LinkFailure::malformed, fmt::format("{} refused: {}", peer, text)};
}

std::expected<void, LinkError> send_message(int socket, std::span<const std::byte> message,
                                            std::span<const int> descriptors) {
    iovec part{const_cast<std::byte*>(message.data()), message.size()};
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(LinkMessage::max_descriptors * sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    if (!descriptors.empty()) {
        header.msg_control = control.data();
        header.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
        cmsghdr* rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(descriptors.size_bytes());
        std::memcpy(CMSG_DATA(rights), descriptors.data(), descriptors.size_bytes());
    }
    ssize_t sent = -1;
    do {
        sent = ::sendmsg(socket, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR);
    if (sent >= 0) {
        return {};
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return std::unexpected(LinkError{LinkFailure::busy, "the peer has too much unread"});
    }
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
        return std::unexpected(LinkError{LinkFailure::closed, "the peer has closed the connection"});
    }
    return std::unexpected(system_error("sendmsg"));
}

std::expected<void, LinkError> send_signal(int socket, LinkMessageKind kind,
                                           std::span<const int> descriptors) {
    return send_message(socket, LinkSignal{.prefix = {.kind = kind}}, descriptors);
}

void send_refusal(int socket, const LinkError& error) {
    LinkRefusal refusal{.prefix = {.kind = LinkMessageKind::refusal}, .failure = error.failure};
    const std::size_t length = std::min(error.message.size(), refusal.text.size() - 1);
    std::copy_n(error.message.begin(), length, refusal.text.begin());
    static_cast<void>(send_message(socket, refusal));
}

std::expected<std::optional<LinkMessage>, LinkError> receive_message(int socket) {
    LinkMessage message;
    iovec part{message.bytes.data(), message.bytes.size()};
    // Room for more descriptors than any message may have: those too many are received and closed, not
    // leaked.
    alignas(cmsghdr) std::array<std::byte, CMSG_SPACE(16 * sizeof(int))> control{};
    msghdr header{};
    header.msg_iov = &part;
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    ssize_t received = -1;
    bool reset = false;
    do {
        received = ::recvmsg(socket, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        // A peer that closed without reading all of ours makes one ECONNRESET; what it had sent is behind it.
    } while (received < 0 && (errno == EINTR || (errno == ECONNRESET && !std::exchange(reset, true))));
    if (received < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return std::nullopt;
    }
    if (received == 0 || (received < 0 && (errno == ECONNRESET || errno == EPIPE))) {
        return std::unexpected(
            LinkError{LinkFailure::closed, "the peer has closed the connection, or has died"});
    }
    if (received < 0) {
        return std::unexpected(system_error("recvmsg"));
    }
    const bool fits = collect_descriptors(header, message);
    const auto size = static_cast<std::size_t>(received);
    if (size < sizeof(LinkPrefix)) {
        return std::unexpected(malformed(fmt::format("the peer sent a message of {} bytes", size)));
    }
    std::memcpy(&message.prefix, message.bytes.data(), sizeof(LinkPrefix));
    if (message.prefix.magic != link_magic) {
        return std::unexpected(
            malformed(fmt::format("the peer sent a message that begins with {:#010x}: {:#010x} "
                                  "is right",
                                  message.prefix.magic, link_magic)));
    }
    if (message.prefix.layout_version != layout_version) {
        return message;  // whatever it says, and however long: that it differs is what must be told
    }
    if (!fits || (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        return std::unexpected(
            malformed("the peer sent a message that is too long, or too many descriptors"));
    }
    if (message.prefix.size != size) {
        return std::unexpected(
            malformed(fmt::format("the peer sent {} bytes as a message of {}", size, message.prefix.size)));
    }
    return message;
}

std::expected<sockaddr_un, LinkError> socket_address(const std::filesystem::path& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string& name = path.native();
    if (name.empty() || name.size() >= sizeof(address.sun_path)) {
        return std::unexpected(LinkError{
            LinkFailure::system, fmt::format("{}: a socket's path has 1 to {} bytes, this one has {}", name,
                                             sizeof(address.sun_path) - 1, name.size())});
    }
    std::copy(name.begin(), name.end(), address.sun_path);
    return address;
}

std::expected<PeerCredentials, LinkError> check_peer(int socket, std::optional<uid_t> allowed) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
        return std::unexpected(system_error("getsockopt(SO_PEERCRED)"));
    }
    const bool permitted =
        credentials.uid == 0 || credentials.uid == ::geteuid() || (allowed && credentials.uid == *allowed);
    if (!permitted) {
        return std::unexpected(
            LinkError{LinkFailure::not_permitted,
                      fmt::format("process {} of user {} may not be at the other end: root and user {} may",
                                  credentials.pid, credentials.uid, allowed.value_or(::geteuid()))});
    }
    return PeerCredentials{.pid = credentials.pid, .user = credentials.uid};
}

}  // namespace flowtap::lib
