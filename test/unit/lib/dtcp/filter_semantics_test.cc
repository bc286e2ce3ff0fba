// Random filters, written as text from a model of their own and compared with it packet by packet: the model
// knows lists only as entries with a predicate, and shares no code with the parser.
#include "lib/dtcp/filter.h"
#include "test/unit/lib/dtcp/support.h"

#include <catch2/catch.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace flowtap::test {
namespace {

__extension__ using Wide = unsigned __int128;

/// One value of each field of a packet; addresses as numbers.
struct Packet {
    Wide source = 0;
    Wide dest = 0;
    std::uint16_t protocol = 0;
    std::uint16_t source_port = 0;
    std::uint16_t dest_port = 0;
    std::uint16_t type = 0;
    std::uint16_t code = 0;
};

bool is_one_of(std::uint16_t protocol, std::initializer_list<int> all) {
    return std::ranges::find(all, protocol) != all.end();
}

struct Entry {
    Wide first = 0;
    Wide last = 0;
    bool negated = false;
    bool star = false;
};

struct List {
    std::vector<Entry> entries;

    bool matches(Wide value) const {
        const auto holds = [value](const Entry& entry) {
            return entry.star || (entry.first <= value && value <= entry.last);
        };
        const bool has_positive =
            std::ranges::any_of(entries, [](const Entry& entry) { return !entry.negated; });
        const bool positive_hit =
            std::ranges::any_of(entries, [&](const Entry& entry) { return !entry.negated && holds(entry); });
        const bool negated_hit =
            std::ranges::any_of(entries, [&](const Entry& entry) { return entry.negated && holds(entry); });
        return (!has_positive || positive_hit) && !negated_hit;
    }

    /// Says nothing of its field: missing, or `*` without anything excluded.
    bool is_wildcard() const {
        const bool star =
            std::ranges::any_of(entries, [](const Entry& entry) { return entry.star && !entry.negated; });
        const bool negated = std::ranges::any_of(entries, &Entry::negated);
        return entries.empty() || (star && !negated);
    }
};

struct Model {
    bool ipv6 = false;
    std::array<List, 7> lists;  // source, dest, protocol, source port, dest port, type, code

    bool names_ports() const { return !lists[3].is_wildcard() || !lists[4].is_wildcard(); }
    bool names_icmp() const { return !lists[5].is_wildcard() || !lists[6].is_wildcard(); }

    bool matches(const Packet& packet) const {
        const bool has_ports = is_one_of(packet.protocol, {6, 17, 33, 132, 136});
        const bool has_icmp = is_one_of(packet.protocol, {1, 58});
        return lists[0].matches(packet.source) && lists[1].matches(packet.dest) &&
               lists[2].matches(packet.protocol) &&
               (!names_ports() ||
                (has_ports && lists[3].matches(packet.source_port) && lists[4].matches(packet.dest_port))) &&
               (!names_icmp() ||
                (has_icmp && lists[5].matches(packet.type) && lists[6].matches(packet.code)));
    }

