// A second judge: libpcap's compiler and BPF's interpreter, that know nothing of this project. What both can
// say (hosts, prefixes, protocols, ports, ICMP fields, VLANs of both families) they must say alike, but for
// frames of the kinds listed in Kind; each kind has a test that shows both verdicts.
#include "test/support/aimed_traffic.h"
#include "test/support/recorded.h"
#include "test/unit/dataplane/match/bpf_text.h"
#include "test/unit/dataplane/match/table_fixture.h"

#include <pcap/pcap.h>

#include <cstdlib>

namespace flowtap::test {
namespace {

using namespace dataplane::match;

/// Why BPF may see a frame in another way than a tap does.
enum class Kind : std::uint8_t {
    plain,        ///< it may not
    carried,      ///< in MPLS or PPPoE: BPF is asked about IP in Ethernet only
    foreign_tag,  ///< 9100: a tag for BPF, another protocol here
    damaged,    ///< not whole or impossible: BPF reads what there is, a read beyond the end refuses the frame
    extension,  ///< IPv6 extension headers: BPF takes the first next-header field for the protocol
    later_fragment,  ///< BPF knows nothing of the ports of the datagram
    upper_cut,       ///< the packet ends before its ports: BPF reads them from the padding
    lite,            ///< UDP-Lite and DCCP: ports here, none in BPF
    other_icmp,      ///< ICMP in IPv6, ICMPv6 in IPv4: BPF looks for neither
};
constexpr std::array names{"plain",          "carried",   "foreign tag", "damaged",   "extension headers",
                           "later fragment", "upper cut", "lite",        "other ICMP"};

std::uint16_t number(const Bytes& frame, std::size_t at) {
    return at + 2 > frame.size() ? std::uint16_t{0}
                                 : static_cast<std::uint16_t>(frame[at] << 8 | frame[at + 1]);
}

/// Where the first ethertype stands that is no VLAN tag's.
std::size_t type_place(const Bytes& frame) {
    std::size_t at = 12;
    while (number(frame, at) == 0x8100 || number(frame, at) == 0x88a8) {
        at += 4;
    }
    return at;
}

bool is_extension(unsigned protocol) {
    return protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60 ||
           protocol == 140;
}

/// Looks at the bytes, with no help of either judge; of its facts only that there are none.
Kind kind_of(const Bytes& frame, const lib::Criterion& criterion) {
    const std::size_t at = type_place(frame);
    const std::uint16_t type = number(frame, at);
    if (type == 0x8847 || type == 0x8848 || type == 0x8863 || type == 0x8864) {
        return Kind::carried;
    }
    if (type == 0x9100) {
        return Kind::foreign_tag;
    }
    const Outcome outcome = reference_parse(frame).outcome;
    if (outcome == Outcome::truncated || outcome == Outcome::bad_ipv4 || outcome == Outcome::bad_ipv6) {
        return Kind::damaged;
    }
    if (type != 0x0800 && type != 0x86dd) {
        return Kind::plain;
    }
    const bool v4 = type == 0x0800;
    const std::size_t ip = at + 2;
    const unsigned protocol = frame.at(v4 ? ip + 9 : ip + 6);
    if (!v4 && is_extension(protocol)) {
        return Kind::extension;
    }
    if (v4 && (number(frame, ip + 6) & 0x1fff) != 0) {
        return Kind::later_fragment;
    }
    if (outcome == Outcome::matched_without_ports) {
        return Kind::upper_cut;
    }
    const bool asks_ports = !criterion.source_port.empty() || !criterion.dest_port.empty();
    if (asks_ports && (protocol == 33 || protocol == 136)) {
        return Kind::lite;
    }
    const bool asks_icmp = !criterion.icmp_type.empty() || !criterion.icmp_code.empty();
    if (asks_icmp && protocol == (v4 ? 58 : 1)) {
        return Kind::other_icmp;
    }
    return Kind::plain;
}

/// A compiled filter.
class Bpf {
  public:
    explicit Bpf(const std::string& text) {
        pcap_t* const dead = pcap_open_dead(DLT_EN10MB, 65535);
        INFO(text);
        const int result = pcap_compile(dead, &program_, text.c_str(), 0, PCAP_NETMASK_UNKNOWN);
        INFO(pcap_geterr(dead));
        REQUIRE(result == 0);
        pcap_close(dead);
    }
    ~Bpf() { pcap_freecode(&program_); }
    Bpf(const Bpf&) = delete;
    Bpf& operator=(const Bpf&) = delete;

