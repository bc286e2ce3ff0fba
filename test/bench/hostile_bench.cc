// TSC cycles of the frames that cost the classifier most, beside those of ordinary ones, one thread, parsing
// included:
//
//     hostile-bench [--json] [--taps N,N,...] [--row NAME]
//
// No frame matches. A row's name is that of its table of taps and of its frames; its ratio is to the table's
// row `clean`, 60-byte UDP over IPv4. What an attacker chooses are the frames:
//   clean-fresh         clean frames between addresses that were not seen before
//   vlan                four VLAN tags
//   options             40 bytes of IPv4 options, behind four tags
//   ipv6                UDP over IPv6
//   extensions          eight extension headers, behind four tags; -long: 512 bytes of them
//   candidate           both addresses are keys of a tap whose port is another one; -fresh: others each time
// and who installs taps the tables:
//   hosts               a host each, of N taps; one in ten more is of IPv6
//   levels              the same, and prefixes of each length that the index tells apart, both families and
//   sides ports               a host and a port each shared              a port each of one and the same host
#include "dataplane/match/frame_parser.h"
#include "dataplane/match/key_space.h"
#include "dataplane/match/tap_table.h"
#include "test/bench/bench_frames.h"
#include "test/bench/bench_rows.h"

#include <array>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

constexpr std::uint16_t tapped_port = 443;  // no frame has it
constexpr std::size_t bursts_in_cache = 16;

lib::IpAddress ipv6(std::uint32_t high, std::uint32_t low) {
    lib::IpAddress address;
    address.family = lib::Family::ipv6;
    for (std::size_t i = 0; i < 4; ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(high >> (24 - 8 * i));
        address.bytes[12 + i] = static_cast<std::uint8_t>(low >> (24 - 8 * i));
    }
    return address;
}

lib::AddressList& addresses_of(lib::Criterion& criterion, Side side) {
    return side == Side::source ? criterion.source_address : criterion.dest_address;
}

/// The prefix of `length` bits around the address.
lib::AddressTerm prefix(const lib::IpAddress& address, std::size_t length) {
    lib::AddressTerm term{address, address, false};
    for (std::size_t bit = length; bit < 8 * lib::address_size(address.family); ++bit) {
        const auto mask = static_cast<std::uint8_t>(0x80U >> bit % 8);
        term.first.bytes[bit / 8] &= static_cast<std::uint8_t>(~mask);
        term.last.bytes[bit / 8] |= mask;
    }
    return term;
}

/// A table of the best instructions, and what is filled into it.
class Table {
  public:
    Table() : quiescence_(1), table_(quiescence_, {.max_taps = 1U << 21, .seed = 7}) {}

    void add(const lib::Criterion& criterion) {
        if (!table_.stage_add(lib::TapSlot{count_}, lib::TapId{count_ + 1}, criterion, Payload{count_})) {
            std::fprintf(stderr, "hostile-bench: a tap was refused\n");
            std::exit(1);
        }
        ++count_;
    }
    void commit() {
        (void)table_.commit();
        (void)table_.reclaim(std::size_t(-1));
    }
    std::uint32_t count() const { return count_; }
    std::string simd() const { return std::string(to_string(table_.simd())); }

    /// Parses and classifies a burst, which must match nothing.
    void look_up(std::span<const Frame> burst) {
        parse_burst(burst, headers_);
        table_.classify(headers_, *matches_);
        if (matches_->matched != 0) {
            std::fprintf(stderr, "hostile-bench: frames matched\n");
            std::exit(1);
        }
    }

  private:
    Quiescence quiescence_;
    TapTable table_;
    std::uint32_t count_ = 0;
    std::unique_ptr<Matches> matches_ = std::make_unique<Matches>();
    HeaderBurst headers_;
};

