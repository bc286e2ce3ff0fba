// The messages of the link (lib/link.h) and how they go over its socket. Private to lib/link_*.cc.
//
// The first 16 bytes of a message never change, so that two versions can tell each other that they differ.
#pragma once

#include "lib/file_descriptor.h"
#include "lib/link.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <sys/un.h>

namespace flowtap::lib {

inline constexpr std::uint32_t link_magic = 0x4b4c'5446;  ///< "FTLK"

enum class LinkMessageKind : std::uint16_t { none, hello, refusal, wake, keep };

struct LinkPrefix {
    std::uint32_t magic = link_magic;
    LinkMessageKind kind = LinkMessageKind::none;
    std::uint16_t reserved = 0;
    std::uint32_t layout_version = flowtap::lib::layout_version;
    std::uint32_t size = 0;  ///< of the whole message
};

/// From control with its command region's descriptor; from the dataplane with its status region's and, if it
/// keeps one, control's memfd.
struct LinkHello {
    LinkPrefix prefix;
    std::uint64_t command_size = 0;
    std::uint64_t status_size = 0;
    std::uint32_t max_taps = 0;
    std::uint32_t worker_count = 0;
    Epoch epoch{};
    ConfigDigest config_digest{};
};

struct LinkRefusal {
    LinkPrefix prefix;
    LinkFailure failure = LinkFailure::none;
    std::array<char, 494> text{};  ///< ends with a zero
};

/// wake: without a descriptor; keep: with one.
struct LinkSignal {
    LinkPrefix prefix;
};

/// One message as it came, and its descriptors. Only the prefix has been checked: the magic, and the size if
/// the version is ours.
struct LinkMessage {
    static constexpr std::size_t max_size = 512;
    static constexpr std::size_t max_descriptors = 2;

    LinkPrefix prefix;
    alignas(8) std::array<std::byte, max_size> bytes{};
    std::array<FileDescriptor, max_descriptors> descriptors;
    std::size_t descriptor_count = 0;
};

LinkHello make_hello(const RegionShape& shape, const ConfigDigest& digest, Epoch epoch);

/// What of the peer's hello contradicts ours; `us` and `peer` are the names to use.
std::optional<LinkError> compare_hellos(const LinkHello& ours, const LinkHello& theirs, std::string_view us,
                                        std::string_view peer);
/// The same for the versions alone, which any message carries.
std::optional<LinkError> compare_versions(const LinkPrefix& theirs, std::string_view us,
                                          std::string_view peer);

/// The message's body as its kind's struct; an error when its size or its number of descriptors is wrong.
std::expected<LinkHello, LinkError> read_hello(const LinkMessage& message, std::size_t fewest_descriptors,
                                               std::size_t most_descriptors);
/// What the peer refused us for; the text is made printable.
LinkError read_refusal(const LinkMessage& message, std::string_view peer);

/// Sends without blocking. `closed` when the peer is gone, `busy` when it has too much unread.
std::expected<void, LinkError> send_message(int socket, std::span<const std::byte> message,
                                            std::span<const int> descriptors = {});
template <typename Message>
std::expected<void, LinkError> send_message(int socket, Message message,
                                            std::span<const int> descriptors = {}) {
    message.prefix.size = sizeof(Message);
    return send_message(socket, std::as_bytes(std::span(&message, 1)), descriptors);
}
std::expected<void, LinkError> send_signal(int socket, LinkMessageKind kind,
                                           std::span<const int> descriptors = {});
/// Tells the peer why it is left; whether it arrives matters to nobody.
void send_refusal(int socket, const LinkError& error);

/// The next message, nothing when there is none yet, or why there will be none any more. Never blocks.
std::expected<std::optional<LinkMessage>, LinkError> receive_message(int socket);

/// An address for bind() and connect(); an error when the path does not fit (107 bytes).
std::expected<sockaddr_un, LinkError> socket_address(const std::filesystem::path& path);

struct PeerCredentials {
    pid_t pid = 0;
    uid_t user = 0;
};

/// Who is at the other end, as the kernel says; an error unless it is root, this process's user or `allowed`.
std::expected<PeerCredentials, LinkError> check_peer(int socket, std::optional<uid_t> allowed);

/// A LinkError of a system call that failed, with errno's text.
LinkError system_error(std::string_view what);

}  // namespace flowtap::lib