    bool matches(const Bytes& frame) const {
        pcap_pkthdr header{};
        header.caplen = header.len = static_cast<bpf_u_int32>(frame.size());
        return pcap_offline_filter(&program_, &header, frame.data()) != 0;
    }

  private:
    bpf_program program_{};
};

/// A tap and the same in BPF.
struct Pair {
    lib::Criterion criterion;
    std::string text;
    std::unique_ptr<Bpf> bpf;
};

struct Difference {
    std::size_t compared = 0;
    std::size_t here_only = 0;
    std::size_t bpf_only = 0;
};
using Differences = std::array<Difference, names.size()>;

RandomTraffic::Sample recorded(const Bytes& frame) {
    RandomTraffic::Sample sample;
    sample.frame = frame;
    return sample;
}

/// The taps in a table of one variant.
class Table {
  public:
    Table(const std::vector<Pair>& pairs, Simd simd)
        : table_(quiescence_, {.max_taps = static_cast<std::uint32_t>(pairs.size()), .simd = simd}) {
        for (std::uint32_t slot = 0; slot < pairs.size(); ++slot) {
            REQUIRE(table_.stage_add(lib::TapSlot{slot}, lib::TapId{slot + 1U}, pairs[slot].criterion,
                                     Payload{slot}));
        }
        (void)table_.commit();
    }

    /// For each frame the slots that it matches.
    std::vector<std::set<std::size_t>> classify(const HeaderBurst& burst, std::size_t frames) {
        table_.classify(burst, *matches_);
        std::vector<std::set<std::size_t>> slots(frames);
        for (std::size_t i = 0; i < frames; ++i) {
            if ((matches_->matched >> i & 1) != 0) {
                REQUIRE(matches_->frames[i].overflow == 0);
                for (const Match& match : matches_->frames[i]) {
                    slots[i].insert(static_cast<std::size_t>(match.slot));
                }
            }
        }
        return slots;
    }

  private:
    Quiescence quiescence_{1};
    TapTable table_;
    std::unique_ptr<Matches> matches_ = std::make_unique<Matches>();
};

/// Each frame against each tap, at port 0; every variant that the processor has says the same.
std::size_t compare(const std::vector<Pair>& pairs, const std::vector<RandomTraffic::Sample>& samples,
                    Differences& differences) {
    std::vector<std::unique_ptr<Table>> tables;
    for (const Simd simd : {Simd::portable, Simd::avx2, Simd::avx512}) {
        if (supported(simd)) {
            tables.push_back(std::make_unique<Table>(pairs, simd));
        }
    }
    std::size_t hits = 0;
    for (std::size_t start = 0; start < samples.size(); start += max_burst) {
        const auto end = std::min(samples.size(), start + max_burst);
        const std::vector<RandomTraffic::Sample> burst(samples.begin() + static_cast<std::ptrdiff_t>(start),
                                                       samples.begin() + static_cast<std::ptrdiff_t>(end));
        const Burst parsed(burst);
        const auto found = tables.front()->classify(parsed.headers(), burst.size());
        for (const auto& table : tables) {
            REQUIRE(table->classify(parsed.headers(), burst.size()) == found);
        }
        for (std::size_t i = 0; i < burst.size(); ++i) {
            for (std::size_t k = 0; k < pairs.size(); ++k) {
                const bool here = found[i].contains(k);
                const bool there = pairs[k].bpf->matches(burst[i].frame);
                const Kind kind = kind_of(burst[i].frame, pairs[k].criterion);
                Difference& difference = differences.at(static_cast<std::size_t>(kind));
                ++difference.compared;
                difference.here_only += std::size_t{here && !there};
                difference.bpf_only += std::size_t{!here && there};
                hits += std::size_t{here};
                if (kind == Kind::damaged && !pairs[k].criterion.layer2) {
                    REQUIRE_FALSE(here);
                }
                if (kind == Kind::lite || kind == Kind::other_icmp) {
                    REQUIRE((here || !there));
                }
                if (kind == Kind::plain && here != there) {
                    FAIL((there ? "BPF only: " : "here only: ")
                         << to_string(pairs[k].criterion) << "\n"
                         << pairs[k].text << "\n"
                         << to_string(reference_parse(burst[i].frame).facts.value_or(PacketFacts{})));
                }
            }
        }
    }
    return hits;
}

class Maker {
  public:
    explicit Maker(std::uint64_t seed) : random_(seed, 8), aimed_(seed) {}

