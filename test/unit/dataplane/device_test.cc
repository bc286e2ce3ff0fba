// What a port's `device` text means.
#include "dataplane/device.h"

#include <catch2/catch.hpp>

namespace {

using namespace std::string_literals;
namespace dataplane = flowtap::dataplane;

TEST_CASE("a PCI address is known in its long and short form") {
    CHECK(dataplane::parse_device("0000:03:00.0", 0)->name == "0000:03:00.0");
    CHECK(dataplane::parse_device("03:00.1", 0)->name == "0000:03:00.1");
    CHECK(dataplane::parse_device("0000:af:1F.7,representor=0", 0)->text() == "0000:af:1F.7,representor=0");
    CHECK(dataplane::parse_device("03:00.0", 0)->pci);
}

TEST_CASE("what is neither an address nor a driver's name is refused with what would be right") {
    for (const char* text :
         {"", "03:00.8", "3:00.0", "0000:03:00", "Eth0", "net pcap", ",iface=x", "03:0g.0"}) {
        const auto device = dataplane::parse_device(text, 0);
        INFO(text);
        REQUIRE_FALSE(device);
        CHECK(device.error().find("expected a PCI address") != std::string::npos);
    }
}

TEST_CASE("virtual devices are named by their port, so that no two clash") {
    CHECK(dataplane::parse_device("net_pcap0,rx_pcap=/a", 3)->text() == "net_pcap3,rx_pcap=/a");
    CHECK(dataplane::parse_device("net_null", 4)->text() == "net_null4");
    CHECK(dataplane::parse_device("net_memif12,role=client", 0)->driver == "net_memif");
}

TEST_CASE("the kernel interface is known where it must exist, and only there") {
    CHECK(dataplane::parse_device("net_af_packet0,iface=eth1", 0)->interface == "eth1");
    CHECK(dataplane::parse_device("net_pcap0,rx_iface=eth2", 0)->interface == "eth2");
    CHECK(dataplane::parse_device("net_tap0,iface=new0", 0)->interface.empty());
    CHECK(dataplane::parse_device("net_vhost0,iface=/run/vm.sock", 0)->interface.empty());
    CHECK(dataplane::parse_device("net_pcap0,rx_pcap=/iface=x", 0)->interface.empty());
}

TEST_CASE("af_packet gets slots that hold a whole frame with the tag that the kernel hands over apart") {
    const auto device = dataplane::parse_device("net_af_packet0,iface=eth1", 0);
    for (const std::uint32_t frame : {64U, 1518U, 1916U, 1917U, 1985U, 2048U, 4090U, 9216U, 65'000U}) {
        const auto complete = dataplane::complete(*device, frame, 2, 512);
        REQUIRE(complete);
        INFO(complete->text());
        CHECK(dataplane::ring_slot(*complete) >= frame + 4 + 66);  // TPACKET2_HDRLEN, kernel's reserve
        CHECK(std::stoul(std::string{*complete->argument("blocksz")}) % 4096 == 0);
        CHECK(std::stoul(std::string{*complete->argument("blocksz")}) >= dataplane::ring_slot(*complete));
        CHECK(complete->argument("qpairs") == "2");
        CHECK(complete->argument("framecnt") == "512");
    }
}

TEST_CASE("what the operator gave stays, unless frames would be cut") {
    const auto device = dataplane::parse_device("net_af_packet0,iface=eth1,framesz=4096,qpairs=7", 0);
    const auto complete = dataplane::complete(*device, 1518, 2, 512);
    REQUIRE(complete);
    CHECK(complete->argument("framesz") == "4096");
    CHECK(complete->argument("qpairs") == "7");
    CHECK_FALSE(dataplane::complete(*device, 9216, 2, 512));
    CHECK_FALSE(dataplane::complete(*dataplane::parse_device("net_af_packet0", 0), 64, 1, 512));
    CHECK(dataplane::complete(*dataplane::parse_device("net_null0", 0), 9216, 1, 512)->text() == "net_null0");
}

TEST_CASE("each device asks for the capabilities that opening it takes, and no file needs any") {
    const auto needs = [](const char* text) {
        return dataplane::required_capabilities(*dataplane::parse_device(text, 0), 1U << 30U).size();
    };
    CHECK(needs("net_af_packet0,iface=eth1") == 2);
    CHECK(needs("net_pcap0,iface=eth1") == 1);
    CHECK(needs("net_pcap0,rx_pcap=/a") == 0);
    CHECK(needs("net_null0") == 0);
}

}  // namespace