    /// No protocol at all could match: 432.
    bool is_contradictory() const {
        for (std::uint16_t protocol = 0; protocol < 256; ++protocol) {
            const bool has_ports = is_one_of(protocol, {6, 17, 33, 132, 136});
            const bool has_icmp = is_one_of(protocol, {1, 58});
            if (lists[2].matches(protocol) && (!names_ports() || has_ports) && (!names_icmp() || has_icmp)) {
                return false;
            }
        }
        return names_ports() || names_icmp();
    }
};

/// The compiled criterion, by the rule in lib/criterion.h.
template <typename Terms, typename Value>
bool list_matches(const Terms& terms, const Value& value) {
    bool positive = false;
    bool hit = false;
    for (const auto& term : terms) {
        const bool inside = !(value < term.first) && !(term.last < value);
        if (term.negated && inside) {
            return false;
        }
        positive = positive || !term.negated;
        hit = hit || (!term.negated && inside);
    }
    return !positive || hit;
}

lib::IpAddress to_address(Wide number, bool ipv6) {
    lib::IpAddress address{.family = ipv6 ? lib::Family::ipv6 : lib::Family::ipv4, .bytes = {}};
    const std::size_t size = ipv6 ? 16 : 4;
    for (std::size_t i = 0; i < size; ++i) {
        address.bytes[i] = static_cast<std::uint8_t>(number >> (8 * (size - 1 - i)));
    }
    return address;
}

bool criterion_matches(const lib::Criterion& criterion, const Packet& packet) {
    const bool ipv6 = criterion.family == lib::Family::ipv6;
    const bool ports = !criterion.source_port.empty() || !criterion.dest_port.empty();
    const bool icmp = !criterion.icmp_type.empty() || !criterion.icmp_code.empty();
    if ((ports && !is_one_of(packet.protocol, {6, 17, 33, 132, 136})) ||
        (icmp && !is_one_of(packet.protocol, {1, 58}))) {
        return false;
    }
    return list_matches(criterion.source_address, to_address(packet.source, ipv6)) &&
           list_matches(criterion.dest_address, to_address(packet.dest, ipv6)) &&
           list_matches(criterion.protocol, packet.protocol) &&
           list_matches(criterion.source_port, packet.source_port) &&
           list_matches(criterion.dest_port, packet.dest_port) &&
           list_matches(criterion.icmp_type, packet.type) && list_matches(criterion.icmp_code, packet.code);
}

class Generator {
  public:
    explicit Generator(unsigned seed) : random_{seed} {}

    unsigned below(unsigned bound) { return std::uniform_int_distribution<unsigned>{0, bound - 1}(random_); }

    /// Few distinct values, and the ends of the range, so that entries overlap and touch.
    Wide value(Wide largest) {
        switch (below(4)) {
            case 0:
                return below(4);
            case 1:
                return largest - below(4);
            case 2:
                return largest / 2 - 2 + below(5);
            default:
                return largest / 16 * below(17);
        }
    }

    Model model() {
        Model model;
        model.ipv6 = below(2) == 0;
        const Wide address = model.ipv6 ? ~Wide{0} : Wide{0xffffffff};
        const std::array<Wide, 7> largest{address, address, 255, 65535, 65535, 255, 255};
        for (std::size_t i = 0; i < model.lists.size(); ++i) {
            // Often one of ports and ICMP is left out: both together are always refused.
            if (below(2) == 0 || (i >= 3 && below(2) == 0)) {
                continue;
            }
            for (unsigned n = below(4) + 1; n > 0; --n) {
                Entry entry{.negated = below(3) == 0, .star = below(8) == 0};
                if (i == 2 && below(2) == 0) {
                    constexpr std::array<Wide, 8> known{1, 6, 17, 33, 58, 132, 136, 50};
                    entry.first = entry.last = known[below(8)];
                } else {
                    entry.first = value(largest[i]);
                    entry.last = below(2) == 0 ? entry.first : value(largest[i]);
                    if (entry.first > entry.last) {
                        std::swap(entry.first, entry.last);
                    }
                }
                model.lists[i].entries.push_back(entry);
            }
        }
        return model;
    }

    /// Near the ends of an entry of the list where it has one, else anything.
    Wide probe(const List& list, Wide largest) {
        if (list.entries.empty() || below(4) == 0) {
            return value(largest);
        }
        const Entry& entry = list.entries[below(static_cast<unsigned>(list.entries.size()))];
        const Wide end = below(2) == 0 ? entry.first : entry.last;
        const Wide moved = end + below(3) - 1;
        return (end == 0 && moved > 1) || moved > largest ? end : moved;
    }

    Packet packet(const Model& model) {
        const Wide address = model.ipv6 ? ~Wide{0} : Wide{0xffffffff};
        constexpr std::array<std::uint16_t, 8> known{1, 6, 17, 33, 58, 132, 136, 50};
        Packet packet;
        packet.source = probe(model.lists[0], address);
        packet.dest = probe(model.lists[1], address);
        packet.protocol =
            below(4) == 0 ? static_cast<std::uint16_t>(probe(model.lists[2], 255)) : known[below(8)];
        packet.source_port = static_cast<std::uint16_t>(probe(model.lists[3], 65535));
        packet.dest_port = static_cast<std::uint16_t>(probe(model.lists[4], 65535));
        packet.type = static_cast<std::uint16_t>(probe(model.lists[5], 255));
        packet.code = static_cast<std::uint16_t>(probe(model.lists[6], 255));
        return packet;
    }

