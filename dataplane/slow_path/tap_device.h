// The network interface that the kernel gets: a TAP, which is there as long as this object.
//
// Thread safety: one thread at a time.
#pragma once

#include "dataplane/failure.h"
#include "lib/file_descriptor.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace flowtap::dataplane::slow_path {

class TapDevice {
  public:
    /// Makes it, down and without an address (CAP_NET_ADMIN). An interface of that name must not be there.
    static Result<TapDevice> create(const std::string& name);

    int fd() const { return descriptor_.get(); }
    unsigned index() const { return index_; }

    /// A frame that the kernel sends, into `room`: its length; 0: there is none. Never waits.
    std::size_t read(std::span<std::uint8_t> room) const;
    /// Gives the kernel a frame; false: it does not take it. Never waits.
    bool write(std::span<const std::uint8_t> frame) const;

  private:
    TapDevice(lib::FileDescriptor descriptor, unsigned index)
        : descriptor_(std::move(descriptor)), index_(index) {}

    lib::FileDescriptor descriptor_;
    unsigned index_;
};

}  // namespace flowtap::dataplane::slow_path
