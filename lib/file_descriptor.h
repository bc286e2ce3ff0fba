// A file descriptor that is closed once, by its owner.
#pragma once

#include <unistd.h>
#include <utility>

namespace flowtap::lib {

/// Owns a descriptor or none; move-only.
class FileDescriptor {
  public:
    FileDescriptor() = default;
    /// Takes ownership; -1 is none.
    explicit FileDescriptor(int descriptor) : descriptor_(descriptor) {}
    FileDescriptor(FileDescriptor&& other) noexcept : descriptor_(other.release()) {}
    FileDescriptor& operator=(FileDescriptor&& other) noexcept {
        if (this != &other) {
            reset();
            descriptor_ = other.release();
        }
        return *this;
    }
    FileDescriptor(const FileDescriptor&) = delete;
    FileDescriptor& operator=(const FileDescriptor&) = delete;
    ~FileDescriptor() { reset(); }

    int get() const { return descriptor_; }
    explicit operator bool() const { return descriptor_ >= 0; }

    /// Gives the descriptor to the caller, who closes it.
    [[nodiscard]] int release() { return std::exchange(descriptor_, -1); }

    void reset() {
        if (descriptor_ >= 0) {
            ::close(release());
        }
    }

  private:
    int descriptor_ = -1;
};

}  // namespace flowtap::lib
