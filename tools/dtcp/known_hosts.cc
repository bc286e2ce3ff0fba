#include "tools/dtcp/known_hosts.h"

#include "lib/file_descriptor.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <cerrno>
#include <cstddef>
#include <fcntl.h>
#include <memory>
#include <span>
#include <string_view>
#include <system_error>
#include <unistd.h>

namespace flowtap::tools::dtcp {
namespace {

struct FreeKnownHosts {
    void operator()(LIBSSH2_KNOWNHOSTS* hosts) const { libssh2_knownhost_free(hosts); }
};

std::string base64(std::span<const unsigned char> bytes) {
    std::string text((bytes.size() + 2) / 3 * 4 + 1, '\0');
    const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                     static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return text;
}

std::span<const unsigned char> bytes_of(const char* data, std::size_t size) {
    return {reinterpret_cast<const unsigned char*>(data), size};
}

/// As ssh-keygen -l prints it.
std::string fingerprint(LIBSSH2_SESSION* session) {
    const char* hash = libssh2_hostkey_hash(session, LIBSSH2_HOSTKEY_HASH_SHA256);
    if (hash == nullptr) {
        return "(no fingerprint)";
    }
    auto text = base64(bytes_of(hash, 32));
    text.resize(text.find_last_not_of('=') + 1);
    return "SHA256:" + text;
}

/// The key type's name, which an SSH key begins with (RFC 4253 section 6.6): length in four bytes, then text.
std::string_view key_type(std::string_view key) {
    if (key.size() < 4) {
        return {};
    }
    std::size_t size = 0;
    for (const char byte : key.substr(0, 4)) {
        size = size << 8U | static_cast<unsigned char>(byte);
    }
    return key.substr(4, size);
}

std::expected<void, Problem> pin(const std::filesystem::path& file, std::string_view where,
                                 std::string_view key) {
    const auto line =
        fmt::format("{} {} {}\n", where, key_type(key), base64(bytes_of(key.data(), key.size())));
    std::error_code ignored;
    std::filesystem::create_directories(file.parent_path(), ignored);
    const lib::FileDescriptor out{::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)};
    // One write, so that two clients at once do not mix their lines.
    if (!out || ::write(out.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size()) ||
        ::fsync(out.get()) != 0) {
        return std::unexpected(
            Problem{Outcome::local, fmt::format("cannot write the host key to {}: {}", file.string(),
                                                std::generic_category().message(errno))});
    }
    return {};
}

}  // namespace

std::expected<void, Problem> check_host_key(LIBSSH2_SESSION* session, const std::string& host,
                                            std::uint16_t port, const HostKeyPolicy& policy) {
    std::size_t size = 0;
    int type = 0;
    const char* key = libssh2_session_hostkey(session, &size, &type);
    const std::unique_ptr<LIBSSH2_KNOWNHOSTS, FreeKnownHosts> hosts{libssh2_knownhost_init(session)};
    if (key == nullptr || !hosts) {
        return std::unexpected(Problem{Outcome::no_connection, "the server showed no host key"});
    }
    const auto& file = policy.known_hosts;
    const bool exists = ::access(file.c_str(), F_OK) == 0;
    if (exists && libssh2_knownhost_readfile(hosts.get(), file.c_str(), LIBSSH2_KNOWNHOST_FILE_OPENSSH) < 0) {
        return std::unexpected(
            Problem{Outcome::local, fmt::format("cannot read {} as a known_hosts file", file.string())});
    }
    // No key type in the mask: every key known for the host is compared.
    const int found =
        libssh2_knownhost_checkp(hosts.get(), host.c_str(), port, key, size,
                                 LIBSSH2_KNOWNHOST_TYPE_PLAIN | LIBSSH2_KNOWNHOST_KEYENC_RAW, nullptr);
    const auto where = port == 22 ? host : fmt::format("[{}]:{}", host, port);
    switch (found) {
        case LIBSSH2_KNOWNHOST_CHECK_MATCH:
            return {};
        case LIBSSH2_KNOWNHOST_CHECK_NOTFOUND:
            if (policy.accept_new) {
                return pin(file, where, {key, size});
            }
            return std::unexpected(Problem{
                Outcome::host_key,
                fmt::format(
                    "the host key of {} is unknown ({}): compare it with the server's, then add it to {}, "
                    "or run once with --accept-new",
                    where, fingerprint(session), file.string())});
        case LIBSSH2_KNOWNHOST_CHECK_MISMATCH:
            return std::unexpected(Problem{
                Outcome::host_key,
                fmt::format(
                    "THE HOST KEY OF {} IS NOT THE KNOWN ONE ({}): someone may stand between, or the server "
                    "has a new key. Nothing was sent. Make sure, then remove the old key of {} from {}",
                    where, fingerprint(session), where, file.string())});
        default:
            return std::unexpected(Problem{Outcome::host_key, "the server's host key cannot be checked"});
    }
}

}  // namespace flowtap::tools::dtcp