    Pair pair() {
        for (;;) {
            Pair made{criterion(), {}, {}};
            if (const auto text = bpf_text(made.criterion, 0)) {
                made.text = *text;
                made.bpf = std::make_unique<Bpf>(*text);
                return made;
            }
        }
    }

    RandomTraffic::Sample sample(const std::vector<Pair>& pairs) {
        if (random_.chance(10)) {
            return random_.strange_frame();
        }
        return random_.chance(60) ? aimed_.frame(pairs[random_.below(pairs.size())].criterion, 0)
                                  : random_.frame();
    }

  private:
    lib::Criterion criterion() {
        lib::Criterion made;
        if (!recorded_frames().empty() && random_.chance(50)) {
            const Bytes& frame = recorded_frames()[random_.below(recorded_frames().size())];
            const Reading reading = reference_parse(frame);
            if (reading.facts) {
                made = aimed_.criterion(*reading.facts, {0, reference_vlan(frame)});
                made.interfaces.clear();
            }
        } else {
            made = random_.criterion(true);
        }
        if (random_.chance(30)) {
            made.interfaces = {random_.interfaces().front()};
            made.interfaces.front().port = 0;
            if (random_.chance(20)) {
                const lib::InterfaceList interfaces = made.interfaces;
                made = {};
                made.interfaces = interfaces;
                made.layer2 = true;
            }
        }
        return made;
    }

