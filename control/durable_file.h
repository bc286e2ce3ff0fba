// Small files that must survive a crash of the process or of the machine: whole or not at all, and in order.
#pragma once

#include <cstddef>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace flowtap::control {

/// Replaces the file's content. On return the content is on the medium (file and directory are synced); on an
/// error, or after a crash at any point, the old content is. Mode 0600. Errors name the file and the step.
std::expected<void, std::string> write_durably(const std::filesystem::path& file, std::string_view content);

/// The whole content; nothing where there is no such file. A file larger than `limit` bytes is an error.
std::expected<std::optional<std::string>, std::string> read_small_file(const std::filesystem::path& file,
                                                                       std::size_t limit);

}  // namespace flowtap::control
