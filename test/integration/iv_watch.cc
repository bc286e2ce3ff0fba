// iv-watch: looks at every frame of a delivery link for as long as it runs, and knows each IV that it has
// seen. Reads one JSON command a line, answers with one JSON object a line.
//
//   iv-watch feed-d wire-d     the watched end of the link, and the other one
//   {"do":"marks"}    -> {"packets":..,"repeated":..,"repeats":[[spi,iv],..],"wrong":"","dropped":..,
//                         "sizes":{"166":packets,..},"sas":{"4097":{"packets":..,"lowest":..,"highest":..},..}}
//   {"do":"settle"}   the same, of all that has been sent into the link before
//
// Nothing but ESP over IPv4 is right on the link, of suites whose IV is the SA's counter (RFC 4106
// section 3.1, RFC 7634 section 2): it stands behind SPI and sequence number, which is its low half.
// `repeats` are the first few; `dropped` is what the kernel had no room for: these frames were not looked at.
#include "test/integration/iv_ledger.h"
#include "test/integration/line_commands.h"
#include "test/integration/packet_ring.h"

#include <nlohmann/json.hpp>

#include <array>
#include <endian.h>
#include <map>
#include <poll.h>
#include <utility>
#include <vector>

namespace flowtap::test {
namespace {

using nlohmann::json;
using Bytes = std::span<const std::uint8_t>;

constexpr std::size_t ip_at = 14;
constexpr std::size_t esp_at = ip_at + 20;
constexpr std::size_t iv_end = esp_at + 16;
/// For local experiments (IEEE 802): no other program sends it. The mark's number follows.
constexpr std::uint16_t mark_type = 0x88b5;
constexpr std::size_t mark_at = 14;
constexpr std::size_t mark_size = 60;
constexpr int mark_patience = 100;  // milliseconds after which one that is lost is sent again
constexpr unsigned blocks_at_once = 64;
constexpr std::size_t repeats_told = 8;

template <typename Value>
Value read_at(Bytes bytes, std::size_t at) {
    Value value{};
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

class Watch {
  public:
    Watch(const std::string& watched, const std::string& other)
        : ring_(watched), sender_(socket(AF_PACKET, SOCK_RAW, 0)), other_(address_of(other)) {}

    void run() {
        const auto take = [this](Bytes frame, std::size_t size) { this->take(frame, size); };
        while (!commands_.ended()) {
            bool idle = true;
            for (unsigned i = 0; i < blocks_at_once && ring_.take_block(take); ++i) {
                idle = false;
            }
            if (settling_ && mark_seen_ == mark_) {
                settling_ = false;
                tell(marks());
            }
            wait(idle);
        }
    }

  private:
    void take(Bytes frame, std::size_t size) {
        const std::uint16_t type = frame.size() < iv_end ? 0 : be16toh(read_at<std::uint16_t>(frame, 12));
        if (type == mark_type) {
            mark_seen_ = read_at<std::uint64_t>(frame, mark_at);
            return;
        }
        if (type != ETH_P_IP || frame[ip_at] != 0x45 || frame[ip_at + 9] != IPPROTO_ESP) {
            note("no ESP over IPv4", frame);
            return;
        }
        const std::uint32_t spi = be32toh(read_at<std::uint32_t>(frame, esp_at));
        const std::uint32_t number = be32toh(read_at<std::uint32_t>(frame, esp_at + 4));
        const std::uint64_t iv = be64toh(read_at<std::uint64_t>(frame, esp_at + 8));
        if (number != static_cast<std::uint32_t>(iv)) {
            note("an IV beside another sequence number", frame);
        }
        ++packets_;
        ++sizes_[size];
        if (!sas_[spi].add(iv)) {
            ++repeated_;
            if (repeats_.size() < repeats_told) {
                repeats_.emplace_back(spi, iv);
            }
        }
    }

    void note(std::string_view what, Bytes frame) {
        if (!wrong_.empty()) {
            return;
        }
        wrong_ = fmt::format("{}:", what);
        for (const auto byte : frame) {
            wrong_ += fmt::format(" {:02x}", byte);
        }
    }

    json marks() {
        auto sas = json::object();
        for (const auto& [spi, ledger] : sas_) {
            sas[std::to_string(spi)] = {
                {"packets", ledger.packets()}, {"lowest", ledger.lowest()}, {"highest", ledger.highest()}};
        }
        auto sizes = json::object();
        for (const auto& [size, packets] : sizes_) {
            sizes[std::to_string(size)] = packets;
        }
        return {{"packets", packets_},  {"repeated", repeated_},      {"repeats", repeats_},
                {"wrong", wrong_},      {"dropped", ring_.dropped()}, {"sizes", std::move(sizes)},
                {"sas", std::move(sas)}};
    }

    void wait(bool idle) {
        std::array<pollfd, 2> inputs{{{STDIN_FILENO, POLLIN, 0}, {ring_.fd(), POLLIN, 0}}};
        const int ready = poll(inputs.data(), inputs.size(), !idle ? 0 : settling_ ? mark_patience : -1);
        if (ready == 0 && idle) {
            send_mark();
        }
        if (inputs[0].revents != 0) {
            commands_.read(0, [this](const json&, const std::string& what) { obey(what); });
        }
    }

    void obey(const std::string& what) {
        if (what == "marks") {
            tell(marks());
        } else if (what == "settle") {
            settling_ = true;
            ++mark_;
            send_mark();
        } else {
            die("no command: " + what);
        }
    }

    /// Behind all that has been sent into the link: it comes out last.
    void send_mark() {
        std::array<std::uint8_t, mark_size> frame{
            2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, mark_type >> 8, mark_type & 0xFF};
        std::memcpy(frame.data() + mark_at, &mark_, sizeof mark_);
        if (sendto(sender_, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&other_),
                   sizeof other_) < 0) {
            die(fmt::format("a mark: {}", std::strerror(errno)));
        }
    }

    PacketRing ring_;
    int sender_;
    sockaddr_ll other_;
    std::map<std::uint32_t, IvLedger> sas_;
    std::map<std::size_t, std::uint64_t> sizes_;
    std::uint64_t packets_ = 0;
    std::uint64_t repeated_ = 0;
    std::vector<std::pair<std::uint32_t, std::uint64_t>> repeats_;
    std::string wrong_;
    std::uint64_t mark_ = 0;
    std::uint64_t mark_seen_ = 0;
    LineCommands commands_;
    bool settling_ = false;
};

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    using namespace flowtap::test;
    if (argc != 3) {
        die("expected the names of two interfaces");
    }
    Watch(argv[1], argv[2]).run();
    return 0;
}
