// Seals every packet of a pcap file (link type raw IP) with crypto/ and writes the outer packets to another,
// for oracles that know nothing of this project. A test program: it leases itself the counter that it is
// told.
#include "crypto/engine.h"
#include "crypto/outbound_sa.h"
#include "crypto/sealer.h"
#include "lib/address.h"
#include "lib/config.h"
#include "lib/sa_file.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <pcap/pcap.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace flowtap::test {
namespace {

struct Arguments {
    std::string sa;
    std::string local;
    std::string remote;
    std::string read;
    std::string write;
    std::uint64_t first = 0;
    std::uint32_t burst = 32;
    std::uint32_t body_after =
        0;  ///< inner bytes that are in place; the rest is sealed from elsewhere. 0: all in place
};

struct Close {
    void operator()(pcap_t* handle) const { pcap_close(handle); }
    void operator()(pcap_dumper_t* dumper) const { pcap_dump_close(dumper); }
};

[[noreturn]] void die(const std::string& why) {
    fmt::print(stderr, "esp-seal: {}\n", why);
    std::exit(2);
}

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> read_packets(const std::string& file) {
    std::array<char, PCAP_ERRBUF_SIZE> error{};
    const std::unique_ptr<pcap_t, Close> handle(pcap_open_offline(file.c_str(), error.data()));
    if (!handle || pcap_datalink(handle.get()) != DLT_RAW) {
        die(fmt::format("{}: not a pcap file of raw IP packets: {}", file, error.data()));
    }
    std::vector<Bytes> packets;
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    while (pcap_next_ex(handle.get(), &header, &data) == 1) {
        packets.emplace_back(data, data + header->caplen);
    }
    return packets;
}

/// One burst: a buffer for each packet, the packet's tail left outside of it where the arguments say so.
std::vector<Bytes> seal(crypto::Sealer& sealer, crypto::OutboundSa& sa, std::span<const Bytes> packets,
                        const Arguments& arguments) {
    std::vector<Bytes> buffers;
    std::vector<crypto::SealJob> jobs;
    for (const Bytes& packet : packets) {
        buffers.emplace_back(sa.sealed_size(packet.size()));
        const std::size_t in_place = arguments.body_after == 0
                                         ? packet.size()
                                         : std::min<std::size_t>(arguments.body_after, packet.size());
        std::copy_n(packet.begin(), in_place,
                    buffers.back().begin() + static_cast<std::ptrdiff_t>(sa.headroom()));
        crypto::SealJob job;
        job.inner = buffers.back().data() + sa.headroom();
        job.length = static_cast<std::uint32_t>(packet.size());
        job.room = static_cast<std::uint32_t>(buffers.back().size() - sa.headroom());
        if (in_place < packet.size()) {
            job.body = packet.data() + in_place;
            job.body_length = static_cast<std::uint32_t>(packet.size() - in_place);
        }
        jobs.push_back(job);
    }
    if (sealer.seal_burst(sa.take(static_cast<std::uint32_t>(jobs.size())), jobs) != jobs.size()) {
        die("a packet was refused");
    }
    return buffers;
}

int run(const Arguments& arguments) {
    const auto file = lib::load_sa_file(arguments.sa);
    if (!file) {
        die(lib::to_string(file.error().front()));
    }
    const auto local = lib::parse_address(arguments.local);
    const auto remote = lib::parse_address(arguments.remote);
    auto engine = crypto::Engine::create();
    if (!local || !remote || !engine) {
        die("an address or the cipher is wrong");
    }
    crypto::OutboundParameters parameters;
    parameters.spi = file->spi;
    parameters.suite = file->suite;
    parameters.extended_sequence = file->extended_sequence;
    parameters.udp_encapsulation = file->udp_encapsulation;
    parameters.padded_length = file->padded_length;
    parameters.key = file->key.bytes();
    parameters.local = *local;
    parameters.remote = *remote;
    parameters.lease = {arguments.first, std::uint64_t{1} << 32};
    const auto sa = crypto::OutboundSa::create(*engine, parameters);
    auto sealer = crypto::Sealer::create(std::move(*engine));
    if (!sa || !sealer) {
        die(sa ? sealer.error() : sa.error().message);
    }

    const std::vector<Bytes> packets = read_packets(arguments.read);
    const std::unique_ptr<pcap_t, Close> format(pcap_open_dead(DLT_RAW, 262'144));
    const std::unique_ptr<pcap_dumper_t, Close> out(pcap_dump_open(format.get(), arguments.write.c_str()));
    if (!out) {
        die(pcap_geterr(format.get()));
    }
    std::span<const Bytes> rest = packets;
    while (!rest.empty()) {
        const auto burst = rest.first(std::min<std::size_t>(arguments.burst, rest.size()));
        for (const Bytes& sealed : seal(*sealer, **sa, burst, arguments)) {
            const auto size = static_cast<bpf_u_int32>(sealed.size());
            const pcap_pkthdr header{{}, size, size};
            pcap_dump(static_cast<u_char*>(static_cast<void*>(out.get())), &header, sealed.data());
        }
        rest = rest.subspan(burst.size());
    }
    return 0;
}

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    flowtap::test::Arguments arguments;
    CLI::App app("Seals the packets of a pcap file.");
    app.add_option("--sa", arguments.sa)->required();
    app.add_option("--local", arguments.local)->required();
    app.add_option("--remote", arguments.remote)->required();
    app.add_option("--read", arguments.read)->required();
    app.add_option("--write", arguments.write)->required();
    app.add_option("--first", arguments.first);
    app.add_option("--burst", arguments.burst)->check(CLI::PositiveNumber);
    app.add_option("--body-after", arguments.body_after);
    CLI11_PARSE(app, argc, argv);
    return flowtap::test::run(arguments);
}
