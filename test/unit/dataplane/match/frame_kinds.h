// Frames of every kind that the parser tells apart, for the tests that want them all.
#pragma once

#include "dataplane/match/frame_parser.h"
#include "test/support/packets.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace flowtap::test {

// A copy that ends where the frame ends, so that ASan sees the first byte beyond.
class Exact {
  public:
    Exact(const Bytes& bytes, std::size_t size)
        : bytes_(std::make_unique<std::uint8_t[]>(size)), size_(size) {
        std::copy_n(bytes.begin(), size, bytes_.get());
    }
    dataplane::match::Frame frame(std::size_t length) const {
        return {bytes_.get(), static_cast<std::uint32_t>(size_), static_cast<std::uint32_t>(length)};
    }
    dataplane::match::Frame frame() const { return frame(size_); }

  private:
    std::unique_ptr<std::uint8_t[]> bytes_;
    std::size_t size_;
};

/// IPv6 with `count` extension headers of `size` bytes, and TCP from port 7 to port 8.
Packet headers_in_a_row(std::size_t count, std::size_t size);

/// Labels from 1000 on.
Packet labels_in_a_row(std::size_t count);

/// One frame of each kind.
std::vector<Bytes> every_kind();

}  // namespace flowtap::test