void add_hosts(Table& table, std::uint32_t taps) {
    for (std::uint32_t i = 0; i < taps; ++i) {
        table.add(host_tap(i));
    }
    for (std::uint32_t i = 0; i < taps / 10; ++i) {
        lib::Criterion criterion;
        criterion.family = lib::Family::ipv6;
        const lib::IpAddress host = ipv6(0x2001'0db8U, tap_address(i));
        addresses_of(criterion, i % 2 == 0 ? Side::source : Side::dest).push_back({host, host, false});
        table.add(criterion);
    }
}

/// One prefix for each level, far from all frames.
void add_levels(Table& table) {
    for (const Side side : {Side::source, Side::dest}) {
        for (std::uint32_t level = 0; level < ipv4_levels.size(); ++level) {
            lib::Criterion criterion;
            addresses_of(criterion, side).push_back(prefix(ipv4((0x20U + level) << 24), ipv4_levels[level]));
            table.add(criterion);
        }
        for (std::uint32_t level = 0; level < ipv6_levels.size(); ++level) {
            lib::Criterion criterion;
            criterion.family = lib::Family::ipv6;
            addresses_of(criterion, side)
                .push_back(prefix(ipv6((0x3000U + level) << 16, 1), ipv6_levels[level]));
            table.add(criterion);
        }
    }
}

void add_host_ports(Table& table, std::uint32_t taps) {
    for (std::uint32_t i = 0; i < taps; ++i) {
        lib::Criterion criterion = host_tap(i);
        criterion.dest_port.push_back({tapped_port, tapped_port});
        table.add(criterion);
    }
}

/// `taps` of source tap_address(0), which tell ports below `taps` apart.
void add_shared(Table& table, std::uint32_t taps) {
    for (std::uint32_t i = 0; i < taps; ++i) {
        lib::Criterion criterion = host_tap(0);
        criterion.source_port.push_back({static_cast<std::uint16_t>(i), static_cast<std::uint16_t>(i)});
        table.add(criterion);
    }
}

Packet with_tags(std::size_t tags) {
    Packet packet;
    for (std::size_t i = 0; i < tags; ++i) {
        packet.vlan({.id = static_cast<std::uint16_t>(100 + i), .tag_type = 0x88a8});
    }
    return packet;
}

Bytes ipv4_frame(std::size_t i, std::size_t tags, std::size_t option_bytes) {
    const auto [source, dest] = far_addresses(i);
    return with_tags(tags)
        .ipv4({.source = lib::to_string(ipv4(source)),
               .dest = lib::to_string(ipv4(dest)),
               .options = Bytes(option_bytes, 1)})
        .udp()
        .frame(60);
}

Bytes ipv6_frame(std::size_t i, std::size_t tags, std::size_t headers, std::size_t header_bytes) {
    const auto [source, dest] = far_addresses(i);
    Packet packet = with_tags(tags);
    packet.ipv6({.source = lib::to_string(ipv6(0x2001'0db8U, source)),
                 .dest = lib::to_string(ipv6(0x2001'0db8U, dest))});
    for (std::size_t header = 0; header < headers; ++header) {
        packet.dest_options({.size = header_bytes});
    }
    return packet.udp().frame(60);
}

/// Source and destination of a frame that has both a source tap's and a destination tap's key.
std::pair<std::uint32_t, std::uint32_t> tapped_addresses(std::uint32_t number, std::uint32_t taps) {
    const std::uint32_t pair = number % (taps / 2);
    return {tap_address(2 * pair), tap_address(2 * pair + 1)};
}

class Bench {
  public:
    explicit Bench(const Options& options) : options_(options), report_(options.json) {}

    void run() {
        for (const std::uint32_t taps : options_.taps) {
            run_hosts("hosts", taps, false);
            run_hosts("levels", taps, true);
            run_ports(taps);
        }
        for (const std::uint32_t taps : {1U, 16U, 100U, 1000U}) {
            run_shared(taps);
        }
    }

  private:
    /// The rows of one table; the first is `clean`.
    class Rows {
      public:
        Rows(const Bench& bench, std::string name, Table& table)
            : bench_(bench), name_(std::move(name)), table_(table) {}

        void hot(const std::string& frames, const std::function<Bytes(std::size_t)>& frame) {
            print(frames, make_bursts(bursts_in_cache, frame));
        }
        void print(const std::string& frames, const Bursts& bursts) {
            print(frames, [&] {
                return cycles_a_frame(bursts.count(),
                                      [&](std::size_t i) { table_.look_up(bursts.burst(i)); });
            });
        }
        /// UDP between addresses that `addresses(random)` gives, new ones for each burst.
        template <typename Random>
        void fresh(const std::string& frames, Random addresses) {
            print(frames, [&] {
                Bursts bursts = make_udp_bursts(1, far_addresses);
                std::mt19937 random(5);
                return cycles_a_fresh_frame(
                    [&] {
                        for (std::size_t i = 0; i < burst_size; ++i) {
                            const auto [source, dest] = addresses(static_cast<std::uint32_t>(random()));
                            const std::array<std::uint32_t, 2> words{std::byteswap(source),
                                                                     std::byteswap(dest)};
                            std::memcpy(bursts.data(i) + 26, words.data(), sizeof words);
                        }
                    },
                    [&] { table_.look_up(bursts.burst(0)); });
            });
        }

      private:
        template <typename Measure>
            requires std::is_invocable_r_v<double, Measure>
        void print(const std::string& frames, Measure measure) {
            const std::string row = name_ + "-" + frames;
            if (!bench_.options_.wanted(row) && clean_ > 0) {
                return;
            }
            const double cycles = measure();
            if (clean_ == 0) {
                clean_ = cycles;
            }
            if (bench_.options_.wanted(row)) {
                bench_.report_.print({.name = row,
                                      .simd = table_.simd(),
                                      .taps = table_.count(),
                                      .cycles = cycles,
                                      .ratio = cycles / clean_});
            }
        }

        const Bench& bench_;
        std::string name_;
        Table& table_;
        double clean_ = 0;
    };

    bool table_wanted(std::string_view name) const {
        return options_.row.empty() || options_.row.starts_with(std::string(name) + "-");
    }

    void run_hosts(const char* name, std::uint32_t taps, bool levels) {
        if (!table_wanted(name)) {
            return;
        }
        Table table;
        add_hosts(table, taps);
        if (levels) {
            add_levels(table);
        }
        table.commit();
        Rows rows(*this, name, table);
        rows.hot("clean", [](std::size_t i) { return ipv4_frame(i, 0, 0); });
        rows.hot("vlan", [](std::size_t i) { return ipv4_frame(i, max_vlan_tags, 0); });
        rows.hot("options", [](std::size_t i) { return ipv4_frame(i, max_vlan_tags, 40); });
        rows.hot("ipv6", [](std::size_t i) { return ipv6_frame(i, 0, 0, 0); });
        rows.hot("extensions",
                 [](std::size_t i) { return ipv6_frame(i, max_vlan_tags, max_extension_headers, 8); });
        rows.hot("extensions-long", [](std::size_t i) {
            return ipv6_frame(i, max_vlan_tags, max_extension_headers,
                              max_extension_bytes / max_extension_headers);
        });
        rows.fresh("clean-fresh", fresh_addresses);
    }

    static std::pair<std::uint32_t, std::uint32_t> fresh_addresses(std::uint32_t random) {
        return {0xc000'0000U | random >> 2, 0xc000'0000U | (random * 0x85eb'ca6bU) >> 2};
    }

    void run_ports(std::uint32_t taps) {
        if (!table_wanted("ports") || taps < 2) {
            return;
        }
        Table table;
        add_host_ports(table, taps);
        table.commit();
        Rows rows(*this, "ports", table);
        rows.print("clean", make_udp_bursts(bursts_in_cache, far_addresses));
        rows.fresh("clean-fresh", fresh_addresses);
        rows.print("candidate", make_udp_bursts(bursts_in_cache, [&](std::size_t i) {
                       return tapped_addresses(static_cast<std::uint32_t>(i), taps);
                   }));
        rows.fresh("candidate-fresh", [&](std::uint32_t random) { return tapped_addresses(random, taps); });
    }

    void run_shared(std::uint32_t taps) {
        if (!table_wanted("shared")) {
            return;
        }
        Table table;
        add_shared(table, taps);
        table.commit();
        Rows rows(*this, "shared", table);
        rows.print("clean", make_udp_bursts(bursts_in_cache, far_addresses));
        rows.print("candidate", make_udp_bursts(bursts_in_cache, [](std::size_t i) {
                       return std::pair(tap_address(0), far_addresses(i).second);
                   }));
    }

    Options options_;
    Report report_;
};

}  // namespace
}  // namespace flowtap::test

int main(int argc, char* argv[]) {
    flowtap::test::Bench(flowtap::test::read_options(argc, argv, {10'000, 1'000'000})).run();
    return 0;
}
