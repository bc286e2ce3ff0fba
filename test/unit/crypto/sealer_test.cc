// What sealing puts on the wire, judged by OpenSSL and by a reading of the bytes that shares no code with the
// sealer.
#include "crypto/sealer.h"

#include "test/unit/crypto/esp_fixture.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <random>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

namespace flowtap::test {
namespace {

using crypto::CounterBlock;
using crypto::Implementation;
using crypto::largest_headroom;
using crypto::largest_tailroom;
using crypto::OutboundSa;
using crypto::SealJob;
using crypto::SealVerdict;
using crypto::Shortage;
using lib::Family;

std::uint64_t number(std::span<const std::uint8_t> bytes) {
    std::uint64_t value = 0;
    for (const std::uint8_t byte : bytes) {
        value = value << 8 | byte;
    }
    return value;
}

/// RFC 1071 over a whole header: 0xffff when its checksum is right.
std::uint32_t checksum_sum(std::span<const std::uint8_t> header) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < header.size(); i += 2) {
        sum += static_cast<std::uint32_t>(header[i] << 8 | header[i + 1]);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/// Looks at an outer packet field by field and returns what OpenSSL finds inside, trailer included.
Bytes read_sealed(const Bytes& packet, Family outer, std::uint64_t counter, std::uint8_t ds) {
    const std::span<const std::uint8_t> all = packet;
    const std::size_t header = outer == Family::ipv4 ? 20 : 40;
    if (outer == Family::ipv4) {
        CHECK(packet[0] == 0x45);
        CHECK(packet[1] == ds);
        CHECK(number(all.subspan(2, 2)) == packet.size());
        CHECK(number(all.subspan(4, 2)) == (counter & 0xffff));
        CHECK(number(all.subspan(6, 2)) == 0);  // DF clear, not a fragment
        CHECK(packet[8] == 64);
        CHECK(packet[9] == 50);
        CHECK(checksum_sum(all.first(20)) == 0xffff);
        CHECK(number(all.subspan(12, 8)) == 0x646464647b7b7b7b);
    } else {
        CHECK(number(all.first(4)) == (std::uint32_t{6} << 28 | static_cast<std::uint32_t>(ds) << 20));
        CHECK(number(all.subspan(4, 2)) == packet.size() - 40);
        CHECK(packet[6] == 50);
        CHECK(packet[7] == 64);
        CHECK(Bytes(all.begin() + 8, all.begin() + 40) ==
              concat({address("2001:db8::100").bytes, address("2001:db8:ffff::1").bytes}));
    }
    const auto esp = all.subspan(header);
    CHECK(number(esp.first(4)) == std::to_underlying(spi));
    CHECK(number(esp.subspan(4, 4)) == (counter & 0xffffffff));
    CHECK(number(esp.subspan(8, 8)) == counter);
    Bytes text(esp.begin() + 16, esp.end() - 16);
    CHECK(openssl_open(key().first(32), concat({key().subspan(32), esp.subspan(8, 8)}), esp.first(8), text,
                       esp.last(16)));
    return text;
}

/// Padding 1, 2, 3 to a multiple of 4, pad length, next header (RFC 4303 sections 2.4 to 2.6).
Bytes with_trailer(Bytes inner, std::uint8_t next_header) {
    std::uint8_t padding = 0;
    while ((inner.size() + 2) % 4 != 0) {
        inner.push_back(++padding);
    }
    inner.push_back(padding);
    inner.push_back(next_header);
    return inner;
}

TEST_CASE("every size, inner and outer version is sealed as RFC 4303 and RFC 4106 say") {
    std::mt19937_64 random(3);
    auto sealer = make_sealer();
    for (const Family outer : {Family::ipv4, Family::ipv6}) {
        const auto sa = make_sa(outbound(outer));
        std::uint64_t counter = 1;
        for (std::size_t size = 20; size <= 2000; ++size) {
            const Bytes inner = ipv4_packet(random, size);
            REQUIRE(read_sealed(seal(sealer, *sa, inner), outer, counter++, 0) == with_trailer(inner, 4));
            if (size >= 40) {
                const Bytes inner6 = ipv6_packet(random, size);
                REQUIRE(read_sealed(seal(sealer, *sa, inner6), outer, counter++, 0) ==
                        with_trailer(inner6, 41));
            }
        }
    }
}

TEST_CASE("every implementation seals alike, from one place and from two") {
    for (const Implementation implementation : implementations()) {
        std::mt19937_64 random(4);
        auto sealer = make_sealer(implementation);
        const auto sa =
            OutboundSa::create(crypto::Engine::create(implementation).value(), outbound()).value();
        INFO(to_string(implementation));
        for (std::uint64_t counter = 1; counter < 1200; ++counter) {
            const Bytes inner = ipv4_packet(random, 28 + counter);
            const std::span<const std::uint8_t> body = std::span(inner).subspan(28);
            Bytes buffer(sa->sealed_size(inner.size()));
            std::uint8_t* const place = buffer.data() + sa->headroom();
            const bool gathered = counter % 3 != 0;
            std::copy_n(inner.begin(), gathered ? 28 : inner.size(), place);
            std::array<SealJob, 1> jobs{{{.inner = place,
                                          .length = static_cast<std::uint32_t>(inner.size()),
                                          .room = static_cast<std::uint32_t>(buffer.size() - sa->headroom()),
                                          .body = gathered ? body.data() : nullptr,
                                          .body_length = static_cast<std::uint32_t>(body.size())}}};
            REQUIRE(sealer.seal_burst(sa->take(1), jobs) == 1);
            REQUIRE(read_sealed(buffer, Family::ipv4, counter, 0) == with_trailer(inner, 4));
        }
    }
}

TEST_CASE("the IV is the whole counter, the sequence number its low half") {
    std::mt19937_64 random(3);
    auto sealer = make_sealer();
    for (const std::uint64_t first : {std::uint64_t{0xfffffffe}, std::uint64_t{0x1234567800000010}}) {
        auto parameters = outbound();
        parameters.lease = {first, 100};
        const auto sa = make_sa(parameters);
        const Bytes inner = ipv4_packet(random, 100);
        CHECK(read_sealed(seal(sealer, *sa, inner), Family::ipv4, first, 0) == with_trailer(inner, 4));
        CHECK(read_sealed(seal(sealer, *sa, inner), Family::ipv4, first + 1, 0) == with_trailer(inner, 4));
    }
}

TEST_CASE("ECN is copied outwards, and DSCP too unless one is configured") {
    std::mt19937_64 random(3);
    auto sealer = make_sealer();
    for (const Family outer : {Family::ipv4, Family::ipv6}) {
        const auto copying = make_sa(outbound(outer));
        auto parameters = outbound(outer);
        parameters.dscp = 46;
        const auto fixed = make_sa(parameters);
        for (unsigned ds = 0; ds < 256; ++ds) {
            const auto inner_ds = static_cast<std::uint8_t>(ds);
            const auto fixed_ds = static_cast<std::uint8_t>(46 << 2 | (ds & 3));
            read_sealed(seal(sealer, *copying, ipv4_packet(random, 60, inner_ds)), outer, 2 * ds + 1,
                        inner_ds);
            read_sealed(seal(sealer, *copying, ipv6_packet(random, 60, inner_ds)), outer, 2 * ds + 2,
                        inner_ds);
            read_sealed(seal(sealer, *fixed, ipv4_packet(random, 60, inner_ds)), outer, 2 * ds + 1, fixed_ds);
            read_sealed(seal(sealer, *fixed, ipv6_packet(random, 60, inner_ds)), outer, 2 * ds + 2, fixed_ds);
        }
    }
}

TEST_CASE("a body from elsewhere gives the same packet as one in place, and is only read") {
    std::mt19937_64 random(3);
    auto sealer = make_sealer();
    const auto in_place = make_sa(outbound());
    const auto gathered = make_sa(outbound());
    for (std::size_t size = 28; size <= 1600; size += 1 + size / 40) {
        for (const std::size_t head : {std::size_t{20}, std::size_t{28}, size}) {
            const Bytes inner = ipv4_packet(random, size);
            const Bytes expected = seal(sealer, *in_place, inner);
            const Bytes body(inner.begin() + static_cast<std::ptrdiff_t>(head), inner.end());
            const Bytes before = body;
            Bytes buffer(expected.size(), 0xee);
            std::copy_n(inner.begin(), head,
                        buffer.begin() + static_cast<std::ptrdiff_t>(gathered->headroom()));
            std::array<SealJob, 1> jobs{
                {{.inner = buffer.data() + gathered->headroom(),
                  .length = static_cast<std::uint32_t>(size),
                  .room = static_cast<std::uint32_t>(buffer.size() - gathered->headroom()),
                  .body = body.data(),
                  .body_length = static_cast<std::uint32_t>(body.size())}}};
            REQUIRE(sealer.seal_burst(gathered->take(1), jobs) == 1);
            REQUIRE(buffer == expected);
            REQUIRE(body == before);
        }
    }
}

TEST_CASE("a burst is sealed in order, and not one byte beside its packets is written") {
    std::mt19937_64 random(3);
    auto sealer = make_sealer();
    const auto sa = make_sa(outbound(Family::ipv6));
    constexpr std::size_t around = 64;
    std::vector<Bytes> inners;
    std::vector<Bytes> buffers;
    std::vector<SealJob> jobs;
    for (std::size_t i = 0; i < 64; ++i) {
        inners.push_back(ipv4_packet(random, 20 + random() % 1500));
        Bytes buffer(around + sa->sealed_size(inners[i].size()) + around, 0xee);
        std::ranges::copy(inners[i], buffer.begin() + around + static_cast<std::ptrdiff_t>(sa->headroom()));
        buffers.push_back(std::move(buffer));
        jobs.push_back({.inner = buffers[i].data() + around + sa->headroom(),
                        .length = static_cast<std::uint32_t>(inners[i].size()),
                        .room = static_cast<std::uint32_t>(buffers[i].size() - around - sa->headroom())});
    }
    REQUIRE(sealer.seal_burst(sa->take(64), jobs) == 64);
    for (std::size_t i = 0; i < 64; ++i) {
        const std::span<const std::uint8_t> buffer = buffers[i];
        const auto untouched = [](std::span<const std::uint8_t> bytes) {
            return std::ranges::all_of(bytes, [](std::uint8_t byte) { return byte == 0xee; });
        };
        CHECK(untouched(buffer.first(around)));
        CHECK(untouched(buffer.last(around)));
        CHECK(jobs[i].sealed == buffer.data() + around);
        const auto packet = buffer.subspan(around, jobs[i].sealed_length);
        CHECK(packet.size() == buffer.size() - 2 * around);
        CHECK(read_sealed(Bytes(packet.begin(), packet.end()), Family::ipv6, i + 1, 0) ==
              with_trailer(inners[i], 4));
    }
}

/// The verdict on one packet in a buffer that is roomy but for `room`.
SealVerdict verdict_of(OutboundSa& sa, const Bytes& inner, std::size_t room, std::size_t body_length = 0) {
    auto sealer = make_sealer();
    Bytes buffer(largest_headroom);
    buffer.insert(buffer.end(), inner.begin(), inner.end());
    buffer.resize(buffer.size() + largest_tailroom);
    const Bytes body(body_length);
    std::array<SealJob, 1> jobs{{{.inner = buffer.data() + largest_headroom,
                                  .length = static_cast<std::uint32_t>(inner.size()),
                                  .room = static_cast<std::uint32_t>(room),
                                  .body = body_length > 0 ? body.data() : nullptr,
                                  .body_length = static_cast<std::uint32_t>(body_length)}}};
    const Bytes before = buffer;
    const bool sealed = sealer.seal_burst(sa.take(1), jobs) == 1;
    CHECK(sealed == (jobs[0].verdict == SealVerdict::sealed));
    CHECK(sealed == (buffer != before));
    return jobs[0].verdict;
}

TEST_CASE("what cannot be sealed is refused by its name, untouched") {
    std::mt19937_64 random(3);
    const auto sa = make_sa(outbound());
    const auto sa6 = make_sa(outbound(Family::ipv6));
    const Bytes packet = ipv4_packet(random, 101);
    const std::size_t tail = sa->tailroom(101);
    CHECK(verdict_of(*sa, packet, 101 + tail) == SealVerdict::sealed);
    CHECK(verdict_of(*sa, packet, 101 + tail - 1) == SealVerdict::no_room);
    CHECK(verdict_of(*sa, packet, 0) == SealVerdict::no_room);

    CHECK(verdict_of(*sa, {}, 1000) == SealVerdict::not_ip);
    CHECK(verdict_of(*sa, ipv4_packet(random, 20), 1000) == SealVerdict::sealed);
    CHECK(verdict_of(*sa, Bytes(19, 0x45), 1000) == SealVerdict::not_ip);
    CHECK(verdict_of(*sa, ipv6_packet(random, 40), 1000) == SealVerdict::sealed);
    CHECK(verdict_of(*sa, Bytes(39, 0x60), 1000) == SealVerdict::not_ip);
    CHECK(verdict_of(*sa, Bytes(100, 0x55), 1000) == SealVerdict::not_ip);
    CHECK(verdict_of(*sa, packet, 1000, 81) == SealVerdict::sealed);
    CHECK(verdict_of(*sa, packet, 1000, 82) == SealVerdict::not_ip);
    CHECK(verdict_of(*sa, packet, 1000, 102) == SealVerdict::not_ip);

    // 65535 = 20 + 8 + 8 + inner + 2 + 16, with no padding; IPv6 does not count its own header.
    CHECK(verdict_of(*sa, ipv4_packet(random, 65'478), 100'000) == SealVerdict::sealed);
    CHECK(verdict_of(*sa, ipv4_packet(random, 65'479), 100'000) == SealVerdict::too_big);
    CHECK(verdict_of(*sa6, ipv4_packet(random, 65'498), 100'000) == SealVerdict::sealed);
    CHECK(verdict_of(*sa6, ipv4_packet(random, 65'499), 100'000) == SealVerdict::too_big);
}

TEST_CASE("packets beyond the counter block are refused, and a refused packet's value stays unused") {
    std::mt19937_64 random(3);
    auto sealer = make_sealer();
    auto parameters = outbound();
    parameters.lease = {0, 4};  // values 1, 2, 3
    const auto sa = make_sa(parameters);
    std::array<Bytes, 4> buffers;
    std::array<SealJob, 4> jobs;
    for (std::size_t i = 0; i < 4; ++i) {
        buffers[i] = Bytes(sa->headroom());
        const Bytes inner = ipv4_packet(random, 30);
        buffers[i].insert(buffers[i].end(), inner.begin(), inner.end());
        buffers[i].resize(sa->sealed_size(30));
        jobs[i] = {.inner = buffers[i].data() + sa->headroom(), .length = 30, .room = i == 1 ? 30U : 64U};
    }
    auto block = sa->take(4);
    CHECK(block.count() == 3);
    CHECK(block.shortage() == Shortage::no_lease);
    CHECK(sealer.seal_burst(std::move(block), jobs) == 2);
    CHECK(jobs[0].verdict == SealVerdict::sealed);
    CHECK(jobs[1].verdict == SealVerdict::no_room);
    CHECK(jobs[2].verdict == SealVerdict::sealed);
    CHECK(jobs[3].verdict == SealVerdict::no_counter);
    CHECK(number(std::span(buffers[2]).subspan(24, 4)) == 3);

    CHECK(sealer.seal_burst(sa->take(4), jobs) == 0);
    CHECK(
        std::ranges::all_of(jobs, [](const SealJob& job) { return job.verdict == SealVerdict::no_counter; }));
}

TEST_CASE("a counter block seals once, whoever still holds it") {
    std::mt19937_64 random(3);
    auto sealer = make_sealer();
    const auto sa = make_sa(outbound());
    Bytes buffer(sa->headroom());
    const Bytes inner = ipv4_packet(random, 30);
    buffer.insert(buffer.end(), inner.begin(), inner.end());
    buffer.resize(sa->sealed_size(30));
    std::array<SealJob, 1> jobs{{{.inner = buffer.data() + sa->headroom(), .length = 30, .room = 64}}};
    CounterBlock block = sa->take(1);
    CHECK(sealer.seal_burst(std::move(block), jobs) == 1);
    CHECK(sealer.seal_burst(std::move(block), jobs) == 0);
    CHECK(jobs[0].verdict == SealVerdict::no_counter);
}

TEST_CASE("a key schedule of another implementation is not used") {
    const auto all = implementations();
    std::mt19937_64 random(3);
    const auto sa = make_sa(outbound());
    for (const Implementation implementation : all) {
        auto sealer = make_sealer(implementation);
        Bytes buffer(sa->headroom());
        const Bytes inner = ipv4_packet(random, 30);
        buffer.insert(buffer.end(), inner.begin(), inner.end());
        buffer.resize(sa->sealed_size(30));
        std::array<SealJob, 1> jobs{{{.inner = buffer.data() + sa->headroom(), .length = 30, .room = 64}}};
        sealer.seal_burst(sa->take(1), jobs);
        CHECK(jobs[0].verdict ==
              (implementation == sa->key().implementation() ? SealVerdict::sealed : SealVerdict::no_cipher));
    }
}

/// From here on the kernel kills this process at any system call but the one that ends it.
bool forbid_system_calls() {
    std::array<sock_filter, 4> program{{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit_group, 0, 1),
                                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)}};
    const sock_fprog filter{program.size(), program.data()};
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_CASE("sealing makes no system call, and so neither waits, allocates from the kernel nor logs",
          "[as-shipped]") {
    const pid_t child = ::fork();
    if (child == 0) {
        std::mt19937_64 random(3);
        auto sealer = make_sealer();
        const auto sa = make_sa(outbound());
        const Bytes inner = ipv4_packet(random, 1400);
        std::array<std::array<std::uint8_t, 2048>, 32> buffers{};
        std::array<SealJob, 32> jobs;
        if (!forbid_system_calls()) {
            ::_exit(2);
        }
        bool sealed = true;
        for (int i = 0; i < 1000; ++i) {
            for (std::size_t j = 0; j < jobs.size(); ++j) {
                std::uint8_t* const place = buffers[j].data() + 100;
                std::copy_n(inner.begin(), 20, place);
                jobs[j] = {.inner = place,
                           .length = 1400,
                           .room = 1900,
                           .body = inner.data() + 20,
                           .body_length = 1380};
            }
            sealed = sealer.seal_burst(sa->take(32), jobs) == 32 && sealed;
        }
        ::_exit(sealed ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

}  // namespace
}  // namespace flowtap::test