    RandomTraffic random_;
    AimedTraffic aimed_;
};

std::size_t wanted_comparisons() {
    const char* const text = std::getenv("FLOWTAP_DECISIONS");
    return text == nullptr ? 200'000 : std::strtoull(text, nullptr, 10);
}

TEST_CASE("taps that BPF can say match what BPF matches", "[table][exact]") {
    constexpr std::size_t taps = 48;
    constexpr std::size_t frames = 256;
    Differences differences;
    std::size_t compared = 0;
    std::size_t hits = 0;
    for (std::uint64_t seed = 1; compared < wanted_comparisons(); ++seed) {
        CAPTURE(seed);
        Maker maker(seed);
        std::vector<Pair> pairs(taps);
        std::ranges::generate(pairs, [&] { return maker.pair(); });
        std::vector<RandomTraffic::Sample> samples(frames);
        std::ranges::generate(samples, [&] { return maker.sample(pairs); });
        const std::vector<Bytes>& all = recorded_frames();
        for (std::size_t i = 0; i < frames && !all.empty(); ++i) {
            samples.push_back(recorded(all[(seed * frames + i) % all.size()]));
        }
        hits += compare(pairs, samples, differences);
        compared += pairs.size() * samples.size();
    }
    CHECK(hits * 50 > compared);
    for (std::size_t kind = 0; kind < names.size(); ++kind) {
        const Difference& difference = differences.at(kind);
        CHECK((kind != 0 || difference.here_only + difference.bpf_only == 0));
        if (wanted_comparisons() > 200'000) {
            WARN(names.at(kind) << ": " << difference.compared << " compared, " << difference.here_only
                                << " matched here only, " << difference.bpf_only << " by BPF only");
        }
    }
}

struct Verdicts {
    bool here;
    bool bpf;
    Kind kind;
    bool operator==(const Verdicts&) const = default;
};

Verdicts verdicts(const lib::Criterion& criterion, const Packet& packet, std::size_t minimum = 60) {
    Differences differences;
    std::vector<Pair> pairs(1);
    pairs[0].criterion = criterion;
    pairs[0].text = bpf_text(criterion, 0).value();
    pairs[0].bpf = std::make_unique<Bpf>(pairs[0].text);
    const Bytes frame = packet.frame(minimum);
    const Kind kind = kind_of(frame, criterion);
    const bool here = compare(pairs, {recorded(frame)}, differences) == 1;
    return {here, pairs[0].bpf->matches(frame), kind};
}

lib::Criterion naming(lib::NumberList lib::Criterion::* list, lib::NumberTerm term,
                      lib::Family family = lib::Family::ipv4) {
    lib::Criterion criterion;
    criterion.family = family;
    criterion.*list = {term};
    return criterion;
}

TEST_CASE("where BPF sees less or more than a tap does: each kind of difference", "[table]") {
    const lib::Criterion web = naming(&lib::Criterion::dest_port, {80, 80});
    const lib::Criterion web6 = naming(&lib::Criterion::dest_port, {80, 80}, lib::Family::ipv6);
    const lib::Criterion not_tcp = naming(&lib::Criterion::protocol, {6, 6, true});
    const lib::Criterion tcp6 = naming(&lib::Criterion::protocol, {6, 6}, lib::Family::ipv6);
    CHECK(verdicts(web, Packet().ipv4().tcp()) == Verdicts{true, true, Kind::plain});
    CHECK(verdicts(web6, Packet().ipv6().tcp()) == Verdicts{true, true, Kind::plain});
    SECTION("fragments: both know the first one's ports and no later one's") {
        CHECK(verdicts(web, Packet().ipv4({.more_fragments = true}).tcp()) ==
              Verdicts{true, true, Kind::plain});
        CHECK(verdicts(web, Packet().ipv4({.fragment_offset = 3}).tcp()).bpf == false);
        CHECK(verdicts(web6, Packet().ipv6().fragment({.more = true}).tcp()) ==
              Verdicts{true, false, Kind::extension});
    }
    SECTION(
        "extension headers: BPF looks behind a fragment header for the protocol, and behind none for ports") {
        CHECK(verdicts(web6, Packet().ipv6().hop_by_hop().tcp()) == Verdicts{true, false, Kind::extension});
        CHECK(verdicts(tcp6, Packet().ipv6().hop_by_hop().tcp()) == Verdicts{true, false, Kind::extension});
        CHECK(verdicts(tcp6, Packet().ipv6().fragment({.more = true}).tcp()) ==
              Verdicts{true, true, Kind::extension});
    }
    SECTION("a packet that ends before its ports: BPF reads the padding") {
        const Bytes none;
        CHECK(verdicts(web, Packet().ipv4({.protocol = 6}).payload(Bytes{4, 0})) ==
              Verdicts{false, false, Kind::upper_cut});
        const lib::Criterion zero = naming(&lib::Criterion::dest_port, {0, 0});
        CHECK(verdicts(zero, Packet().ipv4({.protocol = 6}).payload(none)) ==
              Verdicts{false, true, Kind::upper_cut});
    }
    SECTION("lengths and versions: BPF believes the ethertype, a tap looks") {
        CHECK(verdicts(not_tcp, Packet().ipv4({.total_length = 900}).udp()) ==
              Verdicts{false, true, Kind::damaged});
        CHECK(verdicts(not_tcp, Packet().ipv4({.version = 5}).udp()) == Verdicts{false, true, Kind::damaged});
    }
    SECTION("UDP-Lite and DCCP have ports, and not for BPF") {
        CHECK(verdicts(web, Packet().ipv4().udp_lite()) == Verdicts{true, false, Kind::lite});
        CHECK(verdicts(web6, Packet().ipv6().dccp()) == Verdicts{true, false, Kind::lite});
    }
    SECTION("ICMP of the other family") {
        const lib::Criterion echo = naming(&lib::Criterion::icmp_type, {128, 128});
        CHECK(verdicts(echo, Packet().ipv4().icmpv6()) == Verdicts{true, false, Kind::other_icmp});
        CHECK(verdicts(echo, Packet().ipv4().icmp({.type = 128})) == Verdicts{true, true, Kind::plain});
    }
    SECTION("9100 is a tag for BPF only") {
        CHECK(verdicts(web, Packet().vlan({.tag_type = 0x9100}).ipv4().tcp()) ==
              Verdicts{false, true, Kind::foreign_tag});
    }
}

}  // namespace
}  // namespace flowtap::test
