// Which next hop the copies take, by what the kernel says of the neighbours.
#include "dataplane/slow_path/next_hop_keeper.h"

#include "test/unit/dataplane/slow_path/site.h"

#include <catch2/catch.hpp>

#include <optional>
#include <string_view>

namespace {

namespace lib = flowtap::lib;
using flowtap::dataplane::NextHop;
using flowtap::dataplane::NextHops;
using flowtap::dataplane::slow_path::NextHopKeeper;

constexpr lib::MacAddress first{2, 0, 0, 0, 0, 1};
constexpr lib::MacAddress second{2, 0, 0, 0, 0, 2};
constexpr lib::MacAddress third{2, 0, 0, 0, 0, 3};
constexpr std::size_t far = 0;
constexpr std::size_t near = 1;

struct Keeper {
    lib::Config config = flowtap::test::slow_path_site();
    NextHops hops{config.tunnels.size()};
    std::array<lib::Counter, lib::max_next_hops> shown{};
    NextHopKeeper keeper{config, hops, shown};

    void learn(std::string_view address, std::optional<lib::MacAddress> mac) {
        keeper.learn({.interface = 1, .address = *lib::parse_address(address), .mac = mac});
    }
    std::optional<lib::MacAddress> shows(std::size_t place) const {
        return lib::next_hop_mac(shown[place].load());
    }
};

TEST_CASE_METHOD(Keeper,
                 "nothing is known before the kernel has said it, and what is no next hop is nothing") {
    learn("192.0.2.7", first);
    CHECK_FALSE(hops.of(lib::Family::ipv4).known());
    CHECK_FALSE(hops.of(lib::Family::ipv6).known());
    CHECK_FALSE(hops.of_tunnel(far).known());
    CHECK_FALSE(hops.of_tunnel(near).known());
}

TEST_CASE_METHOD(Keeper, "the first gateway that answers is taken, in the order of the configuration") {
    learn("192.0.2.253", second);
    CHECK(hops.of(lib::Family::ipv4) == NextHop{second});
    CHECK(hops.of_tunnel(far) == NextHop{second});
    CHECK_FALSE(hops.of(lib::Family::ipv6).known());
    learn("192.0.2.254", first);
    CHECK(hops.of(lib::Family::ipv4) == NextHop{first});
    learn("192.0.2.254", std::nullopt);
    CHECK(hops.of(lib::Family::ipv4) == NextHop{second});
    learn("192.0.2.254", third);
    CHECK(hops.of_tunnel(far) == NextHop{third});
    learn("2001:db8:d::fe", first);
    CHECK(hops.of(lib::Family::ipv6) == NextHop{first});
}

TEST_CASE_METHOD(Keeper, "a tunnel whose remote end is on the link goes there, and nothing else does") {
    learn("192.0.2.99", third);
    CHECK(hops.of_tunnel(near) == NextHop{third});
    CHECK_FALSE(hops.of_tunnel(far).known());
    learn("192.0.2.254", first);
    CHECK(hops.of_tunnel(near) == NextHop{third});
}

TEST_CASE_METHOD(Keeper, "while none answers it stays where it was, and is shown as silent") {
    learn("192.0.2.254", first);
    CHECK(shows(0) == first);
    learn("192.0.2.254", std::nullopt);
    CHECK(hops.of(lib::Family::ipv4) == NextHop{first});
    CHECK_FALSE(shows(0));
}

TEST_CASE_METHOD(Keeper, "what a whole account leaves out is silent") {
    learn("192.0.2.254", first);
    learn("192.0.2.253", second);
    keeper.begin();
    learn("192.0.2.253", second);
    CHECK(shows(0) == first);
    keeper.end();
    CHECK_FALSE(shows(0));
    CHECK(shows(1) == second);
    CHECK(hops.of(lib::Family::ipv4) == NextHop{second});
}

}  // namespace
