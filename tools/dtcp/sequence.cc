#include "tools/dtcp/sequence.h"

#include "lib/file_descriptor.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fcntl.h>
#include <string>
#include <sys/file.h>
#include <system_error>
#include <unistd.h>

namespace flowtap::tools::dtcp {
namespace {

Problem file_problem(const std::filesystem::path& file, int error) {
    return {Outcome::local, fmt::format("the sequence number cannot be kept in {}: {} (--seq N does without)",
                                        file.string(), std::generic_category().message(error))};
}

bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

}  // namespace

std::filesystem::path default_state_directory() {
    const char* state = std::getenv("XDG_STATE_HOME");
    if (state != nullptr && *state == '/') {
        return std::filesystem::path(state) / "flowtap" / "dtcp";
    }
    const char* home = std::getenv("HOME");
    return std::filesystem::path(home != nullptr ? home : "/") / ".local" / "state" / "flowtap" / "dtcp";
}

std::filesystem::path sequence_file(const std::filesystem::path& directory, std::string_view csource) {
    std::string name;
    for (const char c : csource) {
        name += is_plain(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return directory / (name + ".seq");
}

std::expected<std::uint64_t, Problem> take_sequence_numbers(const std::filesystem::path& directory,
                                                            std::string_view csource, std::uint64_t count) {
    const auto file = sequence_file(directory, csource);
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    const lib::FileDescriptor descriptor{::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)};
    if (!descriptor || ::flock(descriptor.get(), LOCK_EX) != 0) {
        return std::unexpected(file_problem(file, errno));
    }
    std::array<char, 32> text{};
    const auto size = ::pread(descriptor.get(), text.data(), text.size(), 0);
    if (size < 0) {
        return std::unexpected(file_problem(file, errno));
    }
    std::uint64_t last = 0;
    if (size > 0) {
        const char* end = text.data() + size;
        const auto [rest, wrong] = std::from_chars(text.data(), end, last);
        if (wrong != std::errc{} || rest == end || *rest != '\n') {
            return std::unexpected(
                Problem{Outcome::local, fmt::format("{} does not hold a sequence number and a line end; "
                                                    "--seq N does without it",
                                                    file.string())});
        }
    }
    // Padded to one width: the file is overwritten in place and never shorter than before.
    const auto line = fmt::format("{:020}\n", last + count);
    if (::pwrite(descriptor.get(), line.data(), line.size(), 0) != static_cast<ssize_t>(line.size()) ||
        ::fdatasync(descriptor.get()) != 0) {
        return std::unexpected(file_problem(file, errno));
    }
    return last + 1;
}

}  // namespace flowtap::tools::dtcp
