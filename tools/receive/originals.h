// Where original packets go: to one file, to a folder of them, or nowhere. Not thread-safe.
#pragma once

#include "tools/receive/capture.h"
#include "tools/receive/rotating_files.h"

#include <cerrno>
#include <cstring>
#include <expected>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <unistd.h>
#include <utility>

namespace flowtap::tools::receive {

class Originals {
  public:
    /// An empty path or folder: none; not both.
    static std::expected<Originals, CaptureError> create(const std::filesystem::path& file,
                                                         const Rotation& rotation) {
        Originals originals;
        if (!file.empty()) {
            auto sink = Sink::create(file);
            if (!sink) {
                return std::unexpected(sink.error());
            }
            originals.file_.emplace(std::move(*sink));
        }
        if (!rotation.folder.empty()) {
            // Now, rather than with the first packet, which may be days away.
            if (::access(rotation.folder.c_str(), W_OK | X_OK) != 0) {
                return std::unexpected(CaptureError{"cannot make files in " + rotation.folder.string() +
                                                    ": " + std::strerror(errno)});
            }
            originals.files_.emplace(rotation);
        }
        return originals;
    }

    std::expected<void, std::string> write(std::span<const std::uint8_t> packet, const timeval& time) {
        if (file_) {
            return file_->write(packet, time);
        }
        return files_ ? files_->write(packet, time, RotatingFiles::Clock::now()) : Done{};
    }
    /// What was written is in the files then.
    std::expected<void, std::string> tend() {
        if (file_) {
            return file_->flush();
        }
        return files_ ? files_->tend(RotatingFiles::Clock::now()) : Done{};
    }
    /// And they are complete.
    std::expected<void, std::string> close() {
        Done done = tend();
        return done && files_ ? files_->close() : done;
    }

  private:
    using Done = std::expected<void, std::string>;

    Originals() = default;

    std::optional<Sink> file_;
    std::optional<RotatingFiles> files_;
};

}  // namespace flowtap::tools::receive
