// The preface: what the bridge writes is what control reads, whatever pieces it comes in; nothing else passes
// for it.
#include "control/preface.h"

#include <catch2/catch.hpp>

#include <string>

namespace flowtap::control {
namespace {

std::optional<lib::IpAddress> address(std::string_view text) {
    return lib::parse_address(text).value();
}

TEST_CASE("what sshd says of the client comes through, and only what can be an address") {
    for (const auto* client : {"192.0.2.7", "2001:db8::7", "::1", "255.255.255.255"}) {
        const auto preface = write_preface((std::string{client} + " 51234 192.0.2.1 32001").c_str());
        const auto read = read_preface(preface);
        CHECK(read.state == Preface::whole);
        CHECK(read.size == preface.size());
        CHECK(read.address == address(client));
    }
    CHECK(read_preface(write_preface("fe80::7%eth0 1 fe80::1%eth0 2")).address == address("fe80::7"));
    CHECK(read_preface(write_preface("::ffff:192.0.2.7 1 ::ffff:192.0.2.1 2")).address ==
          address("192.0.2.7"));
    // Lines of its own, or more than fits, are no address: what follows stays DTCP.
    for (const auto* wrong :
         {static_cast<const char*>(nullptr), "", " ", "UNKNOWN 65535 UNKNOWN 65535", "1.2.3.4\n5 1 2 3",
          "0000000000000000000000000000000000000000000000001 1 2 3"}) {
        const auto preface = write_preface(wrong);
        CHECK(preface == std::string{preface_head} + "-\n");
        const auto read = read_preface(preface);
        CHECK(read.state == Preface::whole);
        CHECK_FALSE(read.address.has_value());
    }
}

TEST_CASE("a preface that comes byte by byte is the same one, and what follows it is left alone") {
    const auto preface = write_preface("2001:db8::7 51234 2001:db8::1 32001");
    for (std::size_t size = 0; size < preface.size(); ++size) {
        REQUIRE(read_preface(std::string_view{preface}.substr(0, size)).state == Preface::incomplete);
    }
    const auto both = preface + preface + "NOOP DTCP/0.7\r\n";
    CHECK(read_preface(both).size == preface.size());
}

TEST_CASE("a connection that starts with DTCP, or with white space, has no preface") {
    for (const auto* start : {"N", "ADD DTCP/0.7\r\n", "\r\n", " \x01", "\xff"}) {
        CHECK(read_preface(start).state == Preface::none);
    }
}

TEST_CASE("what starts like a preface and is none is malformed as soon as that shows") {
    const std::string head{preface_head};
    CHECK(read_preface("\x01"
                       "FLOWTAP-CLIENX")
              .state == Preface::malformed);
    CHECK(read_preface("\x01\n").state == Preface::malformed);
    for (const auto* wrong : {"\n", "1.2.3\n", "192.0.2.7 \n", "192.0.2.7\r\n", "--\n", "300.0.0.1\n"}) {
        CHECK(read_preface(head + wrong).state == Preface::malformed);
    }
    const std::string filler(longest_preface - head.size(), '1');
    CHECK(read_preface(head + filler.substr(1)).state == Preface::incomplete);
    CHECK(read_preface(head + filler).state == Preface::malformed);
    CHECK(read_preface(head + filler + "\n").state == Preface::malformed);
}

}  // namespace
}  // namespace flowtap::control
