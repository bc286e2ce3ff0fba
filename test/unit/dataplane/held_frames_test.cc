// Frames that are held beyond their sending: whatever the driver does to a buffer then, the bytes are there.
#include "dataplane/held_frames.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

namespace {

using namespace flowtap::dataplane;
using Bytes = std::vector<std::uint8_t>;

/// A frame of one buffer that belongs to no pool.
struct Buffer {
    std::unique_ptr<rte_mbuf> whole = std::make_unique<rte_mbuf>();
    rte_mbuf& mbuf = *whole;
    Bytes bytes;

    explicit Buffer(std::size_t size) : bytes(size) {
        std::iota(bytes.begin(), bytes.end(), std::uint8_t{1});
        mbuf.buf_addr = bytes.data();
        mbuf.buf_len = static_cast<std::uint16_t>(size);
        mbuf.data_len = static_cast<std::uint16_t>(size);
        mbuf.pkt_len = static_cast<std::uint32_t>(size);
        mbuf.nb_segs = 1;
        rte_mbuf_refcnt_set(&mbuf, 1);
    }
};

Bytes bytes_of(const HeldFrame& frame) {
    return {frame.data, frame.data + frame.readable};
}

TEST_CASE("a short frame's bytes outlast its buffer, of every length") {
    const auto held = std::make_unique<HeldFrames>();
    for (std::size_t size = 1; size <= longest_short_copy; ++size) {
        Buffer buffer(size);
        const Bytes sent = buffer.bytes;
        held->keep(buffer.mbuf, 7);
        CHECK(rte_mbuf_refcnt_read(&buffer.mbuf) == 1);  // the driver's alone
        std::ranges::fill(buffer.bytes, std::uint8_t{0xee});
        REQUIRE(held->frames().size() == 1);
        const HeldFrame& frame = held->frames()[0];
        CHECK(frame.place == 7);
        CHECK(frame.length == size);
        CHECK(bytes_of(frame) == sent);
        held->release();
        CHECK(held->empty());
    }
}

TEST_CASE("a longer frame's buffer is held until its release") {
    const auto held = std::make_unique<HeldFrames>();
    Buffer buffer(longest_short_copy + 1);
    held->keep(buffer.mbuf, 0);
    CHECK(rte_mbuf_refcnt_read(&buffer.mbuf) == 2);
    CHECK(held->frames()[0].data == buffer.bytes.data());
    held->release();
    CHECK(rte_mbuf_refcnt_read(&buffer.mbuf) == 1);
}

TEST_CASE("a frame in several buffers is held by them, however short it is") {
    const auto held = std::make_unique<HeldFrames>();
    Buffer first(20);
    Buffer second(30);
    first.mbuf.next = &second.mbuf;
    first.mbuf.nb_segs = 2;
    first.mbuf.pkt_len = 50;
    held->keep(first.mbuf, 0);
    CHECK(rte_mbuf_refcnt_read(&first.mbuf) == 2);
    CHECK(rte_mbuf_refcnt_read(&second.mbuf) == 2);
    CHECK(held->frames()[0].readable == 20);
    CHECK(held->frames()[0].length == 50);
    held->release();
    CHECK(rte_mbuf_refcnt_read(&second.mbuf) == 1);
}

TEST_CASE("frames of a burst are kept apart") {
    const auto held = std::make_unique<HeldFrames>();
    std::vector<std::unique_ptr<Buffer>> buffers;
    for (std::size_t i = 0; i < burst_size; ++i) {
        buffers.push_back(std::make_unique<Buffer>(40 + 4 * i));
        buffers[i]->bytes[0] = static_cast<std::uint8_t>(i);
        held->keep(buffers[i]->mbuf, i);
    }
    REQUIRE(held->frames().size() == burst_size);
    for (std::size_t i = 0; i < burst_size; ++i) {
        CHECK(bytes_of(held->frames()[i]) == buffers[i]->bytes);
    }
    held->release();
}

TEST_CASE("a short copy writes its bytes and no other, of every length") {
    for (std::size_t size = 0; size <= 2 * longest_short_copy; ++size) {
        Bytes from(size);
        std::iota(from.begin(), from.end(), std::uint8_t{3});
        Bytes to(size + 64, 0xee);
        copy_bytes(to.data() + 32, from.data(), size);
        Bytes expected(size + 64, 0xee);
        std::ranges::copy(from, expected.begin() + 32);
        REQUIRE(to == expected);
    }
}

}  // namespace