    std::string text(const Entry& entry, std::size_t list, bool ipv6, Wide largest) {
        const auto write = [&](Wide number) {
            if (list > 1) {
                return fmt::format("{}", static_cast<std::uint64_t>(number));
            }
            std::string written;
            for (int i = ipv6 ? 7 : 3; i >= 0; --i) {
                const auto part =
                    static_cast<unsigned>(number >> (i * (ipv6 ? 16 : 8))) & (ipv6 ? 0xffffU : 0xffU);
                written += ipv6 ? fmt::format("{:x}", part) : fmt::format("{}", part);
                written += i == 0 ? "" : ipv6 ? ":" : ".";
            }
            return written;
        };
        std::string written = entry.negated ? "!" : "";
        if (entry.star) {
            return written + "*";
        }
        if (entry.first == entry.last && below(4) != 0) {
            return written + write(entry.first);
        }
        const Wide size = entry.last - entry.first + 1;  // 0: everything
        const bool is_prefix =
            list <= 1 && (size & (size - 1)) == 0 && (size == 0 || entry.first % size == 0);
        if (is_prefix && below(2) == 0) {
            int length = ipv6 ? 128 : 32;
            for (Wide rest = size - 1; rest != 0; rest >>= 1) {
                --length;
            }
            return written + write(entry.first) + fmt::format("/{}", length);
        }
        const bool open_end = entry.last == largest && below(2) == 0;
        const bool open_start = entry.first == 0 && !open_end && below(2) == 0;
        return written + (open_start ? "*" : write(entry.first)) + "-" + (open_end ? "*" : write(entry.last));
    }

    std::string text(const Model& model) {
        constexpr std::array<std::string_view, 7> names{"Source-Address", "Dest-Address", "Protocol",
                                                        "Source-Port",    "Dest-Port",    "ICMP-Type",
                                                        "ICMP-Code"};
        const Wide address = model.ipv6 ? ~Wide{0} : Wide{0xffffffff};
        const std::array<Wide, 7> largest{address, address, 255, 65535, 65535, 255, 255};
        std::string message = "ADD DTCP/0.7\r\n";
        message += model.ipv6 ? "X-JTap-IP-Version: ipv6\r\n" : "";
        for (std::size_t i = 0; i < names.size(); ++i) {
            std::string separator = ": ";
            for (const Entry& entry : model.lists[i].entries) {
                message += separator == ": " ? names[i] : std::string_view{};
                message += separator + text(entry, i, model.ipv6, largest[i]);
                separator = below(4) == 0 ? " , " : ",";
            }
            message += separator == ": " ? "" : "\r\n";
        }
        return message + "\r\n";
    }

  private:
    std::mt19937 random_;
};

TEST_CASE(
    "6: a compiled filter matches exactly what the lists say, over random filters and packets",
    "[dtcp][dtcp:6.elements][dtcp:6.address-forms][dtcp:6.number-forms][dtcp:6.lists][dtcp:6.list-meaning]") {
    Generator generator{3};
    int contradictory = 0;
    int hits = 0;
    int misses = 0;
    for (int round = 0; round < 20'000; ++round) {
        const Model model = generator.model();
        const std::string raw = generator.text(model);
        CAPTURE(raw);
        const auto criterion = dtcp::parse_filter(dtcp::parse_request(raw));
        if (model.is_contradictory()) {
            REQUIRE_FALSE(criterion);
            REQUIRE(criterion.error().code == dtcp::Code::improper_filter);
            ++contradictory;
            continue;
        }
        REQUIRE(criterion);
        for (int i = 0; i < 20; ++i) {
            const Packet packet = generator.packet(model);
            const bool expected = model.matches(packet);
            CAPTURE(dtcp::to_string(*criterion), packet.protocol, packet.source_port, packet.dest_port,
                    packet.type, packet.code);
            REQUIRE(criterion_matches(*criterion, packet) == expected);
            (expected ? hits : misses)++;
        }
    }
    // The generator reaches all three kinds often enough to mean something.
    CHECK(contradictory > 1000);
    CHECK(hits > 10'000);
    CHECK(misses > 10'000);
}

}  // namespace
}  // namespace flowtap::test
