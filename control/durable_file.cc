#include "control/durable_file.h"

#include "lib/file_descriptor.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace flowtap::control {

namespace {

std::unexpected<std::string> failed(const std::filesystem::path& file, std::string_view step, int error) {
    return std::unexpected{fmt::format("{}: cannot {}: {}", file.string(), step, std::strerror(error))};
}

int write_all(int descriptor, std::string_view content) {
    while (!content.empty()) {
        const ssize_t written = ::write(descriptor, content.data(), content.size());
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return errno;
        }
        content.remove_prefix(static_cast<std::size_t>(written));
    }
    return 0;
}

}  // namespace

std::expected<void, std::string> write_durably(const std::filesystem::path& file, std::string_view content) {
    const auto directory = file.has_parent_path() ? file.parent_path() : std::filesystem::path{"."};
    auto fresh = file;
    fresh += ".new";

    const lib::FileDescriptor out{
        ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)};
    if (!out) {
        return failed(fresh, "create the file", errno);
    }
    if (const int error = write_all(out.get(), content); error != 0) {
        return failed(fresh, "write", error);
    }
    if (::fsync(out.get()) != 0) {
        return failed(fresh, "bring the content to the medium", errno);
    }
    if (::rename(fresh.c_str(), file.c_str()) != 0) {
        return failed(file, "replace the file", errno);
    }
    const lib::FileDescriptor parent{::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!parent || ::fsync(parent.get()) != 0) {
        return failed(directory, "bring the directory to the medium", errno);
    }
    return {};
}

std::expected<std::optional<std::string>, std::string> read_small_file(const std::filesystem::path& file,
                                                                       std::size_t limit) {
    const lib::FileDescriptor in{::open(file.c_str(), O_RDONLY | O_CLOEXEC)};
    if (!in) {
        if (errno == ENOENT) {
            return std::nullopt;
        }
        return failed(file, "open", errno);
    }
    std::string content(limit + 1, '\0');
    std::size_t size = 0;
    while (size < content.size()) {
        const ssize_t got = ::read(in.get(), content.data() + size, content.size() - size);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return failed(file, "read", errno);
        }
        if (got == 0) {
            break;
        }
        size += static_cast<std::size_t>(got);
    }
    if (size > limit) {
        return std::unexpected{
            fmt::format("{}: larger than {} bytes: not a file of flowtap's", file.string(), limit)};
    }
    content.resize(size);
    return content;
}

}  // namespace flowtap::control
